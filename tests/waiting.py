"""Waiting for a condition, at most for as long as a busy machine may take; and the beat of an event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

PATIENCE = 60.0  # seconds
_PAUSE = 0.002  # seconds between two looks


def until(condition: Callable[[], Any], patience: float = PATIENCE) -> None:
    """Return as soon as `condition()` is true; fail after so many seconds."""
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(_PAUSE)


async def auntil(condition: Callable[[], Any]) -> None:
    """`until` that lets the event loop go on."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        await asyncio.sleep(_PAUSE)


def settled(read: Callable[[], int], times: int = 100) -> int:
    """What `read()` returns once it has been the same so many times in a row."""
    seen = [read()]

    def same() -> bool:
        seen.append(read())
        return len(seen) > times and len(set(seen[-times:])) == 1

    until(same)
    return seen[-1]


class Heartbeat:
    """Within it, the running event loop is asked to beat every few milliseconds.

    Attributes:
        late: seconds that each beat came too late.
        busy: seconds of CPU that the loop's thread used between beats.
    """

    def __init__(self, every: float = 0.005) -> None:
        self.late: list[float] = []
        self.busy: list[float] = []
        self._every = every

    async def __aenter__(self) -> Heartbeat:
        self._next()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._handle.cancel()

    def _next(self) -> None:
        self._began, self._used = time.perf_counter(), time.thread_time()
        self._handle = asyncio.get_running_loop().call_later(self._every, self._beat)

    def _beat(self) -> None:
        self.late.append(time.perf_counter() - self._began - self._every)
        self.busy.append(time.thread_time() - self._used)
        self._next()
