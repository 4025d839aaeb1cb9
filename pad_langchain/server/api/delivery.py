"""`deliver`: a request becomes a turn, and the turn an answer in the form of its API, whole or as a stream of events.

ChatRequest → `Chat.submit` → Turn → Delta → `Answer` → HTTP
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, aclosing
from functools import partial
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pad_langchain.chat import CallOptions, Delta, Turn
from pad_langchain.server.api.openai import ChatRequest, conversation, options_of
from pad_langchain.server.errors import ApiError, translate
from pad_langchain.server.identity import Caller, memory_user, who
from pad_langchain.server.metrics import AnswerClock
from pad_langchain.server.service import Service, service_of, while_connected
from pad_langchain.server.tracing import note_first_token

__all__ = ["Answer", "deliver", "event"]

logger = logging.getLogger(__name__)


class Answer(Protocol):
    """One answer on its way to the client, in the objects of one API."""

    id: str  # names the answer, in feedback too
    end: bytes  # after the last event of a stream that is whole

    async def whole(self, turn: Turn) -> tuple[dict[str, Any], Delta]:
        """Wait for the turn's end; return the object that is the whole answer, and a delta with the usage."""
        ...

    def begin(self) -> Iterable[dict[str, Any]]:
        """Return the events before the first delta."""
        ...

    def events(self, delta: Delta) -> Iterable[dict[str, Any]]:
        """Return the events that a delta adds, and with the last one those that end the stream."""
        ...

    def failure(self, error: ApiError) -> dict[str, Any]:
        """Return the event that ends a stream which failed after it began."""
        ...


async def deliver(request: Request, body: ChatRequest, answer_of: Callable[[Service, str | None], Answer]) -> Response:
    """Answer a request.

    Args:
        request: the HTTP request.
        body: what it asks for.
        answer_of: makes the answer to fill, of the service and the user as the client knows them.

    Raises:
        ApiError: the model is not here, another user is named than may be, or a field asks for what cannot be.
        InvalidRequestError: so does a value.
        EngineBusyError: there is no room.
        ClientDisconnect: the client left first.
    """
    service = service_of(request)
    clock = service.metrics.answer()
    answer, submit = _read(service, body, request, answer_of)
    with ExitStack() as admitted:
        admitted.enter_context(service.admitted())
        turn = await while_connected(request, service.begin(submit, request.state.body_bytes))
        if not body.stream:
            whole, last = await while_connected(request, answer.whole(turn))
            service.count(last)
            return JSONResponse(whole)
        deltas = _timed(service, clock, turn)
        first = await while_connected(request, anext(deltas))  # what fails until then has a status of its own
        note_first_token(clock.first)
        return _Events(_lines(answer, first, deltas), deltas, admitted.pop_all())


def event(data: Mapping[str, Any]) -> bytes:
    """Return an object as one event of a stream; its `type`, if it has one, is the event's name."""
    name = b"event: %b\n" % data["type"].encode() if "type" in data else b""
    return name + b"data: " + json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _read(
    service: Service, body: ChatRequest, request: Request, answer_of: Callable[[Service, str | None], Answer]
) -> tuple[Answer, partial[Turn]]:
    """What is asked for: the answer to fill, and what begins it."""
    settings = service.settings
    caller: Caller = request.state.caller
    user = who(caller, request.headers, body.user)
    service.check_model(body.model)
    said = options_of(body, settings)
    messages = conversation(body.messages)
    task = settings.task_header is not None and bool(request.headers.get(settings.task_header, "").strip())
    if task:
        said["private"] = True  # neither steered nor kept
    thread = body.pad.thread_id if body.pad is not None else None
    if thread is None and settings.thread_header is not None:
        thread = request.headers.get(settings.thread_header) or None
    known_as = None if user is None else memory_user(caller.tenant, user)
    options = CallOptions(user_id=known_as, thread_id=thread, **said)
    answer = answer_of(service, None if options.private is True else user)
    submit = partial(service.chat.submit, messages, options, response_id=answer.id, salt=caller.tenant)
    return answer, submit


async def _timed(service: Service, clock: AnswerClock, turn: Turn) -> AsyncGenerator[Delta]:
    """The deltas of a stream, for the metrics."""
    async with aclosing(aiter(turn)) as deltas:  # type: ignore[type-var]
        async for delta in deltas:
            clock.token()
            service.count(delta)
            yield delta


async def _lines(answer: Answer, first: Delta, deltas: AsyncIterator[Delta]) -> AsyncGenerator[bytes]:
    """The lines of a stream. One that fails ends with its error, and without what would call it whole."""
    try:
        for each in (*answer.begin(), *answer.events(first)):
            yield event(each)
        async for delta in deltas:
            for each in answer.events(delta):
                yield event(each)
    except Exception as error:
        told = translate(error)
        logger.log(logging.ERROR if told.status == 500 else logging.WARNING, "A stream ended early: %s", told.code)
        yield event(answer.failure(told))
        return
    if answer.end:
        yield answer.end


class _Events(StreamingResponse):
    """A stream of events. However it ends, the answer is stopped and its place is free.

    Args:
        events: the lines.
        deltas: what they are made of.
        place: counts the request while it runs.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], deltas: AsyncGenerator[Delta], place: ExitStack) -> None:
        super().__init__(events, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        self._events, self._deltas, self._place = events, deltas, place

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with self._place:
                await self._events.aclose()
                await self._deltas.aclose()
