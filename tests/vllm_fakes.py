"""What pad-vllm calls of vLLM, with the same signatures (`data/vllm_facts.json`), so that it is tested without vLLM."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["FakeConfig", "FakeHead", "FakeModel", "Params", "States", "context", "installed", "making"]


class MoveDirectionality(Enum):
    UNIDIRECTIONAL = auto()
    SWAP = auto()


@dataclass(frozen=True)
class BatchUpdate:
    batch_size: int
    removed: Any
    added: Any
    moved: Any


class V1LogitsProcessor(ABC):
    @classmethod
    def validate_params(cls, sampling_params):
        return None

    @abstractmethod
    def __init__(self, vllm_config, device, is_pin_memory): ...

    @abstractmethod
    def apply(self, logits): ...

    @abstractmethod
    def is_argmax_invariant(self): ...

    @abstractmethod
    def update_state(self, batch_update): ...


@dataclass(frozen=True)
class LogitsContext:
    expanded_idx_mapping: torch.Tensor
    idx_mapping: torch.Tensor
    idx_mapping_np: np.ndarray
    expanded_local_pos: torch.Tensor
    input_ids: torch.Tensor
    pos: torch.Tensor
    seq_lens_upper_bound_np: np.ndarray


class V2LogitsProcessor(ABC):
    def __init__(self, vllm_config, req_states):
        return None

    @classmethod
    def validate_params(cls, sampling_params):
        return None

    def add_request(self, req_idx, sampling_params):
        return True

    @abstractmethod
    def apply(self, logits, ctx): ...


op_registry_oot: dict[str, type] = {}


class PluggableLayer(nn.Module):
    def __new__(cls, *args, **kwargs):
        return super().__new__(op_registry_oot.get(cls.__name__, cls))

    @classmethod
    def register_oot(cls, _decorated_layer_cls=None, name=None):
        assert cls.__name__ not in op_registry_oot
        op_registry_oot[cls.__name__] = _decorated_layer_cls
        return _decorated_layer_cls


class LogitsProcessor(PluggableLayer):
    def __init__(self, vocab_size, org_vocab_size=None, scale=1.0, logits_as_input=False, soft_cap=None):
        super().__init__()
        self.scale, self.soft_cap = scale, soft_cap

    def forward(self, lm_head, hidden_states, embedding_bias=None, skip_gather=False):
        logits = nn.functional.linear(hidden_states, lm_head.weight, embedding_bias)
        if self.soft_cap is not None:
            logits = (logits / self.soft_cap).tanh() * self.soft_cap
        return logits * self.scale


class UnquantizedEmbeddingMethod: ...


class UnquantizedLinearMethod: ...


@dataclass
class Params:
    """What `SamplingParams` has of it."""

    extra_args: dict[str, Any] | None = None
    all_stop_token_ids: set[int] = field(default_factory=lambda: {0})


class FakeConfig:
    """What `VllmConfig` has of it, for a model of these sizes."""

    def __init__(self, hidden_size: int, vocab_size: int, **changes: Any) -> None:
        self.model_config = SimpleNamespace(
            runner_type="generate",
            logits_processors=["pad_vllm:PadProcessor"],
            model="base",
            get_hidden_size=lambda: hidden_size,
            get_vocab_size=lambda: vocab_size,
        )
        self.parallel_config = SimpleNamespace(enable_batch_sharded_sampling=False)
        vars(self.model_config).update(changes)


class FakeHead:
    """An output matrix, or the part of it from a token on."""

    def __init__(self, weight_VD: torch.Tensor, first: int = 0, parts: int = 1, method: Any = None) -> None:
        self.weight, self.tp_size = weight_VD, parts
        self.quant_method = method or UnquantizedEmbeddingMethod()
        self.shard_indices = SimpleNamespace(org_vocab_start_index=first)


class FakeModel:
    """A model of vLLM, as far as its output goes."""

    def __init__(self, config: Any, head: FakeHead, bias: torch.Tensor | None = None, **layer: Any) -> None:
        self.head, self.bias = head, bias
        with making(config):
            self.layer = LogitsProcessor(len(head.weight), **layer)

    def compute_logits(self, hidden_BD: torch.Tensor) -> torch.Tensor:
        return self.layer(self.head, hidden_BD, self.bias)


def context(slots: list[int], rows: list[int] | None = None) -> LogitsContext:
    """A step of V2: the slot of each request, and of each row where there are drafts."""
    mapping, expanded = np.array(slots), torch.tensor(slots if rows is None else rows)
    zeros = torch.zeros(len(expanded))
    return LogitsContext(expanded, torch.tensor(slots), mapping, zeros, zeros, zeros, mapping)


class States:
    """The request states of V2: the tokens of each slot, the first of them its prompt's."""

    def __init__(self, slots: int, longest: int) -> None:
        self.device = torch.device("cpu")
        self.all_token_ids = SimpleNamespace(gpu=torch.zeros(slots, longest, dtype=torch.int32))
        self.prompt_len = SimpleNamespace(np=np.zeros(slots, dtype=np.int32))
        self.lengths = [0] * slots

    def write(self, slot: int, prompt: list[int], answer: list[int]) -> None:
        """Set a slot. What was there before stays behind its end."""
        known = [*prompt, *answer]
        self.all_token_ids.gpu[slot, : len(known)] = torch.tensor(known, dtype=torch.int32)
        self.prompt_len.np[slot], self.lengths[slot] = len(prompt), len(known)

    def context(self, slots: list[int], drafts: dict[int, list[int]]) -> LogitsContext:
        """A step: a row for the last token of each slot, and one for each of its drafts."""
        rows = [(slot, place) for slot in slots for place in range(1 + len(drafts.get(slot, ())))]
        fed = [
            drafts[slot][place - 1] if place else int(self.all_token_ids.gpu[slot, self.lengths[slot] - 1])
            for slot, place in rows
        ]
        return LogitsContext(
            torch.tensor([slot for slot, _ in rows], dtype=torch.int32),
            torch.tensor(slots, dtype=torch.int32),
            np.array(slots, dtype=np.int32),
            torch.tensor([place for _, place in rows], dtype=torch.int32),
            torch.tensor(fed, dtype=torch.int32),
            torch.tensor([self.lengths[slot] - 1 + place for slot, place in rows]),
            np.array([self.lengths[slot] + len(drafts.get(slot, ())) for slot in slots], dtype=np.int32),
        )


