"""A KV cache whose rows come and go: preallocated buffers that grow, drop rows, trim their left edge and merge.

Rows are left-padded to one width, so the newest token of every row is in the last column. Padding is zero, never
garbage: an attention weight of zero times NaN would still be NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

__all__ = ["RowCache"]

HEADROOM = 64  # columns allocated beyond what is needed, so that a step writes in place


class _RowLayer(CacheLayerMixin):
    """One layer's keys and values, [B, H, capacity, D]; columns [0, length) are in use."""

    is_sliding = False

    def __init__(self) -> None:
        super().__init__()
        self.length = 0

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys = _room([key_states[:, :, :0]], 0)
        self.values = _room([value_states[:, :, :0]], 0)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append columns to every row; returns views of all columns in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None
        assert self.values is not None
        end = self.length + key_states.shape[2]
        if end > self.keys.shape[2]:
            # Half as much again: growing stays linear in the length of the answer.
            wanted = end + end // 2
            self.keys = _room([self.keys[:, :, : self.length]], self.length, wanted)
            self.values = _room([self.values[:, :, : self.length]], self.length, wanted)
        self.keys[:, :, self.length : end] = key_states
        self.values[:, :, self.length : end] = value_states
        self.length = end
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return -1

    def keep(self, rows: torch.Tensor, width: int) -> None:
        """Keep these rows and the newest `width` columns."""
        assert self.keys is not None
        assert self.values is not None
        columns = slice(self.length - width, self.length)
        self.keys = _room([self.keys[:, :, columns].index_select(0, rows)], width)
        self.values = _room([self.values[:, :, columns].index_select(0, rows)], width)
        self.length = width

    def merge(self, other: _RowLayer) -> None:
        """Append another layer's rows below these; the shorter side is padded on the left."""
        assert self.keys is not None
        assert self.values is not None
        assert other.keys is not None
        assert other.values is not None
        width = max(self.length, other.length)
        self.keys = _room([self.keys[:, :, : self.length], other.keys[:, :, : other.length]], width)
        self.values = _room([self.values[:, :, : self.length], other.values[:, :, : other.length]], width)
        self.length = width


class RowCache(Cache):
    """A transformers cache of `_RowLayer`s; `keep` and `merge` act on all layers."""

    layers: list[_RowLayer]  # type: ignore[assignment]

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=_RowLayer)

    @property
    def width(self) -> int:
        """Columns in use, padding included."""
        return self.layers[0].length

    def keep(self, rows: Sequence[int], width: int) -> None:
        """Keep the rows of these indices, in this order, and the newest `width` columns."""
        rows_B = torch.tensor(rows, device=self.layers[0].device)
        for layer in self.layers:
            layer.keep(rows_B, width)

    def merge(self, other: RowCache) -> None:
        """Append the rows of `other`, which must come from the same model."""
        for layer, more in zip(self.layers, other.layers, strict=True):
            layer.merge(more)


def _room(parts: Sequence[torch.Tensor], width: int, wanted: int = 0) -> torch.Tensor:
    """Stack [B_i, H, T_i, D] parts into one zeroed buffer with headroom, their last columns at `width` - 1."""
    _, heads, _, size = parts[0].shape
    rows = sum(part.shape[0] for part in parts)
    buffer = parts[0].new_zeros(rows, heads, max(wanted, width + HEADROOM), size)
    row = 0
    for part in parts:
        buffer[row : row + part.shape[0], :, width - part.shape[2] : width] = part
        row += part.shape[0]
    return buffer
