"""Keys and values of ended sequences, kept for later turns and other users who begin with the same tokens.

They lie outside of llama.cpp's context, where every token that is held makes every step slower.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

__all__ = ["SHORTEST", "KeptSequences", "common"]

SHORTEST = 16  # tokens; fewer are not worth it
WORTH = 8  # a state is copied as a whole, so it may be so many times as long as what is wanted of it
_Key = tuple[str, bytes]  # the salt, and the tokens


class KeptSequences:
    """A limited store of sequences' states. The least recently used is dropped first. Thread-safe.

    Args:
        budget: tokens it may hold, 0 or more. 0 keeps nothing.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._states: OrderedDict[_Key, tuple[np.ndarray, np.ndarray]] = OrderedDict()  # (tokens [T], state)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """How many tokens it holds."""
        with self._lock:
            return self._held()

    def find(self, tokens: np.ndarray, salt: str) -> tuple[int, np.ndarray | None]:
        """Find the state of this salt that shares the longest beginning with these tokens [T].

        Returns:
            how many tokens they share, and the state. None means there is no such state.
        """
        with self._lock:
            best, key = 0, None
            for name, (held_T, _) in self._states.items():
                if name[0] == salt and (length := common(tokens, held_T)) > best and WORTH * length >= len(held_T):
                    best, key = length, name
            if key is None or best < SHORTEST:
                return 0, None
            self._states.move_to_end(key)
            return best, self._states[key][1]

    def wants(self, tokens: Sequence[int], salt: str) -> bool:
        """Whether a state of these tokens is worth keeping: long enough, within the budget, and no part of another."""
        if not SHORTEST <= len(tokens) <= self.budget:
            return False
        new_T = np.asarray(tokens, dtype=np.int32)
        with self._lock:
            return not any(
                key[0] == salt and common(new_T, held_T) == len(new_T) for key, (held_T, _) in self._states.items()
            )

    def add(self, tokens: Sequence[int], salt: str, state: np.ndarray) -> None:
        """Keep the state of a sequence. It replaces states of its beginnings."""
        new_T = np.asarray(tokens, dtype=np.int32)
        with self._lock:
            for key, (held_T, _) in list(self._states.items()):
                if key[0] == salt and common(new_T, held_T) == len(held_T):
                    del self._states[key]
            self._states[salt, new_T.tobytes()] = new_T, state
            while self._held() > self.budget:
                self._states.popitem(last=False)

    def clear(self) -> None:
        """Forget all states."""
        with self._lock:
            self._states.clear()

    def _held(self) -> int:
        return sum(len(held_T) for held_T, _ in self._states.values())


def common(first_T: np.ndarray, second_T: np.ndarray) -> int:
    """Return with how many equal tokens two sequences begin."""
    length = min(len(first_T), len(second_T))
    differ = first_T[:length] != second_T[:length]
    place = int(differ.argmax()) if length else 0
    return place if length and differ[place] else length
