"""`Metrics`: what a server counts, for Prometheus. Figures only: no user, no text."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

__all__ = ["AnswerClock", "Metrics"]

# Seconds. From a small model on a GPU to a long prompt on a CPU.
_FIRST = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_QUEUED = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_BETWEEN = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
_MEMORY = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5)


class Metrics:
    """What one server counts. It has a registry of its own, so that several servers may share a process."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = own = CollectorRegistry()
        self._running = Gauge("pad_requests_running", "Requests that are decoded now.", registry=own)
        self._waiting = Gauge("pad_requests_waiting", "Requests that wait for a place in the batch.", registry=own)
        self._read = Counter("pad_prompt_tokens", "Tokens of prompts.", registry=own)
        self._written = Counter("pad_completion_tokens", "Tokens of answers.", registry=own)
        self._first = Histogram(
            "pad_time_to_first_token_seconds", "From the request to its first token.", buckets=_FIRST, registry=own
        )
        self._between = Histogram(
            "pad_time_between_tokens_seconds",
            "From one token of an answer to the next.",
            buckets=_BETWEEN,
            registry=own,
        )
        self._queued = Histogram(
            "pad_queue_wait_seconds",
            "From the end of reading a prompt to its place in the batch.",
            buckets=_QUEUED,
            registry=own,
        )
        self._refused = Counter("pad_refused", "Requests answered by an error.", ["code"], registry=own)
        self._feedback = Counter("pad_feedback", "Feedback that was recorded.", ["kind"], registry=own)
        self._memory = Histogram(
            "pad_memory_seconds", "Time in the preference memory.", ["operation"], buckets=_MEMORY, registry=own
        )

    def watch(self, *, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        """Ask these, at each `render`, how many requests run and wait."""
        self._running.set_function(running)
        self._waiting.set_function(waiting)

    def answer(self) -> AnswerClock:
        """Begin to time an answer: now its request has come."""
        return AnswerClock(self._first.observe, self._between.observe)

    def queued(self, seconds: float) -> None:
        """Count how long a request waited for its place in the batch."""
        self._queued.observe(seconds)

    def tokens(self, prompt: int, completion: int) -> None:
        """Count an answer's tokens."""
        self._read.inc(prompt)
        self._written.inc(completion)

    def refused(self, code: str) -> None:
        """Count an answer that is an error, by its code."""
        self._refused.labels(code).inc()

    def feedback(self, kind: str) -> None:
        """Count feedback, by its kind."""
        self._feedback.labels(kind).inc()

    @contextmanager
    def memory(self, operation: str) -> Iterator[None]:
        """Time what the preference memory does, by a name such as "record"; what fails counts as well."""
        with self._memory.labels(operation).time():
            yield

    def render(self) -> bytes:
        """Return everything in Prometheus' text format; its media type is `content_type`."""
        return generate_latest(self._registry)


class AnswerClock:
    """Times the tokens of one answer.

    Args:
        first: gets the seconds from now to the first token.
        between: gets the seconds from each token to the next.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        first: Callable[[float], None],
        between: Callable[[float], None],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._observe, self._between, self._clock = first, between, clock
        self._last = clock()
        self.first = math.nan  # seconds to the first token, once it has come

    def token(self) -> None:
        """Say that a token has come."""
        now = self._clock()
        passed = now - self._last
        self._observe(passed)
        if math.isnan(self.first):
            self.first = passed
        self._observe, self._last = self._between, now
