"""`RateLimit`: how many requests a key may send, as a bucket of tokens that fills at a steady rate."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["RateLimit"]


class RateLimit:
    """A bucket for each key. A request takes one token; where there is none, it is told how long one takes.

    Args:
        per_minute: tokens that a bucket gets in a minute. None: every request passes.
        burst: tokens that a bucket holds.
        clock: seconds that never go back.
    """

    def __init__(self, per_minute: float | None, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = None if per_minute is None else per_minute / 60
        self._burst, self._clock = burst, clock
        self._buckets: dict[str, tuple[float, float]] = {}  # tokens, and when there were so many

    def take(self, key: str) -> float:
        """Take a token of a key's bucket.

        Returns:
            0.0 where there was one, else the seconds until there is; nothing is taken then.
        """
        if self._per_second is None:
            return 0.0
        now = self._clock()
        tokens, since = self._buckets.get(key, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - since) * self._per_second)
        wait = 0.0 if tokens >= 1 else (1 - tokens) / self._per_second
        self._buckets[key] = (tokens if wait else tokens - 1, now)
        return wait
