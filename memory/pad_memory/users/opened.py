"""The one lock of a memory, and the store behind it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from pad_memory.errors import StoreClosedError, StoreForkedError
from pad_memory.store.answers import Answers
from pad_memory.store.shards import RepairReport, Store

__all__ = ["OpenStore"]

CLOSED = "This PreferenceMemory was closed. Open a new one on the same path."


class OpenStore:
    """A store that one thread uses at a time, until it is closed.

    Args:
        store: an open one, which is this object's from now on; or why there is none, which all calls then say.
    """

    def __init__(self, store: Store | str) -> None:
        self._lock, self._process = Lock(), os.getpid()
        self._store = None if isinstance(store, str) else store
        self._why = store if isinstance(store, str) else CLOSED

    def repair(self) -> RepairReport:
        """Look through the database and all vectors, and make those anew that cannot be read."""
        with self._held():
            return self._open.repair()

    @property
    def answers(self) -> Answers:
        """The answers that are kept for a while. They need no lock."""
        return self._open.answers

    def close(self) -> None:
        """Release the store. More calls to `close` do nothing; any other call raises StoreClosedError.

        In a forked child it does nothing either: the store is its parent's.
        """
        if self._process != os.getpid():
            return
        with self._held():
            if self._store is not None:
                self._store.close()
            self._store = None

    def check_open(self) -> None:
        """Raise StoreClosedError after `close`, and StoreForkedError in a forked child. It takes no lock."""
        if self._process != os.getpid():
            raise StoreForkedError(
                f"This memory was opened in process {self._process} before it forked this one, {os.getpid()}, "
                "and works only there: what was recorded here would be lost. Open the first one after the fork "
                "(gunicorn: in post_fork, or without preload_app), one process at a time for a folder; for more, "
                "use a Chroma server with url=."
            )
        if self._store is None:
            raise StoreClosedError(self._why)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock; in a forked child, where a thread of the parent may hold it for ever, raise instead."""
        if self._process != os.getpid():
            self.check_open()
        with self._lock:
            yield

    @property
    def _open(self) -> Store:
        self.check_open()
        assert self._store is not None
        return self._store
