"""What a caller holds: the stream of one request's events, and the result they add up to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pad_langchain.engine.types import FinishReason, Request, TokenEvent

__all__ = ["Completion", "Stream"]


@dataclass(frozen=True)
class Completion:
    """A finished generation.

    Args:
        text: the answer, without the stop string and the end-of-sequence token.
        token_ids: the tokens chosen, the end-of-sequence token included.
        events: the stream it was joined from.
        finish_reason: "stop", "length" or "cancelled".
        prompt_tokens, completion_tokens: token counts for the base model.
        mean_reward: mean of r over the tokens the guide was asked about, in nats per token. 0.0 without a condition.
            None where the engine is not told rewards.
        skipped: share of the tokens for which lazy guidance skipped the guide, 0 to 1.
    """

    text: str
    token_ids: tuple[int, ...]
    events: tuple[TokenEvent, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    completion_tokens: int
    mean_reward: float | None
    skipped: float = 0.0


class Stream:
    """The events of one request as they are made: iterate it, `async for` it, or wait for its `result()`.

    Several readers may read it, at once or later. Each sees every event. A reader that leaves before the end (a
    `break`, a cancelled task) cancels the request. A request that fails raises its error in every reader.

    Args:
        request: what was submitted.
        prompt_tokens: tokens of its prompt for the base.

    `notes` is what the engine did otherwise than it was asked to, for whoever reads the answer. It is whole at the end.
    """

    def __init__(self, request: Request, prompt_tokens: int) -> None:
        self.request = request
        self.prompt_tokens = prompt_tokens
        self.notes: dict[str, Any] = {}
        self._cancelled = False
        self._made, self._waited = time.perf_counter(), -1.0  # seconds in the queue; below 0 while it waits there
        self._on_begin: Callable[[float], object] | None = None
        self._events: list[TokenEvent] = []
        self._error: BaseException | None = None
        self._done = False
        self._changed = threading.Condition()
        self._finished = threading.Event()  # who wants the end only is not woken for every token
        self._wakers: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    @property
    def cancelled(self) -> bool:
        """Whether a reader or `cancel` has asked the engine to stop."""
        return self._cancelled

    @property
    def done(self) -> bool:
        """Whether the request has ended, well or with an error."""
        return self._done

    @property
    def events(self) -> tuple[TokenEvent, ...]:
        """The events so far."""
        with self._changed:
            return tuple(self._events)

    @property
    def error(self) -> BaseException | None:
        """What the request failed with. None means it runs or ended well."""
        return self._error

    def when_begun(self, call: Callable[[float], object]) -> None:
        """Call this with the seconds that the request waited in the queue, as soon as it joins the batch.

        Args:
            call: called once, in the engine's thread or in this one, and never where the request does not begin. It has
                to be quick, and may not raise. There is one for each stream.
        """
        with self._changed:
            if self._waited < 0:
                self._on_begin = call
                return
        call(self._waited)

    def cancel(self) -> None:
        """Ask the engine to stop. The row is free within two steps, with the finish_reason "cancelled"."""
        self._cancelled = True

    def result(self, timeout: float | None = None) -> Completion:
        """Wait for the end and join the events.

        Args:
            timeout: seconds to wait at most. None means no limit.

        Raises:
            TimeoutError: it did not end in time. The request goes on.
            PadError: the request failed.
        """
        if not self._finished.wait(timeout):
            raise TimeoutError(f"No result within {timeout} s; the request still runs. Wait longer or cancel() it.")
        if self._error is not None:
            raise self._error
        return self._join()

    def __iter__(self) -> Iterator[TokenEvent]:
        position = 0
        try:
            while True:
                with self._changed:
                    while not self._done and len(self._events) <= position:
                        self._changed.wait()
                    done, fresh = self._done, self._events[position:]
                yield from fresh
                position += len(fresh)
                if done:
                    break
        finally:
            self._leave()
        if self._error is not None:
            raise self._error

    async def __aiter__(self) -> AsyncIterator[TokenEvent]:
        waker = (asyncio.get_running_loop(), asyncio.Event())
        position = 0
        with self._changed:
            self._wakers.append(waker)
        try:
            while True:
                waker[1].clear()
                with self._changed:
                    done, fresh = self._done, self._events[position:]
                for event in fresh:
                    yield event
                position += len(fresh)
                if done:
                    break
                await waker[1].wait()
        finally:
            with self._changed:
                self._wakers.remove(waker)
            self._leave()
        if self._error is not None:
            raise self._error

    async def aresult(self) -> Completion:
        """Wait for the end in an event loop and join the events. A cancelled task cancels the request.

        Raises:
            PadError: the request failed.
        """
        async for _ in self:
            pass
        return self._join()

    def _leave(self) -> None:
        if not self._done:
            self.cancel()

    def _join(self) -> Completion:
        events = tuple(self._events)
        tokens = [event for event in events if event.token_id >= 0]
        rewards = [event.reward for event in tokens if event.reward is not None]
        skipped = sum(event.skipped for event in tokens)
        reason = events[-1].finish_reason
        assert reason is not None
        return Completion(
            text="".join(event.text for event in events),
            token_ids=tuple(event.token_id for event in tokens),
            events=events,
            finish_reason=reason,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=len(tokens),
            mean_reward=sum(rewards) / max(1, len(tokens) - skipped) if len(rewards) == len(tokens) else None,
            skipped=skipped / max(1, len(tokens)),
        )

    # The engine's side, called from its thread.

    def begin(self) -> None:
        """Say that the request has joined the batch. Saying it again changes nothing."""
        with self._changed:
            if self._waited >= 0:
                return
            self._waited, call = time.perf_counter() - self._made, self._on_begin
        if call is not None:
            call(self._waited)

    def put(self, event: TokenEvent) -> None:
        """Add an event. An event with a finish reason is the last."""
        self._change(event, None)

    def fail(self, error: BaseException) -> None:
        """End the stream with an error, which its readers raise."""
        self._change(None, error)

    def abandon(self, error: BaseException) -> None:
        """End the stream with an error in a forked child, whatever locks the parent's threads held."""
        self._changed, self._finished, self._wakers = threading.Condition(), threading.Event(), []
        self.fail(error)

    def _change(self, event: TokenEvent | None, error: BaseException | None) -> None:
        with self._changed:
            if self._done:
                return
            if event is not None:
                self._events.append(event)
            self._error = error
            self._done = error is not None or (event is not None and event.finish_reason is not None)
            self._changed.notify_all()
            if self._done:
                self._finished.set()
            for loop, wake in self._wakers:
                with contextlib.suppress(RuntimeError):  # the reader's event loop is closed
                    loop.call_soon_threadsafe(wake.set)
