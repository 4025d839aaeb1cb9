"""`POST /v1/responses`: OpenAI's newer API, stateless: what it is to go on from comes with each request."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pad_langchain.errors import InvalidRequestError
from pad_langchain.server.api.answers import new_id
from pad_langchain.server.api.delivery import deliver
from pad_langchain.server.api.replies import ResponseObject
from pad_langchain.server.api.responses_answer import ResponseAnswer
from pad_langchain.server.api.responses_request import ResponsesRequest, chat_request, echo, named_here
from pad_langchain.server.errors import ApiError, translate
from pad_langchain.server.service import Service

__all__ = ["router"]

router = APIRouter()
_STREAM = {"schema": {"type": "string", "description": "Events as OpenAI sends them, where `stream` is true."}}
_ANSWERS: dict[int | str, dict[str, Any]] = {200: {"model": ResponseObject, "content": {"text/event-stream": _STREAM}}}


@router.post("/v1/responses", responses=_ANSWERS)
async def create_response(body: ResponsesRequest, request: Request) -> Response:
    """Answer what OpenAI's Responses API asks for."""

    def response(service: Service, user: str | None) -> ResponseAnswer:
        return ResponseAnswer(new_id("resp_"), service.model, echo(body), user, body.logprobs, service.ends)

    try:
        return await deliver(request, chat_request(body), response)
    except (ApiError, InvalidRequestError) as error:
        raise named_here(translate(error)) from None
