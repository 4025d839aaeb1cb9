"""What an engine is set up with: limits, what it keeps, and how its models compute."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from pad_langchain.engine import checks
from pad_langchain.errors import InvalidRequestError

__all__ = ["EngineSettings", "split_settings"]


@dataclass(frozen=True)
class EngineSettings:
    """How one engine runs.

    Args:
        max_batch: rows that decode together at most; more wait, first come first served.
        max_queue: requests that may wait; one more is refused.
        max_batch_tokens: columns of KV cache, padding included, that the rows of the batch may come to need in all;
            requests beyond it wait, and one that alone needs more is refused.
        prefix_tokens: keep keys and values of this many prompt tokens a model, so that later turns and other users
            who begin alike do not run them again; 0 keeps none. The same tokens in float32; in lower precision what
            is reused may round otherwise than what is run.
        pack_weights: keep the weights of large float32 layers on the CPU a second time in a layout with which several
            rows cost little more than one (see `models.packed`). "auto": where the engine loaded the models itself
            and half of the free memory is enough. With True, a loaded model's weights must not be changed through
            `.data` afterwards.
        compile: run the decode step as one compiled graph over static KV buffers, as CUDA graphs on a GPU (see
            `models.compiled`). The first steps compile; `TorchEngine.warm_up` does that beforehand. Off by default: on
            a CPU that takes half a minute, and on CUDA it has not been run yet.

    Raises:
        InvalidRequestError: a setting is out of its range.
    """

    max_batch: int = 32
    max_queue: int = 1024
    max_batch_tokens: int = 131072
    prefix_tokens: int = 8192
    pack_weights: bool | Literal["auto"] = "auto"
    compile: bool = False

    def __post_init__(self) -> None:
        for name, least in (("max_batch", 1), ("max_queue", 1), ("max_batch_tokens", 1), ("prefix_tokens", 0)):
            check = checks.integer(least, checks.LARGEST, f"an integer of at least {least}")
            object.__setattr__(self, name, check(name, getattr(self, name)))
        if not isinstance(self.pack_weights, bool) and not (
            isinstance(self.pack_weights, str) and self.pack_weights == "auto"
        ):
            checks.refuse("pack_weights", self.pack_weights, "True, False or 'auto'")
        object.__setattr__(self, "compile", checks.flag("compile", self.compile))


def split_settings(keywords: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part keywords into those of `EngineSettings` and all others.

    Raises:
        InvalidRequestError: one of the others is nearly a setting.
    """
    names = {field.name for field in fields(EngineSettings)}
    mine = {name: value for name, value in keywords.items() if name in names}
    for name in keywords.keys() - names:
        if near := difflib.get_close_matches(name, names, 1, 0.8):
            raise InvalidRequestError(f"The engine has no setting {name!r}. Did you mean {near[0]!r}?")
    return mine, {name: value for name, value in keywords.items() if name not in names}
