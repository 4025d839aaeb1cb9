"""Keys and values of sequences that ended, kept for whoever begins with the same tokens: later turns and other users.

They lie outside of llama.cpp's context: there every token that is held makes every step slower.
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
    """A bounded store of sequences' states; the least recently used go first. Thread-safe.

    Args:
        budget: tokens it may hold; 0 keeps nothing.
    """

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._states: OrderedDict[_Key, tuple[np.ndarray, np.ndarray]] = OrderedDict()  # (tokens [T], state)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Tokens held."""
        with self._lock:
            return self._held()

    def find(self, tokens: np.ndarray, salt: str) -> tuple[int, np.ndarray | None]:
        """The state that begins with most of these tokens [T], and with how many; None: there is none."""
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
        """Whether a sequence of these tokens would be something new."""
        if not SHORTEST <= len(tokens) <= self.budget:
            return False
        new_T = np.asarray(tokens, dtype=np.int32)
        with self._lock:
            return not any(
                key[0] == salt and common(new_T, held_T) == len(new_T) for key, (held_T, _) in self._states.items()
            )

    def add(self, tokens: Sequence[int], salt: str, state: np.ndarray) -> None:
        """Keep the state of a sequence; it takes the place of those that are a beginning of it."""
        new_T = np.asarray(tokens, dtype=np.int32)
        with self._lock:
            for key, (held_T, _) in list(self._states.items()):
                if key[0] == salt and common(new_T, held_T) == len(held_T):
                    del self._states[key]
            self._states[salt, new_T.tobytes()] = new_T, state
            while self._held() > self.budget:
                self._states.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._states.clear()

    def _held(self) -> int:
        return sum(len(held_T) for held_T, _ in self._states.values())


def common(first_T: np.ndarray, second_T: np.ndarray) -> int:
    """With how many equal tokens two sequences begin."""
    length = min(len(first_T), len(second_T))
    differ = first_T[:length] != second_T[:length]
    place = int(differ.argmax()) if length else 0
    return place if length and differ[place] else length
