"""Keys and values of prompt prefixes, kept for later turns and other users who begin with the same tokens.

A sequence is cut into blocks of a few tokens. A block is found by the block before it and its own tokens, so sequences
share their common beginning. The least recently used blocks are dropped first.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from pad_langchain.models.kv.row_cache import RowCache
    from pad_langchain.models.kv.slot_cache import SlotRows

__all__ = ["PrefixStore", "Root"]

BLOCK = 16  # tokens; fewer find more, but cost more look-ups


class Root(NamedTuple):
    """Whose keys and values these are. Only sequences of the same root share any.

    Args:
        adapter: the serial number of the adapter that acted on the row. 0 means the plain model.
        salt: the request's salt. None means nothing of it is kept.
    """

    adapter: int = 0
    salt: str | None = ""


_Key = tuple[int | Root, tuple[int, ...]]  # the serial number of the block before or the root, and the block's tokens
_PLAIN = Root()


class PrefixStore:
    """A limited store of key and value blocks for one model. Thread-safe.

    Args:
        budget: tokens it may hold, 0 or more. 0 keeps nothing.
    """

    def __init__(self, budget: int = 0) -> None:
        self.budget = budget
        self._blocks: OrderedDict[_Key, tuple[int, torch.Tensor]] = OrderedDict()
        self._serials = itertools.count(1)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.budget,)  # a copy has seen no prompts

    def __len__(self) -> int:
        """How many tokens it holds."""
        return len(self._blocks) * BLOCK

    def find(self, tokens: Sequence[int], root: Root = _PLAIN) -> list[torch.Tensor]:
        """Return the blocks of the longest known prefix that leaves a token to run, [2 * layers, H, BLOCK, D] each."""
        with self._lock:
            return [block for _, block in self._walk(tokens[: len(tokens) - 1], root)]

    def add(self, tokens: Sequence[int], cache: RowCache | SlotRows, row: int, first: int, root: Root = _PLAIN) -> None:
        """Keep the blocks of a row that has these tokens in its columns from `first` on."""
        if root.salt is None or len(tokens) < BLOCK or self.budget < BLOCK or not cache.uniform:
            return
        with self._lock:
            known = self._walk(tokens, root)
            whole = min(len(tokens), self.budget) // BLOCK
            if len(known) >= whole:
                return
            fresh = cache.read(row, first + len(known) * BLOCK, first + whole * BLOCK)
            before = known[-1][0] if known else root
            for index, block in enumerate(fresh.split(BLOCK, dim=2), len(known)):
                serial = next(self._serials)
                # A copy of its own, or one block would keep all of `fresh` alive.
                self._blocks[before, _tokens(tokens, index)] = (serial, block.clone())
                before = serial
            self._walk(tokens, root)
            while len(self) > self.budget:
                self._blocks.popitem(last=False)

    def clear(self) -> None:
        """Forget all blocks."""
        with self._lock:
            self._blocks.clear()

    def _walk(self, tokens: Sequence[int], root: Root) -> list[tuple[int, torch.Tensor]]:
        """The known blocks from the beginning on. The first count as used last, so that ends are dropped first."""
        found: list[tuple[int, torch.Tensor]] = []
        keys: list[_Key] = []
        before: int | Root = root
        for index in range(len(tokens) // BLOCK):
            key = (before, _tokens(tokens, index))
            entry = self._blocks.get(key)
            if entry is None:
                break
            keys.append(key)
            found.append(entry)
            before = entry[0]
        for key in reversed(keys):
            self._blocks.move_to_end(key)
        return found


def _tokens(tokens: Sequence[int], index: int) -> tuple[int, ...]:
    return tuple(tokens[index * BLOCK : (index + 1) * BLOCK])