_making: list[Any] = []


@contextmanager
def making(config: Any) -> Iterator[None]:
    """vLLM makes models while their config is the current one."""
    _making.append(config)
    yield
    _making.pop()


# The parts that a tensor-parallel worker adds to its own; a test puts the others' here.
others: list[torch.Tensor] = []


def _all_reduce(input_: torch.Tensor) -> torch.Tensor:
    return sum(others, start=input_)


MODULES: dict[str, dict[str, Any]] = {
    "vllm": {"__path__": []},
    "vllm.config": {"VllmConfig": FakeConfig, "get_current_vllm_config": lambda: _making[-1]},
    "vllm.distributed": {"tensor_model_parallel_all_reduce": _all_reduce},
    "vllm.sampling_params": {"SamplingParams": Params},
    "vllm.model_executor.custom_op": {"op_registry_oot": op_registry_oot},
    "vllm.model_executor.layers.linear": {"UnquantizedLinearMethod": UnquantizedLinearMethod},
    "vllm.model_executor.layers.logits_processor": {"LogitsProcessor": LogitsProcessor},
    "vllm.model_executor.layers.vocab_parallel_embedding": {"UnquantizedEmbeddingMethod": UnquantizedEmbeddingMethod},
    "vllm.v1.sample.logits_processor": {"__path__": []},
    "vllm.v1.sample.logits_processor.interface": {
        "BatchUpdate": BatchUpdate,
        "LogitsProcessor": V1LogitsProcessor,
        "MoveDirectionality": MoveDirectionality,
    },
    "vllm.v1.worker.gpu.sample.logits_processor": {"__path__": []},
    "vllm.v1.worker.gpu.sample.logits_processor.interface": {
        "LogitsContext": LogitsContext,
        "LogitsProcessor": V2LogitsProcessor,
    },
}


@contextmanager
def installed() -> Iterator[None]:
    """Have `import vllm` find these, and pad-vllm's modules that import it."""
    had = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "vllm"}
    for name in had:
        del sys.modules[name]
    for name, content in MODULES.items():
        module = ModuleType(name)
        vars(module).update(content)
        sys.modules[name] = module
    yield
    for name in [*MODULES, "pad_vllm.tap", "pad_vllm.processor"]:
        sys.modules.pop(name, None)
    op_registry_oot.clear()
    sys.modules.update(had)
