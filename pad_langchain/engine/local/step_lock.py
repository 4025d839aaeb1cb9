"""A lock between the steps of a worker and whoever needs them to stop for a moment."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["StepLock"]

WAIT = 30.0  # seconds at most that somebody waits for a step


class StepLock:
    """Held by a worker in each step, or by who forks. Who forks comes first: a step begins only when nobody waits."""

    def __init__(self) -> None:
        self._gate, self._step = threading.Lock(), threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """A step of the worker."""
        with self._gate:
            pass
        with self._step:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    def hold(self) -> bool:
        """Let no step begin, and wait for the one that runs; False: it did not end, or it is what forks."""
        if self._owner == threading.get_ident() or not self._gate.acquire(timeout=WAIT):
            return False
        if self._step.acquire(timeout=WAIT):
            return True
        self._gate.release()
        return False

    def release(self) -> None:
        """Let steps begin again."""
        self._step.release()
        self._gate.release()
