"""Switches of chat templates, such as `enable_thinking`, and reasoning in a content block of its own."""

from __future__ import annotations

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.llms import ChatMessage, TextBlock

from pad_langchain import PADLLM, ChatPAD, InvalidRequestError
from pad_langchain.chat import Delta
from pad_langchain.chat.messages import fit_template
from pad_langchain.engine.torch import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.langchain.chunks import chunk_of
from pad_langchain.llama_index.messages import to_chat_dicts, to_response
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import tiny_model, tiny_tokenizer

OFF = {"enable_thinking": False}
ASKED = [{"role": "user", "content": "hi"}]
TEMPLATE = (
    "{%- if not mood is defined %}{% set mood = '' %}{% endif %}{{ mood }}"
    "{%- for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turn') }}{% endif %}"
    "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n"
    "{%- if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>{% endif %}"
    "{% endif %}"
)


@pytest.fixture(scope="module")
def switching():
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


@pytest.fixture(scope="module")
def switching_folder(switching, tmp_path_factory):
    folder = tmp_path_factory.mktemp("switches")
    tiny_model(vocab_size=len(switching), max_position_embeddings=2048).save_pretrained(folder)
    switching.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def lengths(switching):
    """Tokens of the prompt with thinking and without, as transformers renders it."""
    render = switching.apply_chat_template
    return tuple(len(render(ASKED, add_generation_prompt=True, **how)["input_ids"]) for how in ({}, OFF))


def test_a_switch_acts_from_the_field_and_from_the_call(switching_folder, lengths):
    on, off = lengths
    assert on != off

    def tokens(llm, **call):
        return llm.invoke("hi", **call).usage_metadata["input_tokens"]

    plain = ChatPAD(model=switching_folder, reward_model=None, max_tokens=2)
    switched = ChatPAD(model=switching_folder, reward_model=None, max_tokens=2, chat_template_kwargs=OFF)
    assert (tokens(plain), tokens(switched)) == (on, off)
    assert tokens(plain, chat_template_kwargs=OFF) == tokens(plain.bind(chat_template_kwargs=OFF)) == off
    assert tokens(switched, chat_template_kwargs={"enable_thinking": True}) == on
    counts = [llm.get_num_tokens_from_messages([HumanMessage("hi")]) for llm in (plain, switched)]
    assert counts == [on, off]
    llama = PADLLM(model=switching_folder, reward_model=None, max_tokens=2)
    asked = [ChatMessage("hi")]
    assert llama.chat(asked).raw["usage"]["prompt_tokens"] == on
    assert llama.chat(asked, chat_template_kwargs=OFF).raw["usage"]["prompt_tokens"] == off


def test_a_cached_answer_is_one_with_the_same_switches(switching_folder):
    llm = ChatPAD(model=switching_folder, reward_model=None, max_tokens=2, cache=InMemoryCache())
    other = ChatPAD(model=switching_folder, reward_model=None, max_tokens=2, cache=llm.cache, chat_template_kwargs=OFF)
    seen = [llm.invoke("hi"), llm.invoke("hi", chat_template_kwargs=OFF), other.invoke("hi"), llm.invoke("hi")]
    ids = [answer.response_metadata["pad"]["response_id"] for answer in seen]
    assert (ids[0], ids[1]) == (ids[3], ids[2])
    assert ids[0] != ids[1]


def test_reasoning_is_read_as_the_switch_lets_the_model_write_it(switching_folder):
    llm = ChatPAD(model=switching_folder, reward_model=None, max_tokens=8, stop=["</think>"])
    (thought, *_) = llm.invoke("hi").content_blocks
    assert thought["type"] == "reasoning"
    assert thought["reasoning"]
    switched = llm.invoke("hi", chat_template_kwargs=OFF)
    assert [block["type"] for block in switched.content_blocks] == ["text"]


def test_a_switch_that_the_template_does_not_have_is_refused(switching_folder):
    llm = ChatPAD(model=switching_folder, reward_model=None, max_tokens=2)
    with pytest.raises(InvalidRequestError, match=r"no switch 'enable_thinkng'\. Did you mean 'enable_thinking'"):
        llm.invoke("hi", chat_template_kwargs={"enable_thinkng": False})
    for name in ("messages", "tokenize", "add_generation_prompt", "raise_exception", "eos_token", "xyzzy"):
        with pytest.raises(InvalidRequestError, match=rf"no switch '{name}'. It has \['enable_thinking', 'mood'\]"):
            llm.invoke("hi", chat_template_kwargs={name: "x"})


