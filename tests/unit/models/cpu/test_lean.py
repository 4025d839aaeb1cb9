"""Lean steps: the hidden states of the model's own modules, for every family, in batches that come and go."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from pad_langchain.models.backbone import Backbone
from pad_langchain.models.cpu import lean
from pad_langchain.models.cpu.joint import Norm
from pad_langchain.models.cpu.lean import FAMILIES, LeanDecoder
from pad_langchain.models.cpu.packed import pack
from pad_langchain.models.rows import Rows


def model(family: str, **more: Any) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        family,
        vocab_size=64,
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=2,
        num_attention_heads=6,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=128,
        initializer_range=0.3,
        **{"sliding_window": None, **more},
    )
    made = AutoModelForCausalLM.from_config(config).eval()
    for name, parameter in made.named_parameters():
        if "norm" in name or "bias" in name:
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return made


def run(base: Backbone) -> torch.Tensor:
    """Hidden states of rows of different lengths, of which one leaves and one joins."""
    with torch.inference_mode():
        rows = Rows(base, [[1, 2, 3, 4, 5], [6, 7], [8, 9, 10]])
        found = [rows.hidden_BD]
        for step in range(6):
            rows.step(torch.arange(len(rows.lengths)) + step)
            found.append(rows.hidden_BD)
            if step == 2:
                rows.keep([1, 2])
            if step == 3:
                rows.merge(Rows(base, [[11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]]))
        return torch.cat(found)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each lean step."""
    seen: list[int] = []
    real = LeanDecoder._step

    def counted(self: LeanDecoder, stack: Any, ids_B: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(len(ids_B))
        return real(self, stack, ids_B, *rest)

    monkeypatch.setattr(LeanDecoder, "_step", counted)
    return seen


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_hidden_states_are_those_of_the_modules(
    steps: list[int], monkeypatch: pytest.MonkeyPatch, family: str, attention: str
) -> None:
    made = model(family, attn_implementation=attention)
    base = Backbone(made)
    assert isinstance(base.decoder, LeanDecoder)
    ours = run(base)
    assert steps == [3, 3, 3, 2, 3, 3]
    monkeypatch.setattr(lean, "FAMILIES", frozenset())
    plain = Backbone(made)
    assert plain.decoder is made.base_model
    assert torch.allclose(ours, run(plain), atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_norm_is_that_of_the_module(dtype: torch.dtype) -> None:
    theirs = model("llama").model.norm.to(dtype)
    rows = torch.randn(4, 48).mul(torch.tensor([[0.0], [1e-3], [1.0], [1e3]])).to(dtype)  # ε alone, and none of it
    made = Norm.of(theirs)(rows)
    assert made.dtype == dtype
    assert torch.allclose(made.float(), theirs(rows).float(), rtol=1e-5 if dtype == torch.float32 else 1e-2, atol=1e-6)


def test_packed_siblings_are_found_and_weights_changed_since_are_not(
    steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pad_langchain.models.cpu.packed.LEAST", 1)
    made = model("qwen2")
    base = Backbone(made)
    plain = run(base)
    pack(made)
    assert torch.allclose(run(base), plain, atol=1e-4)
    with torch.no_grad():
        made.model.layers[0].self_attn.k_proj.weight.mul_(1.5)
    changed = run(base)
    assert not torch.allclose(changed, plain, atol=1e-2)
    assert torch.allclose(changed, run(Backbone(copy.deepcopy(made))), atol=1e-4)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("mistral", {"sliding_window": 4}),
        ("gemma", {}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}),
    ],
)
def test_other_shapes_run_their_own_modules(family: str, more: dict[str, Any]) -> None:
    made = model(family, **more)
    assert lean.lean_decoder(made) is made.base_model


def test_hooks_of_others_are_called(steps: list[int]) -> None:
    made = model("llama")
    base = Backbone(made)
    seen: list[int] = []
    hook = made.model.layers[1].mlp.register_forward_hook(lambda *_: seen.append(1))
    watched = run(base)
    assert not steps
    assert len(seen) == 8  # two prompts and six steps
    hook.remove()
    assert torch.allclose(run(base), watched, atol=1e-4)
    assert len(steps) == 6


def test_gradients_run_the_modules(steps: list[int]) -> None:
    base = Backbone(model("llama"))
    rows = Rows(base, [[1, 2, 3]])
    rows.step(torch.tensor([4]))
    assert rows.hidden_BD.requires_grad
    assert not steps
