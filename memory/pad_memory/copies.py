"""Copies of an open memory: in its process the memory itself, in another one what can be had there."""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Self
from weakref import WeakValueDictionary

from pad_memory.errors import PadMemoryError
from pad_memory.settings import Settings

__all__ = ["OpenOnce"]

# By process, because a forked one inherits the dict, and what is open belongs to its parent.
_pickled: WeakValueDictionary[tuple[int, str], OpenOnce] = WeakValueDictionary()

ELSEWHERE = (
    "This is a copy of a PreferenceMemory that another process has open. A memory in a folder belongs to one process "
    "and does not travel. Keep it on a Chroma server (url=), or open it in the process that uses it."
)


class OpenOnce(ABC):
    """`copy`, `deepcopy` and a pickle that comes back to its process give the same object.

    In another process, what is on a server is opened there; what is in a folder, or on a server that does not answer,
    is closed from the first, and its calls say why. Unpickling raises nothing: pools of processes would hang.
    """

    _given: Settings
    _ticket: str | None = None

    @abstractmethod
    def _set_up(self, path: str | Path | None = None, closed: str | None = None) -> None:
        """Open what `_given` and the path say; `closed` for this reason, open nothing."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        self._ticket = self._ticket or uuid.uuid4().hex
        _pickled[os.getpid(), self._ticket] = self
        return _found, (type(self), self._ticket), self._given

    def __setstate__(self, given: Settings) -> None:
        if vars(self):
            return  # it came back
        self._given, why = given, ELSEWHERE
        if given.url is not None:
            try:
                self._set_up()
                return
            except PadMemoryError as error:
                why = f"This copy of a PreferenceMemory could not be opened here: {error}"
        self._set_up(closed=why)


def _found(kind: type[OpenOnce], ticket: str) -> OpenOnce:
    """The object if it is of this process, else an empty one that waits for its state."""
    found = _pickled.get((os.getpid(), ticket))
    if found is None:
        found = _pickled[os.getpid(), ticket] = kind.__new__(kind)
    return found
