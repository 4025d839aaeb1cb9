"""Packed weights: the same tokens, and a model that is the plain one to everybody else."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models import compiled
from pad_langchain.models.cpu import packed
from pad_langchain.models.cpu.packed import pack
from pad_langchain.persrm.build import load_engine
from pad_langchain.testing import TinyPair, tiny_pair


@pytest.fixture
def large_pair(monkeypatch: pytest.MonkeyPatch) -> TinyPair:
    """Its layers are tiny, so every size counts as large."""
    monkeypatch.setattr(packed, "LEAST", 1)
    return tiny_pair()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Shapes of the inputs that packed products got."""
    seen: list[torch.Size] = []
    real = packed.blocked_product

    def counted(input: torch.Tensor, *args: Any) -> torch.Tensor:
        seen.append(input.shape)
        return real(input, *args)

    monkeypatch.setattr(packed, "blocked_product", counted)
    return seen


def test_a_blocked_weight_multiplies_as_the_plain_one() -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(48, 80), torch.randn(48)
    blocked = packed.blocked_layout(weight)
    for rows in (1, 2, 16, 33):
        x_BD = torch.randn(rows, 80)
        for added in (bias, None):
            expected = nn.functional.linear(x_BD, weight, added)
            assert torch.allclose(packed.blocked_product(x_BD, blocked, added), expected, atol=1e-4)


def test_one_row_of_a_short_layer_is_read_plain(calls: list[torch.Size]) -> None:
    torch.manual_seed(0)
    short, long = nn.Linear(512, 512), nn.Linear(1024, 1024)
    assert pack(short) == pack(long) == 1
    with torch.no_grad():
        for layer, seen in ((short, [3]), (long, [1, 3])):
            for rows in (1, 3):
                x_BD = torch.randn(rows, layer.in_features)
                assert torch.allclose(layer(x_BD), nn.functional.linear(x_BD, layer.weight, layer.bias), atol=1e-4)
            assert [shape[0] for shape in calls] == seen
            calls.clear()


def requests(count: int) -> list[Request]:
    return [
        Request(
            messages=[{"role": "user", "content": "why is the sky " + "very " * (index % 4) + "blue?"}],
            preferences=[WeightedPreference("be concise"), WeightedPreference("be formal", -0.5)][: 1 + index % 2],
            max_tokens=3 + index % 6,
            top_k=5,
        )
        for index in range(count)
    ]


def tokens(engine: TorchEngine, count: int) -> list[tuple[int, ...]]:
    """More requests than rows, of different lengths: they join late and leave early."""
    with engine:
        streams = [engine.submit(request) for request in requests(count)]
        return [stream.result(60).token_ids for stream in streams]


@pytest.mark.parametrize("rows", [1, 2, 16])
@pytest.mark.parametrize("guide", ["self", "head"])
def test_the_tokens_are_those_of_the_plain_weights(
    large_pair: TinyPair, calls: list[torch.Size], rows: int, guide: str
) -> None:
    def engine(**settings: Any) -> TorchEngine:
        if guide == "head":
            return TorchEngine(large_pair.model, large_pair.tokenizer, large_pair.guide(), max_batch=rows, **settings)
        return load_engine(large_pair.model, "self", tokenizer=large_pair.tokenizer, max_batch=rows, **settings)

    plain = tokens(engine(), 20)
    assert not calls
    assert tokens(engine(pack_weights=True), 20) == plain
    assert calls


def test_siblings_are_one_product(large_pair: TinyPair, calls: list[torch.Size]) -> None:
    ids_BT = torch.arange(8).reshape(2, 4)
    with torch.no_grad():
        plain = large_pair.model(ids_BT).logits
        assert pack(large_pair.model) == 15  # seven in each of two layers, and the head
        assert torch.allclose(large_pair.model(ids_BT).logits, plain, atol=1e-5)
        assert len(calls) == 9  # q, k and v are one, and so are gate and up
        calls.clear()
        assert pack(large_pair.model, join=False) == 15
        assert torch.allclose(large_pair.model(ids_BT).logits, plain, atol=1e-5)
        assert len(calls) == 15


def test_a_part_is_never_that_of_another_input(large_pair: TinyPair) -> None:
    attention = large_pair.model.model.layers[0].self_attn
    one_BD, other_BD = torch.randn(2, 3, attention.q_proj.in_features)
    with torch.no_grad():
        expected = [
            module(input_BD) for module in (attention.q_proj, attention.k_proj) for input_BD in (one_BD, other_BD)
        ]
        pack(large_pair.model)
        made = [module(input_BD) for module in (attention.q_proj, attention.k_proj) for input_BD in (one_BD, other_BD)]
    for ours, plain in zip(made, expected, strict=True):
        assert torch.allclose(ours, plain, atol=1e-5)


