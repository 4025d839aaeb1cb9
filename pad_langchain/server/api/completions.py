"""`POST /v1/chat/completions`: one answer for one user, whole or as a stream of events."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from pad_langchain.server.api.answers import Completion, new_id
from pad_langchain.server.api.delivery import deliver
from pad_langchain.server.api.openai import ChatRequest
from pad_langchain.server.api.replies import ChatCompletion, streamed
from pad_langchain.server.service import Service

__all__ = ["router"]

router = APIRouter()


@router.post("/v1/chat/completions", responses=streamed(ChatCompletion, "Chunks"))
async def create_completion(body: ChatRequest, request: Request) -> Response:
    """Answer a conversation as OpenAI does."""

    def completion(service: Service, user: str | None) -> Completion:
        return Completion(
            new_id(),
            service.model,
            user,
            logprobs=bool(body.logprobs),
            usage=body.includes_usage,
            ends=service.ends,
        )

    return await deliver(request, body, completion)
