"""int8 weights: close to the float ones, the same alone and in a batch, and refused where they cannot be."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from pad_langchain import ChatPAD
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, MissingDependencyError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.cpu import quantized
from pad_langchain.models.cpu.joint import Joint, Norm, Plain
from pad_langchain.models.cpu.quantized import Int8Linear, quantize
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import HashEmbedder, TinyPair, paused, tiny_head, tiny_pair

pytestmark = pytest.mark.skipif(
    quantized.ENGINE not in torch.backends.quantized.supported_engines, reason="torch has no FBGEMM on this machine"
)


@pytest.fixture
def whole_folder(tmp_path: Path) -> Path:
    pair = tiny_pair()
    pair.model.save_pretrained(tmp_path)
    pair.tokenizer.save_pretrained(tmp_path)
    return tmp_path


def int8(layer: nn.Linear) -> Int8Linear:
    holder = nn.Module()
    holder.layer, holder.get_output_embeddings = layer, lambda: layer
    assert quantize(holder) == 1
    made: Int8Linear = holder.layer
    return made


@pytest.mark.parametrize("bias", [False, True])
def test_a_product_is_close_whatever_its_shape(bias: bool) -> None:
    torch.manual_seed(0)
    plain = nn.Linear(96, 40, bias=bias)
    layer = int8(plain)
    with torch.no_grad():
        for shape in ((96,), (1, 96), (5, 96), (2, 3, 96)):
            input = torch.randn(shape)
            expected = plain(input)
            assert layer(input).shape == expected.shape
            assert float((layer(input) - expected).norm() / expected.norm()) < 0.02


def test_a_row_does_not_depend_on_its_neighbours() -> None:
    torch.manual_seed(0)
    layer = int8(nn.Linear(256, 64))
    rows = torch.randn(16, 256) * torch.logspace(-3, 3, 16)[:, None]  # one scale for all would drown the small ones
    with torch.no_grad():
        assert torch.equal(layer(rows), torch.cat([layer(row[None]) for row in rows]))


@pytest.mark.parametrize("bias", [False, True])
def test_normalised_and_added_products_are_those_of_the_layer_row_by_row(bias: bool) -> None:
    torch.manual_seed(0)
    layer = int8(nn.Linear(64, 64, bias=bias))
    norm = Norm(torch.rand(64) + 0.5, torch.tensor(0.1))
    product = layer.joint.product
    hidden_BD = torch.randn(5, 64) * torch.logspace(-2, 2, 5)[:, None]
    with torch.no_grad():
        made = product.of_normed(hidden_BD, norm)
        assert torch.allclose(made, layer(norm(hidden_BD)), rtol=1e-4, atol=1e-4)
        assert torch.equal(made, torch.cat([product.of_normed(row[None], norm) for row in hidden_BD]))
        sum_BD = hidden_BD.clone()
        product.add_to(sum_BD, made)
        assert torch.allclose(sum_BD, hidden_BD + layer(made), rtol=1e-4, atol=1e-4)


def test_zeros_stay_zeros_and_what_is_no_number_is_seen() -> None:
    layer = int8(nn.Linear(64, 16, bias=False))
    rows = torch.zeros(3, 64)
    rows[1, 5], rows[2] = torch.nan, 1.0
    made = layer(rows)
    assert made[0].eq(0).all()
    assert made[1].isnan().all()
    assert made[2].isfinite().all()


def test_a_cpu_that_overflows_gets_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    real = quantized._product(torch.ops)

    def saturating(input: torch.Tensor, scale: float, zero: int, packed: Any) -> torch.Tensor:
        made = real(input, scale, zero, packed)
        return made.clamp(max=5000.0) if zero == 128 else made

    monkeypatch.setattr(quantized, "_product", lambda _: saturating)
    quantized._levels.cache_clear()
    try:
        assert quantized._levels() == (63, 64)
        torch.manual_seed(0)
        plain, input = nn.Linear(96, 40), torch.randn(4, 96)
        with torch.no_grad():
            expected = plain(input)
            assert float((int8(plain)(input) - expected).norm() / expected.norm()) < 0.03
    finally:
        quantized._levels.cache_clear()


def answers(engine: TorchEngine, count: int, **asked: Any) -> list[tuple[int, ...]]:
    requests = [
        Request(
            messages=[{"role": "user", "content": "why is the sky " + "very " * index + "blue?"}],
            max_tokens=6 + index,
            top_k=5,
            **asked,
        )
        for index in range(count)
    ]
    with paused(engine):
        streams = [engine.submit(request) for request in requests]
    return [stream.result(60).token_ids for stream in streams]


@pytest.mark.parametrize("guide", [None, "self", "head"])
def test_answers_in_a_batch_are_those_alone_and_beta_0_is_the_base(whole_folder: Path, guide: str | None) -> None:
    def engine(rows: int) -> TorchEngine:
        engine = load_engine(whole_folder, weights="int8", max_batch=rows)
        reward = tiny_head(engine.base.model, embedder=HashEmbedder()) if guide == "head" else guide
        if guide is None:
            return engine
        if guide == "head":
            reward.save_pretrained(whole_folder / "head")
            reward = whole_folder / "head"
        engine.close()
        return load_engine(whole_folder, reward, weights="int8", max_batch=rows, embedder=HashEmbedder())

    asked = {} if guide is None else {"preferences": [WeightedPreference("be brief")]}
    with engine(1) as alone, engine(4) as together:
        expected = answers(alone, 4, **asked)
        assert answers(together, 4, **asked) == expected
        if guide is not None:
            assert answers(together, 4, beta=0.0, **asked) == answers(alone, 4)


def test_candidate_logits_are_those_of_the_int8_rows(whole_folder: Path) -> None:
    with load_engine(whole_folder, weights="int8") as engine:
        base = engine.base
        hidden_BD = torch.randn(3, base.hidden_size)
        tokens_BK = torch.tensor([[0, 1, 2], [3, 4, 5], [6, 7, 8]])
        with torch.inference_mode():
            exact_BV = hidden_BD @ base.head_rows().T
            assert torch.allclose(base.candidate_logits(hidden_BD, tokens_BK), exact_BV.gather(1, tokens_BK), atol=1e-4)
            assert float((base.logits(hidden_BD) - exact_BV).norm() / exact_BV.norm()) < 0.02


def test_an_adapter_adds_to_int8_products(whole_folder: Path) -> None:
    torch.manual_seed(0)
    pair: TinyPair = tiny_pair()
    tensors = {}
    for name, module in pair.model.named_modules():
        if name.endswith("_proj"):
            tensors[f"{name}.lora_A.weight"] = torch.randn(4, module.in_features)
            tensors[f"{name}.lora_B.weight"] = torch.randn(module.out_features, 4) * 0.2
    kind = {"peft_type": "LORA", "r": 4, "lora_alpha": 4}
    float_model, int8_model = pair.model, copy.deepcopy(pair.model)
    quantize(int8_model)
    ids_BT = torch.arange(8).reshape(2, 4)
    with torch.inference_mode():
        expected, made = (
            Backbone(model).hidden(ids_BT, adapter=Adapter(model, tensors, kind)) for model in (float_model, int8_model)
        )
    assert float((made - expected).norm() / expected.norm()) < 0.1
    adapter = Adapter(int8_model, tensors, kind)
    with pytest.raises(IncompatibleModelError, match="cannot be merged into int8"):
        adapter.merged(int8_model)
    base = Backbone(int8_model)
    guide = ModelGuide(base, Prompts(pair.tokenizer), adapter=adapter)
    with TorchEngine(base, pair.tokenizer, guide) as engine:
        steered = answers(engine, 3, preferences=[WeightedPreference("be brief")], beta=3.0)
        assert steered != answers(engine, 3)


def test_what_cannot_be_is_refused_before_a_model_loads(whole_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = tiny_pair()
    with pytest.raises(InvalidRequestError, match=r"weights has to be 'int8' or None, but is 'int4'"):
        load_engine("nowhere", weights="int4")
    with pytest.raises(InvalidRequestError, match=r"computes in float32 on the CPU.*torch\.bfloat16"):
        load_engine("nowhere", weights="int8", dtype="bfloat16")
    with pytest.raises(InvalidRequestError, match=r"cannot be combined with \['device_map'\]"):
        load_engine("nowhere", weights="int8", device_map="auto")
    with pytest.raises(InvalidRequestError, match=r"\['weights'\] are for loading a model"):
        load_engine(pair.model, tokenizer=pair.tokenizer, weights="int8")
    with pytest.raises(IncompatibleModelError, match="its weights are quantized"):
        load_engine(whole_folder, weights="int8", compile=True)
    with load_engine(whole_folder, weights="int8") as engine, pytest.raises(IncompatibleModelError, match="to save"):
        engine.base.model.save_pretrained(whole_folder / "saved")
    monkeypatch.setattr(quantized, "ENGINE", "none")
    with pytest.raises(MissingDependencyError, match=r"weights='int8' needs torch's FBGEMM"):
        load_engine("nowhere", weights="int8")


def test_a_chat_model_takes_it(whole_folder: Path) -> None:
    llm = ChatPAD(model=str(whole_folder), reward_model=None, weights="int8", max_tokens=4)
    assert llm.invoke("hello").response_metadata["model_name"]
    with pytest.raises(Exception, match="int8"):
        ChatPAD(model=str(whole_folder), weights="int4")


def test_parts_of_a_joint_product_are_not_kept() -> None:
    made: list[int] = []

    def product(input: torch.Tensor) -> torch.Tensor:
        made.append(1)
        return torch.cat([input, -input], dim=-1)

    joint, input = Joint(Plain(product), [3, 3]), torch.ones(2, 3)
    assert joint.part(0, input).sum() == 6
    assert joint.part(1, input).sum() == -6
    assert len(made) == 1
    assert joint.part(1, input).sum() == -6
    assert len(made) == 2