@pytest.mark.parametrize(
    "wrong",
    [["enable_thinking"], "no", {1: True}, {"mood": {1}}, {"mood": object()}],
    ids=["list", "text", "number", "set", "object"],
)
def test_switches_are_json(switching_folder, wrong):
    with pytest.raises(InvalidRequestError, match="chat_template_kwargs has to be a dict of JSON values"):
        ChatPAD(model=switching_folder, reward_model=None).invoke("hi", chat_template_kwargs=wrong)
    with pytest.raises(InvalidRequestError, match="template_kwargs has to be a dict of JSON values"):
        Request(ASKED, template_kwargs=wrong)
    with pytest.raises(ValueError, match=r"chat_template_kwargs|template_kwargs"):
        ChatPAD(model=switching_folder, chat_template_kwargs=wrong)


def test_both_forms_of_a_conversation_are_tried_with_the_switches(switching):
    strict = [{"role": "system", "content": "S"}, *ASKED]
    merged, ids = fit_template(Prompts(switching), strict, None, {**OFF, "mood": "glad "})
    assert merged == [{"role": "user", "content": "S\n\nhi"}]
    assert switching.decode(ids).startswith("glad <|im_start|>")
    assert switching.decode(ids).endswith("</think>\n\n")


def test_the_prompts_of_engine_and_guide_are_written_with_the_switches(switching):
    model = tiny_model(vocab_size=len(switching))
    with TorchEngine(model, switching) as engine:
        asked = Request(ASKED, template_kwargs=OFF, preferences=[WeightedPreference("be kind")])
        assert engine.count_tokens(asked) == engine.count_tokens(Request(ASKED, template_kwargs=OFF)) > 0
        assert engine.count_tokens(Request(ASKED)) != engine.count_tokens(asked)
    (row,) = ModelGuide(Backbone(model), Prompts(switching)).plan(asked).rows
    assert switching.decode(row).endswith("</think>\n\n")
    # A guide's template of its own may know nothing of the base's switches.
    (row,) = ModelGuide(Backbone(model), Prompts(tiny_tokenizer())).plan(asked).rows
    assert "</think>" not in switching.decode(row)


def test_a_template_with_tags_of_its_own_has_switches_too(switching):
    other = tiny_tokenizer()
    other.chat_template = "{% generation %}{{ mood }}{% endgeneration %}{% for m in messages %}{{ m.role }}{% endfor %}"
    assert Prompts(other).switches == {"mood"}
    other.chat_template = "{% hologram mood %}"
    assert "mood" in Prompts(other).switches
    other.chat_template = None
    assert Prompts(other).switches == frozenset()


# ---- reasoning in its own block


def test_reasoning_has_a_block_of_its_own_in_langchain():
    chunks = [chunk_of(Delta(reasoning="h"), "m"), chunk_of(Delta(reasoning="m"), "m"), chunk_of(Delta("Yes."), "m")]
    message = (chunks[0] + chunks[1] + chunks[2]).message
    assert message.content_blocks == [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Yes."}]
    assert message.text == "Yes."


def test_reasoning_has_a_block_of_its_own_in_langchains_streams(switching_folder):
    llm = ChatPAD(model=switching_folder, reward_model=None, max_tokens=6, output_version="v1")
    assert [block["type"] for block in llm.invoke("hi").content] == ["reasoning"]
    whole = None
    for chunk in llm.stream("hi"):
        whole = chunk if whole is None else whole + chunk
    assert [block["type"] for block in whole.content_blocks] == ["reasoning"]
    assert whole.content_blocks[0]["reasoning"] == llm.invoke("hi").content_blocks[0]["reasoning"]


def test_reasoning_has_a_block_of_its_own_in_llama_index():
    response = to_response(Delta("Yes.", "hm"), "m", "Yes.", "m")
    assert response.message.blocks == [ThinkingBlock(content="hm"), TextBlock(text="Yes.")]
    assert (response.delta, response.additional_kwargs) == ("Yes.", {"thinking_delta": "m"})
    assert to_chat_dicts([response.message]) == [{"role": "assistant", "content": "Yes."}]
