"""Engines in a forked child: what gunicorn's `preload_app` and multiprocessing's "fork" do to them.

A fork copies the memory and one thread. The child has no worker, and locks that other threads held stay held. Before
the fork, every worker stops between two steps and nobody tokenizes. The forking thread also frees its OpenMP helpers,
as GNU's OpenMP waits for ever for helpers that do not exist. In the child, all begin anew with the same weights.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from typing import Protocol

from pad_memory.openmp import dismiss_helpers

__all__ = ["survive_forks"]

logger = logging.getLogger(__name__)


class _Forked(Protocol):
    """An object that has to know of forks."""

    def hold(self) -> bool:
        """Before a fork, wait until nothing runs, and let nothing begin. Return False if it does not stop."""
        ...

    def let_go(self) -> None:
        """Let things run again, in the parent."""
        ...

    def begin_anew(self) -> None:
        """Begin anew in the child, whatever locks the parent's threads held."""
        ...


_all: weakref.WeakSet[_Forked] = weakref.WeakSet()
_held = threading.local()  # .things: what the thread that forks holds
_registered = False


def survive_forks(thing: _Forked) -> None:
    """Let an object stop when the process forks, and begin anew in the child. It is not kept alive by this."""
    global _registered
    _all.add(thing)
    if not _registered and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
        _registered = True


def _before() -> None:
    dismiss_helpers()
    _held.things = [thing for thing in list(_all) if thing.hold()]
    if len(_held.things) < len(_all):
        logger.warning("The process forks while a step runs that does not end; the child may not be able to answer")


def _in_parent() -> None:
    for thing in _held.things:
        thing.let_go()


def _in_child() -> None:
    for thing in list(_all):
        thing.begin_anew()
