"""What users tell the server about its answers: feedback, its taking back, and two answers to choose from."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from pad_langchain.chat import CallOptions
from pad_langchain.chat.compare import both_sides
from pad_langchain.chat.messages import ChatDict
from pad_langchain.server.api.answers import new_id
from pad_langchain.server.api.openai import Message, conversation
from pad_langchain.server.api.replies import Comparison, FeedbackDeleted, FeedbackReply
from pad_langchain.server.errors import ApiError
from pad_langchain.server.service import Service, service_of, user_of, while_connected
from pad_memory import Feedback, Preference, PreferenceMemory
from pad_memory.events import SCHEMA_VERSION
from pad_memory.profile import Question

__all__ = ["router"]

router = APIRouter()

_STRICT = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
_TRIES = 3  # questions, until one has two answers that differ


class FeedbackRequest(BaseModel):
    """One thing a user tells, with the fields of its kind; see `pad_memory.events`."""

    model_config = _STRICT

    kind: Literal["thumb", "rating", "choice", "edit", "critique", "statement"]
    id: str | None = None
    thread: str | None = None
    metadata: dict[str, Any] | None = None
    user: Annotated[str | None, Field(exclude=True)] = None
    response_id: str | None = None
    prompt: str | None = None
    response: str | None = None
    up: bool | None = None
    rating: float | None = None
    chosen_id: str | None = None
    rejected_id: str | None = None
    chosen: str | None = None
    rejected: str | None = None
    tie: bool | None = None
    edited: str | None = None
    text: str | None = None
    consented: Annotated[bool, Field(exclude=True)] = False


class ComparisonRequest(BaseModel):
    """A conversation to be answered twice."""

    model_config = _STRICT

    messages: Annotated[list[Message], Field(min_length=1)]
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    thread_id: str | None = None
    user: str | None = None


@router.post("/v1/feedback", status_code=201, response_model=FeedbackReply, response_model_exclude_unset=True)
async def create_feedback(body: FeedbackRequest, request: Request) -> dict[str, Any]:
    """Record what a user says, and tell what was learned of it or why nothing was."""
    service = service_of(request)
    user = user_of(request, body.user)
    said = body.model_dump(exclude_none=True)
    recorded = await service.remember("record", _record, service.memory, user, said, body.consented)
    service.metrics.feedback(body.kind)
    return recorded


@router.delete("/v1/feedback/{id:path}", response_model=FeedbackDeleted)
async def delete_feedback(id: str, request: Request, erase: bool = False) -> dict[str, Any]:
    """Take an event back, or erase it."""
    service = service_of(request)
    user = user_of(request)
    await service.remember("forget" if erase else "retract", _remove, service.memory, user, id, erase)
    return {"object": "feedback.deleted", "id": id, "deleted": True, "erased": erase}


@router.post("/v1/comparisons", response_model=Comparison, response_model_exclude_unset=True)
async def create_comparison(body: ComparisonRequest, request: Request) -> dict[str, Any]:
    """Answer a conversation twice, under opposites of what is known least about the user."""
    service = service_of(request)
    user, messages = user_of(request, body.user), conversation(body.messages)
    questions = await service.remember("questions", service.memory.questions, user)
    options = CallOptions(user_id=user, thread_id=body.thread_id, max_tokens=body.max_completion_tokens)
    with service.admitted(rows=2):
        for question in questions[:_TRIES]:
            compare = _answer_twice(service, question, messages, options, request)
            first, second = await while_connected(request, compare)
            if first["text"].strip() and second["text"].strip() and first["text"] != second["text"]:
                asked = {"dimensions": list(question.dimensions), "why": question.why}
                return {"object": "comparison", "question": asked, "first": first, "second": second}
    reason = "no two answers differ" if questions else "what this user likes is known"
    return {"object": "comparison", "question": None, "first": None, "second": None, "reason": reason}


def _record(memory: PreferenceMemory, user: str, said: dict[str, Any], consented: bool) -> dict[str, Any]:
    event = Feedback.from_dict({"schema_version": SCHEMA_VERSION, **said})
    event_id = memory.record(user, event, consented=consented)
    profile = memory.profile(user)
    verdict = profile.refused.get(event_id)
    leaning = [item for item in profile.leanings if event_id in item.evidence]
    expired = [item.text for item in profile.expired_from(event_id)]
    return {
        "object": "feedback",
        "id": event_id,
        "learned": [_learned(item) for item in profile.learned_from(event_id)],
        "leaning": [_learned(item) for item in leaning],
        **({"expired": expired} if expired else {}),
        "held_back": None if verdict is None else verdict.to_dict(),
    }


def _learned(item: Preference) -> dict[str, Any]:
    """A preference, with what it has beside others: its time, and what it tells."""
    starts = item.valid_from if item.valid_from is not None and item.valid_from > time.time() else None
    rare = {
        "valid_from": starts,
        "valid_to": item.valid_to,
        "answers_left": item.answers_left,
        "sensitive": list(item.sensitive),
        "unread": item.unread,
    }
    found = {"key": item.key, "text": item.text, "weight": item.weight, "confidence": item.confidence}
    return found | {name: value for name, value in rare.items() if value not in (None, [])}


def _remove(memory: PreferenceMemory, user: str, event_id: str, erase: bool) -> None:
    if not any(event.id == event_id for event in memory.events(user)):
        raise ApiError(404, "unknown_feedback", "There is no such feedback of this user.", param="id")
    if erase:
        memory.forget(user, event_id)
    else:
        memory.retract(user, event_id)


async def _answer_twice(
    service: Service, question: Question, messages: list[ChatDict], options: CallOptions, request: Request
) -> list[dict[str, str]]:
    sides = await service.remember("condition", both_sides, service.chat, question, messages, options)
    answers = [asyncio.ensure_future(_answer(service, messages, side, request)) for side in sides]
    try:
        return await asyncio.gather(*answers)
    finally:
        for each in answers:
            each.cancel()


async def _answer(service: Service, messages: list[ChatDict], options: CallOptions, request: Request) -> dict[str, str]:
    response_id, salt = new_id(), request.state.caller.tenant
    submit = partial(service.chat.submit, messages, options, response_id=response_id, salt=salt)
    turn = await service.begin(submit, request.state.body_bytes)
    whole = await turn.aresult()
    assert whole.usage is not None
    service.metrics.tokens(whole.usage.prompt_tokens, whole.usage.completion_tokens)
    return {"id": response_id, "text": whole.text}
