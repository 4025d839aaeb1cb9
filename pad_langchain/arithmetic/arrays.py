"""The few operations that torch and numpy have under different names, so that the arithmetic is written once.

Where a model's logits are on a CPU and a step is one row, numpy takes less than half of torch's time: its calls are
shorter, and the processor's caches are cold after each forward. Both give the same numbers to float32's rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

__all__ = [
    "Array",
    "array",
    "doubles",
    "fill",
    "floats",
    "log_softmax",
    "log_sum_exp",
    "pick",
    "table",
    "take",
    "tanh",
    "top",
    "zeros",
]

Array: TypeAlias = Any  # a torch.Tensor or an np.ndarray; what goes into one call is all of one kind

_BLOCK = 64
_PART = 8192
_TORCH = {"float32": torch.float32, "float64": torch.float64, "int64": torch.int64, "bool": torch.bool}


def array(values: Sequence[Any], kind: str, device: torch.device | None) -> Array:
    """A tensor on a device; None: a numpy array.

    Args:
        kind: "float32", "float64", "int64" or "bool".
    """
    if device is None:
        return np.array(values, dtype=kind)
    return torch.tensor(values, dtype=_TORCH[kind], device=device)


def floats(values: Array) -> Array:
    """The same in float32."""
    return values.float() if isinstance(values, torch.Tensor) else values.astype(np.float32, copy=False)


def doubles(values: Array) -> Array:
    """The same in float64."""
    return values.double() if isinstance(values, torch.Tensor) else values.astype(np.float64, copy=False)


def fill(values: Array, mask: Array, value: float) -> Array:
    """A copy with `value` where the mask is True."""
    if isinstance(values, torch.Tensor):
        return values.masked_fill(mask, value)
    return np.where(mask, values.dtype.type(value), values)


def pick(mask: Array, yes: Array, no: Array | float) -> Array:
    """`yes` where the mask is True, `no` elsewhere."""
    return torch.where(mask, yes, no) if isinstance(mask, torch.Tensor) else np.where(mask, yes, no)


def take(values: Array, places: Array) -> Array:
    """The values at these places of the last axis: [B, N] and [B, K] → [B, K]."""
    if isinstance(values, torch.Tensor):
        return values.gather(1, places)
    return values[:, places[0]] if len(values) == 1 else np.take_along_axis(values, places, 1)


def zeros(values: Array) -> Array:
    """As many zeros."""
    return torch.zeros_like(values) if isinstance(values, torch.Tensor) else np.zeros_like(values)


def tanh(values: Array) -> Array:
    """The hyperbolic tangent of each value."""
    return values.tanh() if isinstance(values, torch.Tensor) else np.tanh(values)


def top(values: Array, count: int) -> tuple[Array, Array]:
    """The largest values of each row [B, count], best first, and where they are."""
    if isinstance(values, torch.Tensor):
        likeliest = values.topk(count, dim=-1)
        return likeliest.values, likeliest.indices
    if len(values) == 1:
        return _top_of_row(values[0], count)
    rows = [_top_of_row(row_V, count) for row_V in values]
    found, places = (np.concatenate(side) for side in zip(*rows, strict=True))
    return found, places


def _top_of_row(row_V: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`top` of one row: [1, count] twice; of equal values the first come first.

    The largest value of each block is found first; a block is every so-many-th value. As many blocks as values are
    wanted reach a bound that no wanted value is below. Few values are as large, and only these are sorted.
    """
    size, places = len(row_V), None
    if (blocks := size // _BLOCK) > 4 * count:
        highest = row_V[: blocks * _BLOCK].reshape(_BLOCK, blocks).max(0)
        least = np.partition(highest, blocks - count)[blocks - count]
        places = np.flatnonzero(row_V >= least)
    if places is None or len(places) < count:  # a short row, or NaNs
        places = np.argpartition(row_V, size - count)[size - count :] if count < size else np.arange(size)
        places.sort()
    order = np.argsort(-row_V[places], kind="stable")[:count]
    places = places[order]
    return row_V[places][None], places[None]


def log_sum_exp(values: Array) -> Array:
    """log Σ exp of the last axis."""
    if isinstance(values, torch.Tensor):
        return values.logsumexp(-1)
    most = values.max(-1, keepdims=True)
    if values.shape[-1] <= _PART:
        return (most + np.log(np.exp(values - most).sum(-1, keepdims=True)))[..., 0]
    # In parts that stay in the processor's cache.
    parts = (values[..., start : start + _PART] for start in range(0, values.shape[-1], _PART))
    return most[..., 0] + np.log(sum(np.exp(part - most).sum(-1) for part in parts))


def log_softmax(values: Array) -> Array:
    """Log-probabilities over the last axis."""
    return values.log_softmax(-1) if isinstance(values, torch.Tensor) else values - log_sum_exp(values)[..., None]


def table(columns: Sequence[Array]) -> list[list[float]]:
    """Columns [N] as N rows of Python numbers, with one transfer from the device: each is a wait.

    A float64 holds any token id.
    """
    if isinstance(columns[0], torch.Tensor):
        return torch.stack([column.double() for column in columns], dim=1).tolist()
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
