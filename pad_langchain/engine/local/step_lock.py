"""A lock between the steps of a worker and a thread that forks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["StepLock"]

WAIT = 30.0  # seconds to wait for a step at most


class StepLock:
    """Held by a worker during each step, or by a thread that forks. A step begins only if no fork waits."""

    def __init__(self) -> None:
        self._gate, self._step = threading.Lock(), threading.Lock()
        self._owner: int | None = None

    @contextmanager
    def step(self) -> Iterator[None]:
        """Hold the lock for a step of the worker."""
        with self._gate:
            pass
        with self._step:
            self._owner = threading.get_ident()
            try:
                yield
            finally:
                self._owner = None

    def hold(self) -> bool:
        """Let no step begin, and wait for the running one. Return False if it did not end, or is what forks."""
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
