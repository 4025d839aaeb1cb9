"""A KV cache whose rows grow at different paces, with room beyond each row for tokens that are only tried out.

Row i's tokens are in columns [0, length_i). The next forward overwrites what lies beyond its row's length. So a trie of
possible continuations is run in one forward and then dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from pad_langchain.models.kv.prefixes import Root

if TYPE_CHECKING:
    from pad_langchain.models.backbone import Backbone

__all__ = ["Branches", "SlotRows"]

HEADROOM = 64


@dataclass
class Branches:
    """New tokens of one row: first those that stay, then a tree of those that are tried out.

    Args:
        tokens: all new token ids.
        kept: how many of them stay. The last of these, or of the row so far, is the root of the tree.
        parents: per token of the tree its parent's index in `tokens`, or -1 for the root.
    """

    tokens: list[int]
    kept: int
    parents: list[int] = field(default_factory=list)


class _SlotLayer(CacheLayerMixin):
    """One layer's keys and values, [B, H, capacity, D]."""

    is_sliding = False
    keys: torch.Tensor
    values: torch.Tensor

    def __init__(self, rows: SlotRows) -> None:
        super().__init__()
        self.rows = rows

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write each row's new columns at its own place. Return views of all columns in use."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        columns_BT = self.rows.columns_BT.to(key_states.device)
        width = self.rows.width
        self.keys, self.values = _room(self.keys, width), _room(self.values, width)
        rows_B1 = torch.arange(len(columns_BT), device=key_states.device)[:, None]
        self.keys[rows_B1, :, columns_BT] = key_states.transpose(1, 2)
        self.values[rows_B1, :, columns_BT] = value_states.transpose(1, 2)
        return self.keys[:, :, :width], self.values[:, :, :width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.rows.width, 0

    def get_seq_length(self) -> int:
        return max(self.rows.lengths, default=0)

    def get_max_length(self) -> int:
        return -1


class SlotRows:
    """Rows on one backbone. In one forward each appends its own number of tokens and tries out others.

    Args:
        backbone: the model that runs the rows.
        salts: a salt per row. Rows of one salt share kept prefixes.
    """

    def __init__(self, backbone: Backbone, salts: Sequence[str | None]) -> None:
        self.backbone, self.salts, self.lengths = backbone, list(salts), [0] * len(salts)
        config = backbone.model.config.get_text_config()
        self.layers = [_SlotLayer(self) for _ in range(config.num_hidden_layers)]
        self.last_position = (backbone.context or 2**31) - 1
        self.width = 0
        self.columns_BT = torch.zeros(0, 0, dtype=torch.long)

    def run(self, new: Sequence[Branches]) -> torch.Tensor:
        """Run every row's new tokens, at least one in all. Return hidden states [B, T, D], T of the longest row."""
        device, times = self.backbone.device, max(len(branches.tokens) for branches in new)
        self.width = max(length + times for length in self.lengths)
        lengths_B1 = torch.tensor(self.lengths, device=device)[:, None]
        self.columns_BT = lengths_B1 + torch.arange(times, device=device)
        ids_BT = torch.tensor([one.tokens + [0] * (times - len(one.tokens)) for one in new], device=device)
        depths = [_depths(one) for one in new]
        positions_BT = lengths_B1 + torch.tensor([row + [0] * (times - len(row)) for row in depths], device=device)
        hidden_BTD = self.backbone.decoder(
            input_ids=ids_BT,
            attention_mask=self._mask(new, times),
            position_ids=positions_BT.clamp_max(self.last_position),
            past_key_values=Cache(layers=list(self.layers)),
            use_cache=True,
        ).last_hidden_state
        self.backbone.tally.forwards += 1
        self.lengths = [length + one.kept for length, one in zip(self.lengths, new, strict=True)]
        return hidden_BTD

    def load(self, prompts: Sequence[Sequence[int]]) -> None:
        """Fill empty rows with what the prefix store knows of their prompts. `lengths` has its tokens per row."""
        store = self.backbone.prefixes
        known = [store.find(prompt, Root(salt=salt)) for prompt, salt in zip(prompts, self.salts, strict=True)]
        self.lengths = [sum(block.shape[2] for block in blocks) for blocks in known]
        for row, blocks in enumerate(known):
            if not blocks:
                continue
            parts = torch.cat(blocks, dim=2)  # [2 * layers, H, T, D]
            for layer, keys, values in zip(self.layers, parts[::2], parts[1::2], strict=True):
                if not layer.is_initialized:
                    empty = keys.new_zeros(len(prompts), keys.shape[0], max(self.lengths), keys.shape[2])
                    layer.lazy_initialization(empty, empty)
                    layer.keys, layer.values = empty, empty.clone()
                layer.keys[row, :, : self.lengths[row]] = keys
                layer.values[row, :, : self.lengths[row]] = values

    def remember(self, row: int, tokens: Sequence[int]) -> None:
        """Keep a row's KV for later prompts that begin alike. Its first columns hold these tokens."""
        self.backbone.prefixes.add(tokens, self, row, 0, Root(salt=self.salts[row]))

    def read(self, row: int, begin: int, end: int) -> torch.Tensor:
        """Copy columns [begin, end) of a row: keys and values of all layers, [2 * layers, H, T, D]."""
        return torch.stack([part[row, :, begin:end] for layer in self.layers for part in (layer.keys, layer.values)])

    @property
    def uniform(self) -> bool:
        """Whether all layers are alike and on one device, so that `read` can stack them."""
        parts = [part for layer in self.layers for part in (layer.keys, layer.values)]
        return len({(part.device, part.dtype, part.shape) for part in parts}) == 1

    def left(self, row: int) -> int:
        """Return how many tokens the model's context has room for after those of a row."""
        return self.last_position + 1 - self.lengths[row]

    def merge(self, other: SlotRows) -> None:
        """Append another group's rows below these."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            capacity = max(mine.keys.shape[2], theirs.keys.shape[2])
            mine.keys = torch.cat([_room(layer.keys, capacity, exact=True) for layer in (mine, theirs)])
            mine.values = torch.cat([_room(layer.values, capacity, exact=True) for layer in (mine, theirs)])
        self.lengths += other.lengths
        self.salts += other.salts

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the rows of these indices, in this order."""
        self.lengths = [self.lengths[row] for row in rows]
        self.salts = [self.salts[row] for row in rows]
        for layer in self.layers:
            rows_B = torch.tensor(rows, device=layer.device)
            capacity = max(self.lengths) + HEADROOM
            layer.keys = layer.keys[rows_B, :, :capacity]
            layer.values = layer.values[rows_B, :, :capacity]

    def _mask(self, new: Sequence[Branches], times: int) -> torch.Tensor:
        """What every new token sees: its row so far and its ancestors. Additive, [B, 1, T, width]."""
        dtype, device = self.backbone.head_dtype, self.backbone.device
        seen = torch.zeros(len(new), times, self.width, dtype=torch.bool)
        for row, (one, length) in enumerate(zip(new, self.lengths, strict=True)):
            own_TT = torch.eye(times, dtype=torch.bool)
            own_TT[: one.kept, : one.kept] = torch.ones(one.kept, one.kept).tril().bool()
            own_TT[one.kept : len(one.tokens), : one.kept] = True
            for index, parent in enumerate(one.parents, one.kept):
                if parent >= 0:
                    own_TT[index] |= own_TT[parent]
            seen[row, :, :length] = True
            seen[row, :, length : length + times] = own_TT
        blocked = torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min)
        return blocked[:, None].to(device)


def _depths(branches: Branches) -> list[int]:
    """Each new token's distance from the row so far."""
    depths = list(range(branches.kept))
    for parent in branches.parents:
        depths.append(branches.kept if parent < 0 else depths[parent] + 1)
    return depths


def _room(buffer_BHTD: torch.Tensor, width: int, *, exact: bool = False) -> torch.Tensor:
    """The same buffer with at least `width` columns. New columns are zero."""
    missing = width - buffer_BHTD.shape[2]
    if missing <= 0:
        return buffer_BHTD
    return torch.nn.functional.pad(buffer_BHTD, (0, 0, 0, missing if exact else missing + HEADROOM + width // 2))
