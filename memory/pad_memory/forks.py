"""Fork: locks that are free in a child, and objects that a child leaves to its parent.

A forked child has a copy of everything but of the threads. What a thread held or would have answered stays held and
unanswered there for ever, and what the child releases or deletes is gone for the parent.
"""

from __future__ import annotations

import ctypes
import os
import threading
import weakref
from functools import cache
from typing import Protocol

__all__ = ["Forked", "FreshLock", "leave_alone", "tell"]


class Forked(Protocol):
    """What has to know that it is in a child now."""

    def forked(self) -> None: ...


class FreshLock:
    """A lock that is free in a forked child, whoever held it in the parent."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        tell(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *error: object) -> None:
        self._lock.release()

    def forked(self) -> None:
        """Start anew: its holder is not in this process."""
        self._lock = threading.Lock()


def tell(listener: Forked) -> None:
    """Call `listener.forked()` in every child that is forked while it lives, before anything else runs there."""
    _listeners().add(listener)


def leave_alone(kept: object) -> None:
    """Never run an object's destructor in this process, not even at its end."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


@cache
def _listeners() -> weakref.WeakSet[Forked]:
    found: weakref.WeakSet[Forked] = weakref.WeakSet()

    def call() -> None:
        for listener in list(found):
            listener.forked()

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=call)
    return found
