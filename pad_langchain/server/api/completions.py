"""`POST /v1/chat/completions`: one answer for one user, whole or as a stream of events."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import ExitStack, aclosing
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from pad_langchain.chat import CallOptions, Delta, Turn
from pad_langchain.server.api.answers import DONE, Answer, event, new_id
from pad_langchain.server.api.openai import ChatRequest, conversation, options_of
from pad_langchain.server.errors import translate
from pad_langchain.server.identity import Caller, memory_user, who
from pad_langchain.server.metrics import AnswerClock
from pad_langchain.server.service import Service, service_of, while_connected
from pad_langchain.server.tracing import note_first_token

__all__ = ["router"]

logger = logging.getLogger(__name__)
router = APIRouter()


@router.post("/v1/chat/completions")
async def create_completion(body: ChatRequest, request: Request) -> Response:
    """Answer a conversation as OpenAI does."""
    service = service_of(request)
    clock = service.metrics.answer()
    answer, submit = _read(service, body, request)
    with ExitStack() as admitted:
        admitted.enter_context(service.admitted())
        turn = await while_connected(request, service.begin(submit))
        if not body.stream:
            whole = await while_connected(request, turn.aresult())
            service.count(whole)
            return JSONResponse(answer.whole(whole))
        deltas = _timed(service, clock, turn)
        first = await while_connected(request, anext(deltas))  # what fails until then has a status of its own
        note_first_token(clock.first)
        return _Events(_events(answer, first, deltas), deltas, admitted.pop_all())


def _read(service: Service, body: ChatRequest, request: Request) -> tuple[Answer, partial[Turn]]:
    """What is asked for: the answer to fill, and what begins it.

    Raises:
        ApiError: the model is not here, another user is named than may be, or a field asks for what cannot be.
        InvalidRequestError: so does a value.
    """
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
    answer = Answer(
        new_id(),
        service.model,
        None if options.private is True else user,
        logprobs=bool(options.logprobs),
        usage=body.includes_usage,
        ends=service.ends,
    )
    submit = partial(service.chat.submit, messages, options, response_id=answer.id, salt=caller.tenant)
    return answer, submit


async def _timed(service: Service, clock: AnswerClock, turn: Turn) -> AsyncGenerator[Delta]:
    """The deltas of a stream, for the metrics."""
    async with aclosing(aiter(turn)) as deltas:  # type: ignore[type-var]
        async for delta in deltas:
            clock.token()
            service.count(delta)
            yield delta


async def _events(answer: Answer, first: Delta, deltas: AsyncIterator[Delta]) -> AsyncGenerator[bytes]:
    """The lines of a stream. One that fails ends with its error, and without [DONE], which would call it whole."""
    try:
        yield event(answer.begin())
        for chunk in answer.chunks(first):
            yield event(chunk)
        async for delta in deltas:
            for chunk in answer.chunks(delta):
                yield event(chunk)
    except Exception as error:
        told = translate(error)
        logger.log(logging.ERROR if told.status == 500 else logging.WARNING, "A stream ended early: %s", told.code)
        yield event(told.body())
        return
    yield DONE


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
