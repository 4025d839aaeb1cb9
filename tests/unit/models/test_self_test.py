"""Models that write in a batch what they write alone, and those that do not: the latter are refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from pad_langchain.engine import Request
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models import self_test
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.self_test import KNOWN, check_batches, fingerprint
from pad_langchain.testing import paused, tiny_tokenizer

COMMON = {
    "vocab_size": 400,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS = {
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 256,
}
DECODER = {
    "vocab_size": 400,
    "d_model": 32,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "decoder_ffn_dim": 48,
    "max_position_embeddings": 256,
    "is_decoder": True,
    "is_encoder_decoder": False,
    "pad_token_id": 0,
    "eos_token_id": 2,
}
NARROW = {"word_embed_proj_dim": 32}
MAMBA = {"head_dim": 8, "mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8}
OWN: dict[str, dict[str, Any]] = {
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8},
    "gemma3_text": {"head_dim": 8},
    "qwen3": {"head_dim": 8},
    "lfm2": {"block_ff_dim": 48, "layer_types": ["conv", "full_attention"]},
    "falcon_h1": MAMBA,
}
OTHER: dict[str, dict[str, Any]] = {
    "gpt2": {"vocab_size": 400, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256},
    "rwkv": {**COMMON, "attention_hidden_size": 32, "intermediate_size": 48, "context_length": 256},
    "opt": {
        **COMMON,
        "ffn_dim": 48,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "word_embed_proj_dim": 32,
    },
    "bloom": {"vocab_size": 400, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "xglm": {"vocab_size": 400, "d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 48},
    **dict.fromkeys(("bart", "mbart", "pegasus", "blenderbot", "marian", "trocr"), DECODER),
}
WRONG = ["lfm2", "falcon_h1", "rwkv", "bart", "mbart", "pegasus", "blenderbot", "marian", "trocr"]
RIGHT = ["opt", "bloom", "xglm", "olmo", "cohere"]


def build(kind: str) -> Any:
    """A random model of a family, with weights large enough that positions matter."""
    torch.manual_seed(0)
    config = CONFIG_MAPPING[kind](**OTHER.get(kind, {**COMMON, **HEADS, **OWN.get(kind, {})}))
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize("kind", sorted(KNOWN))
def test_families_that_are_not_asked_pass(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "KNOWN", frozenset())
    check_batches(Backbone(build(kind)))


@pytest.mark.parametrize("kind", RIGHT)
def test_another_family_that_passes_decodes_in_batches(kind: str) -> None:
    model = build(kind)
    prompts = [[5, 9, 7, 30, 11], [8, 6], [4, 12, 17]]
    expected = []
    for prompt in prompts:
        ids = list(prompt)
        with torch.no_grad():
            for _ in range(6):
                ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
        expected.append(tuple(ids[len(prompt) :]))
    with TorchEngine(model, tiny_tokenizer()) as engine:
        assert engine.stats.forwards == 0
        engine.end_tokens = frozenset()
        with paused(engine):
            streams = [engine.submit(Request(prompt_ids=prompt, max_tokens=6)) for prompt in prompts]
        assert [stream.result(60).token_ids for stream in streams] == expected


@pytest.mark.parametrize("kind", WRONG)
def test_a_model_that_writes_otherwise_in_a_batch_is_refused_by_name(kind: str) -> None:
    with pytest.raises(IncompatibleModelError, match=rf"model type '{kind}'\) cannot decode several rows together"):
        TorchEngine(build(kind), tiny_tokenizer())


def test_a_verdict_is_kept_for_the_weights_and_costs_a_few_forwards(monkeypatch: pytest.MonkeyPatch) -> None:
    model, calls = build("opt"), []
    backbone = Backbone(model)
    model.base_model.register_forward_pre_hook(lambda *_: calls.append(1))
    monkeypatch.setattr(self_test, "_verdicts", {})
    check_batches(backbone)
    asked = len(calls)
    assert 0 < asked <= 12
    check_batches(backbone)
    check_batches(Backbone(build("opt")))
    assert len(calls) == asked
    before = fingerprint(model)
    with torch.no_grad():
        model.get_input_embeddings().weight[0, 0] += 1.0
    assert fingerprint(model) != before
    check_batches(backbone)
    assert len(calls) == 2 * asked
