"""The tap remembers what the output layer is called with, and a server that cannot be steered does not start."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

import vllm_fakes
from pad_vllm.heads import VARIABLE
from vllm_fakes import FakeConfig, FakeHead, FakeModel, LogitsProcessor
from vllm_parts import D, V, Worker


def test_without_a_head_vllm_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with vllm_fakes.installed():
        from pad_vllm.tap import register

        register()
        model = FakeModel(FakeConfig(D, V, logits_processors=None), FakeHead(torch.randn(V, D)))
        assert type(model.layer) is LogitsProcessor


def test_registering_again_changes_nothing_and_another_plugin_is_named(vllm: None) -> None:
    from pad_vllm.tap import Tap, register

    register()
    assert vllm_fakes.op_registry_oot == {"LogitsProcessor": Tap}
    vllm_fakes.op_registry_oot["LogitsProcessor"] = FakeModel
    with pytest.raises(ValueError, match=r"FakeModel.* has taken vLLM's layer"):
        register()


@pytest.mark.parametrize("named", [None, [], ["other:Processor"], ["other:PadProcessor"]])
def test_a_server_without_the_processor_does_not_start(vllm: None, named: Any) -> None:
    with pytest.raises(ValueError, match="Start it with --logits-processors pad_vllm:PadProcessor"):
        FakeModel(FakeConfig(D, V, logits_processors=named), FakeHead(torch.randn(V, D)))


def test_the_processor_may_be_named_by_its_class(vllm: None) -> None:
    from pad_vllm import PadProcessor

    FakeModel(FakeConfig(D, V, logits_processors=[PadProcessor]), FakeHead(torch.randn(V, D)))


def test_poolers_and_drafts_need_no_processor(vllm: None) -> None:
    for kind in ("pooling", "draft"):
        config = FakeConfig(D, V, runner_type=kind, logits_processors=None)
        layer: Any = FakeModel(config, FakeHead(torch.randn(V, D))).layer
        assert layer.taken is None


def test_batch_sharded_sampling_does_not_start(vllm: None) -> None:
    config = FakeConfig(D, V)
    config.parallel_config.enable_batch_sharded_sampling = True
    with pytest.raises(ValueError, match="batch-sharded"):
        FakeModel(config, FakeHead(torch.randn(V, D)))


def test_a_processor_without_the_tap_does_not_start(persrm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(persrm))
    with vllm_fakes.installed(), pytest.raises(ValueError, match="pad_vllm is not loaded"):
        Worker()


@pytest.mark.parametrize(
    "head",
    [
        FakeHead(torch.zeros(V, D), method=SimpleNamespace()),
        FakeHead(torch.zeros(V, D, dtype=torch.int8)),
        FakeHead(torch.zeros(0)),
    ],
)
def test_a_quantised_output_matrix_is_refused_at_the_first_forward(vllm: None, head: FakeHead) -> None:
    worker = Worker()
    worker.model.head = head
    with pytest.raises(ValueError, match="Serve a checkpoint whose lm_head is not quantised"):
        worker.step(2)


def test_the_layer_answers_as_it_does_without_the_tap(worker: Worker) -> None:
    hidden_BD, logits_BV = worker.step(3)
    assert torch.equal(logits_BV, nn.functional.linear(hidden_BD, worker.head.weight, worker.bias))
    assert worker.layer.taken.hidden_BD is hidden_BD


def test_under_lora_the_layer_is_called_through_its_wrapper(worker: Worker) -> None:
    class WithLoRA(nn.Module):
        def __init__(self, base_layer: Any) -> None:
            super().__init__()
            self.base_layer, self.scale, self.soft_cap = base_layer, base_layer.scale, base_layer.soft_cap

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            return type(self.base_layer).forward(self, *args, **kwargs)

    hidden_BD = torch.randn(2, D)
    wrapped = SimpleNamespace(base_layer=worker.head, weight=worker.head.weight)
    logits_BV = WithLoRA(worker.layer)(wrapped, hidden_BD, worker.bias)
    assert logits_BV.shape == (2, V)
    assert worker.layer.taken.hidden_BD is hidden_BD
    assert worker.layer.taken.lm_head is worker.head


def test_a_half_precision_base_is_steered_in_float32(worker: Worker) -> None:
    worker.head.weight, worker.bias = worker.head.weight.bfloat16(), worker.bias.bfloat16()
    hidden_BD = torch.randn(1, D).bfloat16()
    worker.model.bias = worker.bias
    worker.model.compute_logits(hidden_BD)
    tokens_1K = torch.tensor([[3, 5]])
    found_1K1 = worker.layer.taken.logits(tokens_1K, hidden_BD.float()[..., None])
    wanted_2 = worker.head.weight[[3, 5]].float() @ hidden_BD[0].float() + worker.bias[[3, 5]].float()
    assert found_1K1.dtype == torch.float32
    torch.testing.assert_close(found_1K1[0, :, 0], wanted_2)