def test_bfloat16_is_packed_where_the_cpu_computes_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = nn.Linear(1024, 512).bfloat16()
    monkeypatch.setattr(packed, "computes_in_bfloat16", lambda: False)
    assert pack(layer) == 0
    monkeypatch.undo()
    if not packed.computes_in_bfloat16():
        pytest.skip("this CPU does not compute in bfloat16")
    x_BD = torch.randn(3, 1024).bfloat16()
    with torch.no_grad():
        plain = layer(x_BD)
        assert pack(layer) == 1
        assert torch.allclose(layer(x_BD).float(), plain.float(), atol=0.05)


def test_compiled_steps_use_them(
    large_pair: TinyPair, calls: list[torch.Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    torch.compiler.reset()
    plain = tokens(TorchEngine(large_pair.model, large_pair.tokenizer, large_pair.guide()), 12)
    engine = TorchEngine(large_pair.model, large_pair.tokenizer, large_pair.guide(), compile=True, pack_weights=True)
    engine.warm_up(rows=(1, 2), columns=(100,))
    assert sum(shape.numel() > shape[-1] for shape in calls) == 14  # of two rows; the head is no part of the graph
    assert tokens(engine, 12) == plain
    torch.compiler.reset()


def test_a_packed_model_saves_copies_and_trains_as_before(
    large_pair: TinyPair, calls: list[torch.Size], tmp_path: Path
) -> None:
    before = {name: tensor.clone() for name, tensor in large_pair.model.state_dict().items()}
    assert pack(large_pair.model) == 15  # seven in each of two layers, and the head
    after = large_pair.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in before)
    large_pair.model.save_pretrained(tmp_path)
    ids_BT = torch.arange(8).reshape(2, 4)
    copied = copy.deepcopy(large_pair.model)
    for parameter in copied.parameters():
        parameter.data += 0.1  # unseen by version counters; a copy has no packed weights to be wrong
    with torch.no_grad():
        told = copied(ids_BT).logits
    assert not calls
    again = type(copied).from_pretrained(tmp_path)
    again.load_state_dict(copied.state_dict())
    with torch.no_grad():
        assert torch.allclose(told, again(ids_BT).logits, atol=1e-6)
    large_pair.model(ids_BT).logits.sum().backward()
    assert large_pair.model.model.layers[0].mlp.up_proj.weight.grad is not None
    assert not calls


def test_weights_changed_in_place_are_not_decoded_with_the_old_ones(calls: list[torch.Size]) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(1024, 1024)
    x_BD = torch.randn(3, 1024)
    assert pack(layer) == 1
    with torch.no_grad():
        expected = nn.functional.linear(x_BD, layer.weight, layer.bias)
        assert torch.allclose(layer(x_BD), expected, atol=1e-3)
        assert len(calls) == 1
        layer.weight.add_(1.0)
        assert torch.allclose(layer(x_BD), nn.functional.linear(x_BD, layer.weight, layer.bias), atol=1e-3)
        assert len(calls) == 1
        pack(layer)
        assert torch.allclose(layer(x_BD), nn.functional.linear(x_BD, layer.weight, layer.bias), atol=1e-3)
    assert len(calls) == 2


def test_small_layers_other_dtypes_and_full_memory_stay_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pack(nn.Linear(256, 512)) == 0
    assert pack(nn.Linear(1024, 1024).half()) == 0
    layer = nn.Linear(1024, 1024)
    monkeypatch.setattr(packed, "_free_memory", lambda: 6.0 * 2**20)
    assert pack(layer, spare=True) == 0
    monkeypatch.setattr(packed, "_free_memory", lambda: 9.0 * 2**20)
    assert pack(layer, spare=True) == 1


def test_auto_packs_what_the_engine_loaded_itself(large_pair: TinyPair, tmp_path: Path) -> None:
    large_pair.model.save_pretrained(tmp_path)
    large_pair.tokenizer.save_pretrained(tmp_path)

    def packs(engine: TorchEngine) -> bool:
        with engine:
            return type(engine.base.head) is packed.PackedLinear

    assert packs(load_engine(tmp_path))
    assert not packs(load_engine(tmp_path, pack_weights=False))
    assert not packs(load_engine(large_pair.model, tokenizer=large_pair.tokenizer))
    assert packs(load_engine(large_pair.model, tokenizer=large_pair.tokenizer, pack_weights=True))


def test_a_wrong_setting_and_a_torch_without_onednn_are_refused(
    large_pair: TinyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InvalidRequestError, match=r"pack_weights has to be True, False or 'auto', but is 'yes'"):
        TorchEngine(large_pair.model, large_pair.tokenizer, pack_weights="yes")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    with pytest.raises(InvalidRequestError, match="built without oneDNN"):
        TorchEngine(large_pair.model, large_pair.tokenizer, pack_weights=True)
    assert pack(large_pair.model, spare=True) == 0
