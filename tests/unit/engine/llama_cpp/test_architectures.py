"""Architectures differ in what follows their output matrix: hidden states have to give llama.cpp's own logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from llama_parts import needs_llama_cpp, write_gguf
from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine
from pad_langchain.engine.llama_cpp.binding import Context
from pad_langchain.engine.torch import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import IncompatibleModelError
from pad_langchain.persrm.guides import HeadGuide
from pad_langchain.testing import HashEmbedder, tiny_head, tiny_tokenizer

needs_llama_cpp()

TOKENIZER = tiny_tokenizer()
SHAPE: dict[str, Any] = {
    "vocab_size": len(TOKENIZER),
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": TOKENIZER.eos_token_id,
    "pad_token_id": TOKENIZER.pad_token_id,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": None},
    "qwen2": {},
    "qwen3": {},
    "gemma2": {"final_logit_softcapping": 8.0, "attn_logit_softcapping": 20.0, "query_pre_attn_scalar": 16},
    "gemma3_text": {"query_pre_attn_scalar": 16, "sliding_window": 64},
}


def model_of(kind: str) -> Any:
    tied = kind.startswith("gemma")
    config = CONFIG_MAPPING[kind](**{**SHAPE, "tie_word_embeddings": tied, **KINDS[kind]})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()


def base_of(kind: str, model: Any, weights: str = "f32") -> LlamaBase:
    file = write_gguf(model, TOKENIZER, f"architecture-{kind}", weights)
    return LlamaBase(file, threads=1, kv_type="f32", flash_attention=False)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_give_llama_cpps_own_logits(kind: str) -> None:
    base = base_of(kind, model_of(kind))
    context = Context(base.model, base.settings, 1, 256, 1)
    base.check_logits(context)
    context.read(range(9, 20), range(11), [0] * 11)
    logits, hidden = context.decode([20], [11], [0])
    everything = np.arange(base.vocab_size)[None]
    plain = base.candidate_logits(hidden, everything)
    np.testing.assert_allclose(plain, logits, rtol=1e-3, atol=2e-3)
    V_DR, weighed = np.random.default_rng(0).standard_normal((2, 64, 4)).astype(np.float32)
    rows = base.feature_rows(torch.from_numpy(V_DR))
    if kind == "gemma2":  # which caps its logits
        assert rows is None
    else:
        assert rows is not None
        steered = base.candidate_logits(hidden + weighed[:1] @ V_DR.T, everything)
        np.testing.assert_allclose(rows.logits(weighed[:1], everything), steered - plain, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_guided_answers_are_those_of_the_engine_on_torch(kind: str) -> None:
    model = model_of(kind)
    guide = HeadGuide(tiny_head(model, embedder=HashEmbedder()), HashEmbedder())
    wish = [WeightedPreference("be concise")]
    requests = [
        Request(prompt_ids=list(range(9, 9 + length)), max_tokens=12, preferences=preferences, beta=1.5, alpha=0.01)
        for length in (1, 7, 30)
        for preferences in ([], wish)
    ]
    with TorchEngine(model, TOKENIZER, guide) as engine:
        expected = [engine.submit(request).result(60) for request in requests]
    with LlamaCppEngine(base_of(kind, model), TOKENIZER, guide) as engine:
        found = [engine.submit(request).result(60) for request in requests]
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.token_ids == theirs.token_ids
        for mine, its in zip(ours.events, theirs.events, strict=True):
            assert mine.logprob == pytest.approx(its.logprob, abs=5e-3)
            assert mine.reward == pytest.approx(its.reward, abs=2e-2, rel=1e-2)


@pytest.mark.parametrize("weights", ["f16", "q8_0", "q4_1"])
def test_quantised_weights_pass_the_check(weights: str) -> None:
    base = base_of("llama", model_of("llama"), weights)
    base.check_logits(Context(base.model, base.settings, 1, 256, 1))


def test_logits_that_the_output_matrix_does_not_give_are_refused() -> None:
    base = base_of("qwen2", model_of("qwen2"))
    right = base.file.output_rows
    base.file.output_rows = lambda ids: right(ids) ** 2  # type: ignore[method-assign]
    with pytest.raises(IncompatibleModelError, match="architecture 'qwen2' are not its output matrix"):
        LlamaCppEngine(base, TOKENIZER)
