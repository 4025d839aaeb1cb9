"""Operations that torch and numpy name differently, so that the arithmetic is written once.

Every function takes tensors or numpy arrays and returns the same type. On a CPU, numpy takes less than half of torch's
time for steps of one row: its calls are shorter, and the processor's caches are cold after each forward. Both give the
same numbers up to float32's rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch

__all__ = [
    "Array",
    "array",
    "copied",
    "doubles",
    "fill",
    "floats",
    "isin",
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
    """Make an array.

    Args:
        values: its content.
        kind: "float32", "float64", "int64" or "bool".
        device: the device of a tensor. None means a numpy array.
    """
    if device is None:
        return np.array(values, dtype=kind)
    return torch.tensor(values, dtype=_TORCH[kind], device=device)


def floats(values: Array) -> Array:
    """Return the values in float32."""
    return values.float() if isinstance(values, torch.Tensor) else values.astype(np.float32, copy=False)


def doubles(values: Array) -> Array:
    """Return the values in float64."""
    return values.double() if isinstance(values, torch.Tensor) else values.astype(np.float64, copy=False)


def fill(values: Array, mask: Array, value: float) -> Array:
    """Return a copy with `value` where the mask is True."""
    if isinstance(values, torch.Tensor):
        return values.masked_fill(mask, value)
    return np.where(mask, values.dtype.type(value), values)


def copied(values: Array) -> Array:
    """Return a copy."""
    return values.clone() if isinstance(values, torch.Tensor) else values.copy()


def isin(values: Array, some: Sequence[int]) -> Array:
    """Return for each value whether it is one of some integers."""
    if isinstance(values, torch.Tensor):
        return torch.isin(values, torch.tensor(some, device=values.device))
    return np.isin(values, some)


def pick(mask: Array, yes: Array, no: Array | float) -> Array:
    """Return `yes` where the mask is True, `no` elsewhere."""
    return torch.where(mask, yes, no) if isinstance(mask, torch.Tensor) else np.where(mask, yes, no)


def take(values: Array, places: Array) -> Array:
    """Take the values at these places of the last axis: [B, N] and int64 [B, K] → [B, K]."""
    if isinstance(values, torch.Tensor):
        return values.gather(1, places)
    return values[:, places[0]] if len(values) == 1 else np.take_along_axis(values, places, 1)


def zeros(values: Array) -> Array:
    """Return zeros of the same shape and type."""
    return torch.zeros_like(values) if isinstance(values, torch.Tensor) else np.zeros_like(values)


def tanh(values: Array) -> Array:
    """Return the hyperbolic tangent of each value."""
    return values.tanh() if isinstance(values, torch.Tensor) else np.tanh(values)


def top(values: Array, count: int) -> tuple[Array, Array]:
    """Return the largest values per row, best first, and their places: [B, N] → [B, count] twice."""
    if isinstance(values, torch.Tensor):
        likeliest = values.topk(count, dim=-1)
        return likeliest.values, likeliest.indices
    if len(values) == 1:
        return _top_of_row(values[0], count)
    rows = [_top_of_row(row_V, count) for row_V in values]
    found, places = (np.concatenate(side) for side in zip(*rows, strict=True))
    return found, places


def _top_of_row(row_V: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """`top` of one row: [V] → [1, count] twice. Of equal values the first come first.

    The largest value per block is found first. The `count` largest of these give a bound that no wanted value is
    below. Few values reach it, and only these are sorted.
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
    """Return log Σ exp over the last axis, [..., N] → [...]."""
    if isinstance(values, torch.Tensor):
        return values.logsumexp(-1)
    most = values.max(-1, keepdims=True)
    if values.shape[-1] <= _PART:
        return (most + np.log(np.exp(values - most).sum(-1, keepdims=True)))[..., 0]
    # In parts that stay in the processor's cache.
    parts = (values[..., start : start + _PART] for start in range(0, values.shape[-1], _PART))
    return most[..., 0] + np.log(sum(np.exp(part - most).sum(-1) for part in parts))


def log_softmax(values: Array) -> Array:
    """Return log-probabilities over the last axis, in nats."""
    return values.log_softmax(-1) if isinstance(values, torch.Tensor) else values - log_sum_exp(values)[..., None]


def table(columns: Sequence[Array]) -> list[list[float]]:
    """Return columns [N] as N rows of Python floats, with one transfer from the device, as each transfer waits.

    A float64 holds any token id.
    """
    if isinstance(columns[0], torch.Tensor):
        return torch.stack([column.double() for column in columns], dim=1).tolist()
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]
