"""`Turn`: one answer under way, as a stream of `Delta`s that every face translates.

TokenEvent → Turn → Delta(text, reasoning, calls, logprobs, finish, usage, pad)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing, closing
from contextvars import copy_context
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pad_langchain.chat.tools.answer_parser import AnswerParser, CallDelta, Piece
from pad_langchain.engine.types import FinishReason, TokenEvent
from pad_langchain.errors import EngineClosedError

if TYPE_CHECKING:
    from pad_langchain.engine.stream import Stream

__all__ = ["Delta", "Turn", "Usage", "begin"]


@dataclass(frozen=True)
class Usage:
    """Tokens of the base's prompt and of the answer."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """Both together."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Delta:
    """What became certain of an answer; `a + b` is what two that follow each other say together.

    Args:
        text: more of the answer.
        reasoning: more of what the model thought before it.
        calls: pieces of tool calls, one for each call that went on.
        logprobs: if asked for, one entry for each token since the last delta: `token`, `logprob`, `bytes` and
            `top_logprobs` as OpenAI has them, and `reward` (nats).
        finish: why the answer ended; None means it goes on. What follows comes with the last delta only.
        usage: tokens.
        pad: what steered: user, thread, condition, beta, top_k, response_id, mean_reward (nats per token; None where
            the engine is not told rewards), and what the engine did otherwise than asked (`Stream.notes`).
    """

    text: str = ""
    reasoning: str = ""
    calls: tuple[CallDelta, ...] = ()
    logprobs: tuple[Mapping[str, Any], ...] = ()
    finish: FinishReason | None = None
    usage: Usage | None = None
    pad: Mapping[str, Any] | None = None

    def __add__(self, later: Delta) -> Delta:
        return Delta(
            self.text + later.text,
            self.reasoning + later.reasoning,
            _one_piece_each((*self.calls, *later.calls)),
            (*self.logprobs, *later.logprobs),
            later.finish,
            later.usage,
            later.pad,
        )


class Turn:
    """One answer under way: iterate it, `async for` it, or take its whole `result()`; once, and in one of these ways.

    Leaving a loop early and cancelling a task that waits stop the generation.

    Args:
        stream: the engine's stream of this request.
        pad: what steered; the mean reward joins at the end.
        parser: splits the text into answer, reasoning and tool calls; None means all of it is the answer.
        token_text: token id → its text, for `Delta.logprobs`; None means they were not asked for.
        answered: called with the answer's text when it ends.
    """

    def __init__(
        self,
        stream: Stream,
        pad: Mapping[str, Any],
        *,
        parser: AnswerParser | None = None,
        token_text: Callable[[int], str] | None = None,
        answered: Callable[[str], object] | None = None,
    ) -> None:
        self._stream, self._pad, self._parser = stream, pad, parser
        self._token_text, self._answered = token_text, answered
        self._text: list[str] = []
        self._tokens = 0
        self._reward: float | None = 0.0
        self._entries: list[Mapping[str, Any]] = []

    def when_begun(self, call: Callable[[float], object]) -> None:
        """Call this with the seconds that the request waited in the engine's queue; see `Stream.when_begun`."""
        self._stream.when_begun(call)

    def cancel(self) -> None:
        """Ask the engine to stop."""
        self._stream.cancel()

    def __iter__(self) -> Iterator[Delta]:
        with closing(iter(self._stream)) as events:  # type: ignore[type-var]  # leaving early cancels the request
            for event in events:
                if (delta := self._read(event)) is not None:
                    yield delta

    async def __aiter__(self) -> AsyncIterator[Delta]:
        async with aclosing(aiter(self._stream)) as events:  # type: ignore[type-var]
            async for event in events:
                if (delta := self._read(event)) is not None:
                    yield delta

    def result(self) -> Delta:
        """Wait for the end; return one delta: what those of the stream add up to."""
        try:
            events = self._stream.result().events
        except BaseException:  # such as a KeyboardInterrupt while waiting
            self.cancel()
            raise
        return self._whole(events)

    async def aresult(self) -> Delta:
        """`result()` for an event loop."""
        async with aclosing(aiter(self._stream)) as events:  # type: ignore[type-var]
            return self._whole([event async for event in events])

    def _read(self, event: TokenEvent) -> Delta | None:
        piece = self._piece(event)
        return self._delta([piece], event.finish_reason) if piece or event.finish_reason else None

    def _whole(self, events: Sequence[TokenEvent]) -> Delta:
        return self._delta([self._piece(event) for event in events], events[-1].finish_reason)

    def _piece(self, event: TokenEvent) -> Piece:
        if event.token_id >= 0:
            self._tokens += 1
            self._reward = None if self._reward is None or event.reward is None else self._reward + event.reward
            if self._token_text is not None:
                self._entries.append(_entry(event, self._token_text))
        if self._parser is None:
            piece = Piece(event.text)
        else:
            piece = self._parser.push(event.text)
            if event.finish_reason is not None:
                piece = piece + self._parser.finish()
        self._text.append(piece.text)
        return piece

    def _delta(self, pieces: Sequence[Piece], reason: FinishReason | None) -> Delta:
        entries, self._entries = tuple(self._entries), []
        delta = Delta(
            "".join(piece.text for piece in pieces),
            "".join(piece.reasoning for piece in pieces),
            _one_piece_each([call for piece in pieces for call in piece.calls]),
            entries,
        )
        if reason is None:
            return delta
        if self._answered is not None:
            self._answered("".join(self._text))
        mean = None if self._reward is None else self._reward / max(self._tokens, 1)
        called = reason == "stop" and self._parser is not None and self._parser.calls > 0
        return replace(
            delta,
            finish="tool_calls" if called else reason,
            usage=Usage(self._stream.prompt_tokens, self._tokens),
            pad={**self._pad, **self._stream.notes, "mean_reward": mean},
        )


async def begin(submit: Callable[[], Turn], executor: Executor | None = None) -> Turn:
    """Call `submit`, which blocks, in a thread; if the task that waits is cancelled, the turn is stopped.

    Args:
        submit: begins the turn. It is not called any more where the task is cancelled before a thread is free.
        executor: whose thread; None means the event loop's own.
    """
    abandoned = threading.Event()

    def unless_abandoned() -> Turn:
        if abandoned.is_set():
            raise EngineClosedError("Nobody waits for this turn any more.")
        return submit()

    submitting = asyncio.get_running_loop().run_in_executor(executor, copy_context().run, unless_abandoned)
    try:
        return await asyncio.shield(submitting)
    except asyncio.CancelledError:
        abandoned.set()
        submitting.add_done_callback(_cancel)
        raise


def _cancel(submitting: asyncio.Future[Turn]) -> None:
    if not submitting.cancelled() and submitting.exception() is None:
        submitting.result().cancel()


def _one_piece_each(calls: Sequence[CallDelta]) -> tuple[CallDelta, ...]:
    joined: dict[int, CallDelta] = {}
    for call in calls:
        seen = joined.get(call.index)
        joined[call.index] = call if seen is None else replace(seen, arguments=seen.arguments + call.arguments)
    return tuple(joined.values())


def _entry(event: TokenEvent, token_text: Callable[[int], str]) -> dict[str, Any]:
    return {
        **_token(token_text(event.token_id), event.logprob, event.reward),
        "top_logprobs": [_token(other.text, other.logprob, other.reward) for other in event.candidates],
    }


def _token(text: str, logprob: float, reward: float | None) -> dict[str, Any]:
    # A token that is part of a character has no text of its own; like OpenAI, say so by leaving the bytes out.
    data = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": logprob, "reward": reward, "bytes": data}
