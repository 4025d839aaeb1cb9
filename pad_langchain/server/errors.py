"""Every answer that is no success, in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`.

| status | code | when |
|---|---|---|
| 400 | `invalid_value`, `unsupported_value`, `context_length_exceeded` | a value is refused; `param` names it |
| 401 | `invalid_api_key` | no key, an unknown one or a revoked one |
| 403 | `user_mismatch`, `not_allowed` | another user is named; the key's role may not do this |
| 404 | `model_not_found`, `unknown_response`, `unknown_url` | |
| 405 | `method_not_allowed` | |
| 408 | `request_timeout` | the body did not arrive in time |
| 409 | `memory_paused`, `consent_needed` | nothing is recorded now; the user has to be asked first |
| 413 | `body_too_large` | |
| 429 | `queue_full`, `rate_limited` | `Retry-After` says when to try again |
| 500 | `internal_error` | a bug; the log has it under the request's id |
| 503 | `shutting_down`, `not_ready`, `memory_unavailable`, `engine_unavailable`, `out_of_memory` | |
"""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from pad_langchain.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineClosedError,
    EngineMemoryError,
    EngineUnavailableError,
    InvalidRequestError,
    ModelLoadError,
)
from pad_memory.errors import (
    ConsentNeededError,
    EmbedderError,
    InvalidEventError,
    InvalidUserError,
    PausedError,
    StoreClosedError,
    StoreError,
    UnknownResponseError,
)

__all__ = ["INTERNAL", "ApiError", "translate"]

INTERNAL = "The server failed on this request. Its log has the reason, under the request id of this answer."
_UNKNOWN_RESPONSE = (
    "There is no such answer among this user's recent ones. Send the prompt and the response instead of the id."
)

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
_HTTP_CODES = {
    401: "invalid_api_key",
    403: "not_allowed",
    404: "unknown_url",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    429: "rate_limited",
    500: "internal_error",
    503: "not_ready",
}
_FRAMEWORKS_WORDS = {404: "There is nothing under this URL.", 405: "This URL does not take this method."}


class ApiError(Exception):
    """A request that is not answered as it wanted. It never leaves the server, so it is none of the package's errors.

    Args:
        status: of HTTP, 400 to 599.
        code: what a program tells errors apart by.
        message: a sentence for people; it reaches the client.
        param: the field of the request that is at fault.
        retry_after: seconds after which the request may succeed.
    """

    def __init__(
        self, status: int, code: str, message: str, *, param: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.param, self.retry_after = param, retry_after

    @property
    def type(self) -> str:
        """OpenAI's name for the kind of error."""
        return _TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")

    def body(self) -> dict[str, Any]:
        """Return the JSON of the answer, which is also the last line of a stream that fails."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Return the headers that the answer needs beside those of every answer."""
        headers = {}
        if self.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(self.retry_after)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def translate(error: BaseException) -> ApiError:
    """Return what a client is told of an exception.

    Errors of this package about a request keep their message. Errors of the server's own parts, which may name its
    files, get a fixed one, and so does every exception that is not known: nothing of its text reaches a client.
    """
    match error:
        case ApiError():
            return error
        case ContextLengthError():
            return ApiError(400, "context_length_exceeded", str(error), param="messages")
        case InvalidRequestError():
            return ApiError(400, "invalid_value", str(error))
        case UnknownResponseError():
            return ApiError(404, "unknown_response", _UNKNOWN_RESPONSE, param="response_id")
        case InvalidUserError():
            return ApiError(400, "invalid_value", str(error), param="user")
        case InvalidEventError():
            return ApiError(400, "invalid_value", str(error))
        case PausedError():
            return ApiError(409, "memory_paused", "Nothing is recorded, for this user paused it.")
        case ConsentNeededError():
            told = ", ".join(error.sensitive)
            message = f"This tells something sensitive ({told}). Ask the user; if they agree, send it with consented."
            return ApiError(409, "consent_needed", message, param="consented")
        case ValidationError() | RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _of_framework(error)
    return _of_server(error)


def _of_server(error: BaseException) -> ApiError:
    """What is told where the server is at fault."""
    match error:
        case EngineBusyError():
            return ApiError(429, "queue_full", "Too many requests are waiting. Try again later.", retry_after=1)
        case EngineClosedError() | StoreClosedError():
            return ApiError(503, "shutting_down", "The server shuts down. Try again later.", retry_after=5)
        case EngineMemoryError():
            message = "Memory ran out while this request ran. Send a shorter one, or try again later."
            return ApiError(503, "out_of_memory", message, retry_after=5)
        case StoreError() | EmbedderError():
            message = "The preference memory does not answer now. Try again later."
            return ApiError(503, "memory_unavailable", message, retry_after=5)
        case EngineUnavailableError():
            message = "The server that decodes does not answer, or broke off. Try again later."
            return ApiError(503, "engine_unavailable", message, retry_after=2)
        case ModelLoadError():
            return ApiError(503, "not_ready", "The model is not loaded. Try again later.", retry_after=5)
    return ApiError(500, "internal_error", INTERNAL)


def _invalid(error: ValidationError | RequestValidationError) -> ApiError:
    """Return the first thing that pydantic found, at its place in the request's body."""
    detail = error.errors()[0]
    if detail["type"] == "json_invalid":
        return ApiError(400, "invalid_value", "The body has to be JSON, and is not.")
    place = [str(part) for part in detail["loc"]]
    if isinstance(error, RequestValidationError):  # FastAPI says first where in the request: body, query, path
        place = place[1:]
    param = ".".join(place) or None
    said = str(detail["msg"]).removeprefix("Value error, ")
    return ApiError(400, "invalid_value", f"{param}: {said}" if param else said, param=param)


def _of_framework(error: HTTPException) -> ApiError:
    status = error.status_code
    default = "internal_error" if status >= 500 else "invalid_value"
    said = str(error.detail)
    plain = status in _FRAMEWORKS_WORDS and said == HTTPStatus(status).phrase
    message = INTERNAL if status == 500 else _FRAMEWORKS_WORDS[status] if plain else said
    return ApiError(status, _HTTP_CODES.get(status, default), message)
