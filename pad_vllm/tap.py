"""Where hidden states become logits: vLLM's own layer, which remembers what it was called with.

Every causal LM of vLLM makes a `LogitsProcessor` layer, and vLLM makes the class that is registered in its place. The
layer and the processor meet by the config that the models and the runner of a worker share.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

import torch
from vllm.config import VllmConfig, get_current_vllm_config
from vllm.distributed import tensor_model_parallel_all_reduce
from vllm.model_executor.custom_op import op_registry_oot
from vllm.model_executor.layers.linear import UnquantizedLinearMethod
from vllm.model_executor.layers.logits_processor import LogitsProcessor
from vllm.model_executor.layers.vocab_parallel_embedding import UnquantizedEmbeddingMethod

from pad_vllm.heads import VARIABLE
from pad_vllm.steering import candidate_logits

__all__ = ["LAYER", "PROCESSOR", "Taken", "Tap", "register", "taken_of"]

LAYER = "LogitsProcessor"
PROCESSOR = "pad_vllm:PadProcessor"


@dataclass(eq=False)
class Taken:
    """What the output layer of a worker's model was called with last.

    Args:
        layer: the layer, which has the model's soft cap and scale.
        lm_head: the output matrix, or a tensor-parallel worker's part of it.
        hidden_BD: the hidden states.
        bias_V: the output bias. None where the model has none.
    """

    layer: Any
    lm_head: Any = None
    hidden_BD: torch.Tensor | None = None
    bias_V: torch.Tensor | None = None

    def keep(self, lm_head: Any, hidden_BD: torch.Tensor, bias_V: torch.Tensor | None) -> None:
        """Remember a call.

        Raises:
            ValueError: the output matrix is quantised, so that its rows cannot be read.
        """
        lm_head = getattr(lm_head, "base_layer", lm_head)
        if lm_head is not self.lm_head:
            plain = isinstance(lm_head.quant_method, UnquantizedEmbeddingMethod | UnquantizedLinearMethod)
            if not plain or lm_head.weight.ndim != 2 or not lm_head.weight.is_floating_point():
                raise ValueError(
                    f"pad-vllm reads rows of the output matrix, but this model's is held by "
                    f"{type(lm_head.quant_method).__name__}. Serve a checkpoint whose lm_head is not quantised."
                )
        self.lm_head, self.hidden_BD, self.bias_V = lm_head, hidden_BD, bias_V

    def hidden_of(self, rows: int) -> torch.Tensor:
        """The hidden states of this many rows of logits.

        Raises:
            RuntimeError: the last call was for others.
        """
        if self.hidden_BD is None or len(self.hidden_BD) != rows:
            got = None if self.hidden_BD is None else len(self.hidden_BD)
            raise RuntimeError(f"{rows} rows of logits came to pad-vllm after {got} rows of hidden states.")
        return self.hidden_BD

    def logits(self, tokens_GK: torch.Tensor, vectors_GDN: torch.Tensor) -> torch.Tensor:
        """The model's logits of candidates for N vectors of each row: [G, K] and [G, D, N] → [G, K, N] in float32."""
        first = self.lm_head.shard_indices.org_vocab_start_index
        logits_GKN = candidate_logits(self.lm_head.weight, self.bias_V, tokens_GK, vectors_GDN, first)
        if self.lm_head.tp_size > 1:
            logits_GKN = tensor_model_parallel_all_reduce(logits_GKN)
        if (cap := self.layer.soft_cap) is not None:
            logits_GKN = (logits_GKN / cap).tanh() * cap
        return logits_GKN * self.layer.scale


# By the id of the config that a worker's model was made with; the model's layer keeps it.
_taken: WeakValueDictionary[int, Taken] = WeakValueDictionary()


def taken_of(config: VllmConfig) -> Taken:
    """What was taken of the model that was made with this config.

    Raises:
        RuntimeError: no layer of it is tapped.
    """
    if (taken := _taken.get(id(config))) is None:
        raise RuntimeError(f"pad-vllm found no {LAYER} layer in this model, so it cannot steer it.")
    return taken


class Tap(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """vLLM's layer, which remembers its calls where it belongs to the model that answers: not in drafts or poolers.

    Raises:
        ValueError: the server was started without `PadProcessor`, or with batch-sharded sampling.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        config = get_current_vllm_config()
        self.taken: Taken | None = None
        if config.model_config is not None and config.model_config.runner_type == "generate":
            _refuse(config)
            self.taken = _taken[id(config)] = Taken(self)

    def forward(
        self,
        lm_head: Any,
        hidden_states: torch.Tensor,
        embedding_bias: torch.Tensor | None = None,
        *rest: Any,
        **more: Any,
    ) -> torch.Tensor | None:
        """Remember the call and do what vLLM does. With LoRA, vLLM calls this with its own layer around this one."""
        layer: Any = getattr(self, "base_layer", self)
        if layer.taken is not None:
            layer.taken.keep(lm_head, hidden_states, embedding_bias)
        return LogitsProcessor.forward(self, lm_head, hidden_states, embedding_bias, *rest, **more)


def _refuse(config: VllmConfig) -> None:
    named = [each if isinstance(each, str) else each.__name__ for each in config.model_config.logits_processors or ()]
    if not {PROCESSOR, "PadProcessor"} & set(named):
        raise ValueError(
            f"{VARIABLE} is set, but the server was started with the logits processors {named}. Start it with "
            f"--logits-processors {PROCESSOR}, or unset {VARIABLE}."
        )
    if getattr(config.parallel_config, "enable_batch_sharded_sampling", False):
        raise ValueError("pad-vllm needs the hidden states of every row: start without batch-sharded sampling.")


def register() -> None:
    """Register the tap, where `PAD_PERSRM` is set. vLLM calls this in each of its processes, maybe more than once.

    Raises:
        ValueError: another plugin took the layer.
    """
    if not os.environ.get(VARIABLE) or op_registry_oot.get(LAYER) is Tap:
        return
    if LAYER in op_registry_oot:
        raise ValueError(f"The plugin class {op_registry_oot[LAYER]!r} has taken vLLM's layer {LAYER}: unload one.")
    LogitsProcessor.register_oot(Tap)
