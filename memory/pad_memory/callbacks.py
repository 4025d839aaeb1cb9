"""Who wants to be told, without being kept alive for it."""

from __future__ import annotations

import inspect
import logging
import weakref
from collections.abc import Callable

__all__ = ["Callbacks"]

Callback = Callable[..., None]
logger = logging.getLogger(__name__)


class Callbacks:
    """Functions to call, in the order they came. A bound method is held weakly: it goes with its object.

    >>> told = []
    >>> callbacks = Callbacks()
    >>> callbacks.add(lambda: told.append("told"))
    >>> callbacks.call()
    >>> told
    ['told']
    """

    def __init__(self) -> None:
        self._found: tuple[Callable[[], Callback | None], ...] = ()  # each returns its callback, None where it is gone

    def add(self, callback: Callback) -> None:
        """Add a callback; one that is there already is not called twice."""
        alive = [find for find in self._found if find() is not None]
        if all(find() != callback for find in alive):
            alive.append(weakref.WeakMethod(callback) if inspect.ismethod(callback) else lambda: callback)
        self._found = tuple(alive)

    def call(self, *about: str) -> None:
        """Call all that are left with what they are told of. One that fails is logged, and the others are called."""
        for find in self._found:
            callback = find()
            if callback is None:
                continue
            try:
                callback(*about)
            except Exception:
                logger.exception("A callback failed: %r.", callback)
