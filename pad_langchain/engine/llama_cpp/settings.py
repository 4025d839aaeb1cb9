"""How llama.cpp loads a model and computes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

from pad_langchain.engine import checks

__all__ = ["KvType", "LlamaSettings"]

KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]


@dataclass(frozen=True)
class LlamaSettings:
    """Settings of llama.cpp for one model.

    Args:
        threads: threads that compute. None: the cores that are free when the engine is made (see `cores`). Threads wait
            for each other without sleeping, so more of them than free cores make a token many times as slow.
        gpu_layers: layers whose weights go to the GPU, for a llama.cpp that was built for one; -1 sends all.
        context_length: tokens of prompt and answer together at most. None: as many as the model was trained with, at
            most 8,192. Memory for keys and values is taken when the engine is made.
        flash_attention: True, False, or None: llama.cpp decides. A `kv_type` in whole numbers needs it.
        kv_type: how keys and values are kept.

    Raises:
        InvalidRequestError: a setting is out of its range.
    """

    threads: int | None = None
    gpu_layers: int = 0
    context_length: int | None = None
    flash_attention: bool | None = None
    kv_type: KvType = "f16"

    def __post_init__(self) -> None:
        count = checks.integer(1, 2**31 - 1, "an integer of at least 1, or None")
        for name in ("threads", "context_length"):
            if getattr(self, name) is not None:
                self._set(name, count(name, getattr(self, name)))
        layers = checks.integer(-1, 2**31 - 1, "a number of layers, or -1 for all")
        self._set("gpu_layers", layers("gpu_layers", self.gpu_layers))
        if self.flash_attention is not None:
            self._set("flash_attention", checks.flag("flash_attention", self.flash_attention))
        self._set("kv_type", checks.choice(*get_args(KvType))("kv_type", self.kv_type))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
