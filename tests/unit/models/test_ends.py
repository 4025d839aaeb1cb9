"""What ends an answer: generation config, tokenizer and chat template together, whatever one of them gets wrong."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from tokenizers import AddedToken

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request
from pad_langchain.hf.model import PADForCausalLM
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.ends import end_tokens, turn_end
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.build import guide_for
from pad_langchain.persrm.guides.byte_level import ByteLevelGuide
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import CHAT_TEMPLATE, tiny_model, tiny_tokenizer
from pad_langchain.training.encoding import encode_pairs
from pad_langchain.training.layouts import Pair

TURNS = "{%% for message in messages %%}{{ %s }}{%% endfor %%}{%% if add_generation_prompt %%}{{ %s }}{%% endif %%}"
LLAMA_3 = TURNS % (
    "'<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content + '<|eot_id|>'",
    "'<|start_header_id|>assistant<|end_header_id|>\n\n'",
)
LLAMA_2 = TURNS % ("('[INST] ' + message.content if message.role == 'user' else ' ' + message.content + ' </s>')", "''")
PHI_3 = (TURNS % ("message.role + '\n' + message.content + '<|end|>\n'", "'assistant\n'")) + (
    "{% if not add_generation_prompt %}{{ '<|endoftext|>' }}{% endif %}"
)
COMMAND = TURNS % ("message.content + '<|END_RESPONSE|><|END_OF_TURN_TOKEN|>'", "''")
NO_END = TURNS % ("'[' + message.role + '] ' + message.content + '\n'", "'[assistant] '")
REFUSES = "{{ raise_exception('only questions') }}"
MORE = ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "</s>", "<|end|>", "<|END_RESPONSE|>"]
MORE += ["<|END_OF_TURN_TOKEN|>"]


def tokenizer_with(template: str | None, eos: str | None = "<|endoftext|>") -> Any:
    tokenizer = tiny_tokenizer()
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in MORE])
    tokenizer.chat_template = template
    tokenizer.eos_token = eos
    return tokenizer


def model_with(tokenizer: Any, *ends: str) -> Any:
    model = tiny_model(vocab_size=len(tokenizer))
    ids = [tokenizer.convert_tokens_to_ids(end) for end in ends]
    model.generation_config.eos_token_id = ids[0] if len(ids) == 1 else ids or None
    return model


@pytest.mark.parametrize(
    ("template", "written"),
    [
        (CHAT_TEMPLATE, "<|im_end|>"),
        (LLAMA_3, "<|eot_id|>"),
        (LLAMA_2, "</s>"),
        (PHI_3, "<|end|>"),
        (COMMAND, "<|END_OF_TURN_TOKEN|>"),
        (NO_END, None),
        (REFUSES, None),
        (None, None),
    ],
)
def test_the_template_the_tokenizer_and_the_generation_config_all_count(
    template: str | None, written: str | None
) -> None:
    tokenizer = tokenizer_with(template)
    model = model_with(tokenizer, "<tool_call>", "</tool_call>")
    ends = {"<tool_call>", "</tool_call>", "<|endoftext|>", *([written] if written else [])}
    assert set(tokenizer.convert_ids_to_tokens(sorted(end_tokens(model, tokenizer)))) == ends
    assert tokenizer.convert_ids_to_tokens(turn_end(tokenizer)) == (written or "<|endoftext|>")


def test_nothing_may_name_an_end() -> None:
    tokenizer = tokenizer_with(NO_END, None)
    assert end_tokens(model_with(tokenizer), tokenizer) == frozenset()
    assert turn_end(tokenizer) is None


@pytest.mark.parametrize(
    ("eos", "configured", "warned"),
    [
        ("<|eot_id|>", ["<|eot_id|>"], False),
        ("<|eot_id|>", ["<|endoftext|>", "<|eot_id|>"], False),
        ("<|eot_id|>", [], False),
        ("<|eot_id|>", ["<|endoftext|>"], True),
        ("<|endoftext|>", ["<|endoftext|>"], True),
        ("<|endoftext|>", [], True),
        ("<|endoftext|>", ["<|eot_id|>"], True),
    ],
)
def test_what_disagrees_is_said_once(
    eos: str, configured: list[str], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    tokenizer = tokenizer_with(LLAMA_3, eos)
    model = type("Unique", (), {})()
    model.generation_config = model_with(tokenizer, *configured).generation_config
    type(model).__name__ = f"Model{eos}{configured}"  # a warning comes once for one model
    with caplog.at_level(logging.WARNING, "pad_langchain"):
        for _ in range(3):
            end_tokens(model, tokenizer)
    assert len(caplog.records) == warned
    for record in caplog.records:
        assert all(repr(token) in record.getMessage() for token in (eos, "<|eot_id|>", *configured))


def test_an_answer_ends_where_the_template_ends_it() -> None:
    """The model writes its turn's end, and would go on as the user: nothing else names that token."""
    tokenizer = tokenizer_with(LLAMA_3)
    model = model_with(tokenizer, "<|endoftext|>")
    end = tokenizer.convert_tokens_to_ids("<|eot_id|>")
    ask = Request(messages=[{"role": "user", "content": "hi"}], max_tokens=20)

    def answer() -> tuple[int, ...]:
        with TorchEngine(model, tokenizer) as engine:
            return engine.submit(ask).result(60).token_ids

    tokens = answer()
    place = next(n for n in range(1, 20) if tokens[n] not in tokens[:n])
    rows = [tokens[place], end]
    model.lm_head.weight.data[rows] = model.lm_head.weight.data[rows[::-1]]  # it writes its end there
    assert answer() == (*tokens[:place], end)
    plain = PADForCausalLM.compose(model, "self", tokenizer=tokenizer)
    assert set(plain.generation_config.eos_token_id) == end_tokens(model, tokenizer)
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id  # the base's own stays


def test_a_persrm_of_another_tokenizer_knows_the_ends_of_both() -> None:
    theirs, ours = tokenizer_with(LLAMA_3), tokenizer_with(PHI_3, "<|im_end|>")
    ours.add_tokens(["another"])
    base, own = Backbone(model_with(theirs, "<|endoftext|>")), model_with(ours, "<tool_call>")
    _, guide = guide_for(PersRM(own, ours), base, theirs)
    assert isinstance(guide, ByteLevelGuide)
    guide.bind(base, Prompts(theirs))
    assert set(theirs.convert_ids_to_tokens(guide.theirs.ends)) == {"<|eot_id|>", "<|endoftext|>"}
    assert set(ours.convert_ids_to_tokens(guide.ours.ends)) == {"<|end|>", "<|im_end|>", "<tool_call>"}


def test_scores_and_training_end_a_turn_as_the_template_does() -> None:
    tokenizer = tokenizer_with(LLAMA_3)
    persrm = PersRM(model_with(tokenizer, "<|endoftext|>"), tokenizer)
    assert persrm.score_tokens("hi", "yes", ["be brief"]).tokens[-1] == "<|eot_id|>"
    pairs = [Pair(({"role": "user", "content": "hi"},), "be brief", "yes", "no")]
    (encoded,), _ = encode_pairs(pairs, tokenizer, template=None, max_length=None)
    assert tokenizer.convert_ids_to_tokens([encoded.chosen[-1], encoded.rejected[-1]]) == ["<|eot_id|>"] * 2
