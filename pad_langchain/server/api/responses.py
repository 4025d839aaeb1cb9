"""`POST /v1/responses`: OpenAI's newer API, stateless: what it is to go on from comes with each request."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pad_langchain.errors import InvalidRequestError
from pad_langchain.server.api.answers import new_id
from pad_langchain.server.api.delivery import deliver
from pad_langchain.server.api.replies import ResponseObject, streamed
from pad_langchain.server.api.responses_answer import ResponseAnswer
from pad_langchain.server.api.responses_request import ResponsesRequest, chat_request, echo, named_here
from pad_langchain.server.errors import ApiError, translate
from pad_langchain.server.service import Service

__all__ = ["router"]

router = APIRouter()


@router.post("/v1/responses", responses=streamed(ResponseObject, "Events"))
async def create_response(body: ResponsesRequest, request: Request) -> Response:
    """Answer what OpenAI's Responses API asks for."""

    def response(service: Service, user: str | None) -> ResponseAnswer:
        return ResponseAnswer(new_id("resp_"), service.model, echo(body), user, body.logprobs, service.ends)

    try:
        return await deliver(request, chat_request(body), response)
    except (ApiError, InvalidRequestError) as error:
        raise named_here(translate(error)) from None
