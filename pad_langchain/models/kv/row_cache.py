"""A KV cache whose rows come and go: preallocated buffers that grow, drop rows, trim their left edge and merge.

Rows are left-padded to one width, so the newest token of every row is in the last column. Padding is zero, as an
attention weight of zero times NaN would still be NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

__all__ = ["Column", "RowCache"]

HEADROOM = 64  # columns allocated beyond what is needed, so that a step writes in place


class Column(NamedTuple):
    """A new column of one layer, as views: where its keys and values go [B, H, D], and all columns [B, H, C, D]."""

    key_BHD: torch.Tensor
    value_BHD: torch.Tensor
    keys: torch.Tensor
    values: torch.Tensor


class _RowLayer(CacheLayerMixin):
    """One layer's keys and values, [B, H, capacity, D]. Columns [0, length) are in use."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.put([key_states[:, :, :0]], [value_states[:, :, :0]], 0)

    def put(self, keys: Sequence[torch.Tensor], values: Sequence[torch.Tensor], width: int, wanted: int = 0) -> None:
        """Make these parts [B_i, H, T_i, D] the rows, with their last columns at `width` - 1."""
        self.keys, self.values, self.length = _room(keys, width, wanted), _room(values, width, wanted), width
        self.dtype, self.device = self.keys.dtype, self.keys.device
        self.is_initialized = True

    def used(self, rows: slice | torch.Tensor = slice(None), newest: int | None = None) -> tuple[torch.Tensor, ...]:
        """Return the keys and values of some rows: the `newest` columns. None means all columns in use."""
        assert self.keys is not None
        assert self.values is not None
        columns = slice(0 if newest is None else self.length - newest, self.length)
        return self.keys[rows, :, columns], self.values[rows, :, columns]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append columns to every row. Return views of all columns in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        begin, end = self.length, self.length + key_states.shape[2]
        self._reach(end)
        self.keys[:, :, begin:end] = key_states
        self.values[:, :, begin:end] = value_states
        return self.keys[:, :, :end], self.values[:, :, :end]

    def extend(self) -> Column:
        """Append a column to every row. The caller fills it."""
        begin = self.length
        self._reach(begin + 1)
        keys, values = self.keys, self.values
        assert keys is not None
        assert values is not None
        used = (keys.narrow(2, 0, begin + 1), values.narrow(2, 0, begin + 1))
        return Column(keys.select(2, begin), values.select(2, begin), *used)

    def _reach(self, end: int) -> None:
        """Have columns [0, `end`) in use."""
        assert self.keys is not None
        if end > self.keys.shape[2]:
            # Half as much again: growing stays linear in the length of the answer.
            keys, values = self.used()
            self.put([keys], [values], self.length, end + end // 2)
        self.length = end

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1


class RowCache(Cache):
    """A transformers cache whose changes of rows act on all layers."""

    layers: list[_RowLayer]  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_RowLayer)

    @property
    def width(self) -> int:
        """How many columns are in use, padding included."""
        return self.layers[0].length if self.layers else 0

    def keep(self, rows: Sequence[int], width: int) -> None:
        """Keep the rows of these indices, in this order, and the newest `width` columns. An index may come twice."""
        rows_B = torch.tensor(rows, device=self.layers[0].device)
        for layer in self.layers:
            keys, values = layer.used(rows_B.to(layer.device), width)
            layer.put([keys], [values], width)

    def merge(self, other: RowCache, order: Sequence[tuple[bool, slice]]) -> None:
        """Take in the rows of `other`, from the same model. The narrower side is padded on the left.

        Args:
            other: the cache of the other rows.
            order: the new order, as slices of rows. True marks a slice of `other`.
        """
        width = max(self.width, other.width)
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            parts = [(theirs if from_other else mine).used(rows) for from_other, rows in order]
            mine.put([keys for keys, _ in parts], [values for _, values in parts], width)

    def crop(self, max_length: int) -> None:
        """Forget the columns from `max_length` on, in every layer that has them."""
        for layer in self.layers:
            layer.length = min(layer.length, max_length)

    def load(self, rows: Sequence[torch.Tensor], width: int) -> None:
        """Fill an empty cache with each row's keys and values, [2 * layers, H, T_i, D] as `read` returns them."""
        for index in range(0, rows[0].shape[0], 2):
            layer = _RowLayer()
            layer.put([row[None, index] for row in rows], [row[None, index + 1] for row in rows], width)
            self.layers.append(layer)

    def read(self, row: int, begin: int, end: int) -> torch.Tensor:
        """Copy columns [begin, end) of a row: keys and values of all layers, [2 * layers, H, T, D]."""
        return torch.stack([part[0, :, begin:end] for layer in self.layers for part in layer.used(slice(row, row + 1))])

    @cached_property
    def uniform(self) -> bool:
        """Whether all layers are alike and on one device, so that `read` can stack them."""
        kinds = {(layer.device, part.shape[1:], part.dtype) for layer in self.layers for part in layer.used()}
        return len(kinds) == 1


def _room(parts: Sequence[torch.Tensor], width: int, wanted: int = 0) -> torch.Tensor:
    """Stack [B_i, H, T_i, D] parts into one zeroed buffer with headroom, with last columns at `width` - 1."""
    _, heads, _, size = parts[0].shape
    rows = sum(part.shape[0] for part in parts)
    buffer = parts[0].new_zeros(rows, heads, max(wanted, width + HEADROOM), size)
    row = 0
    for part in parts:
        buffer[row : row + part.shape[0], :, width - part.shape[2] : width] = part
        row += part.shape[0]
    return buffer
