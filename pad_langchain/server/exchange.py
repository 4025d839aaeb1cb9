"""`Exchange`: one request's answer on its way out. It gets its id, and an error gets OpenAI's shape."""

from __future__ import annotations

import json
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Send

from pad_langchain.server.errors import ApiError, translate

__all__ = ["BrokenOffError", "Exchange"]

_LONGEST_ERROR = 65_536  # bytes; of a longer one the status is kept
_REPLACED = frozenset({b"content-length", b"content-type"})


class BrokenOffError(Exception):
    """An answer failed after it began. The server closes the connection, so that nobody takes it as whole."""


class Exchange:
    """What is sent and received for one request.

    Args:
        request_id: becomes the answer's header `X-Request-Id`.
        receive, send: the server's.
    """

    def __init__(self, request_id: str, receive: Receive, send: Send) -> None:
        self.request_id = request_id
        self.status: int | None = None  # of the answer, once its beginning was sent
        self.code: str | None = None  # of an error
        self.left, self.whole = False, False  # whether the client left; whether the answer was sent to its end
        self._receive, self._send = receive, send
        self._held: Message | None = None  # the beginning of an error that the app sends
        self._error = bytearray()

    async def receive(self) -> Message:
        """Return the next message of the client."""
        message = await self._receive()
        self.left = self.left or message["type"] == "http.disconnect"
        return message

    async def send(self, message: Message) -> None:
        """Send a message of the app. What begins as an error is held until it is whole, to get its shape."""
        kind = message["type"]
        if kind == "http.response.start" and message["status"] >= 400:
            self._held = message
        elif kind == "http.response.start":
            await self._begin(message["status"], MutableHeaders(raw=list(message.get("headers", ()))))
        elif self._held is None:
            self.whole = kind == "http.response.body" and not message.get("more_body", False)
            await self._send(message)
        elif kind == "http.response.body":
            self._error += message.get("body", b"")[: _LONGEST_ERROR - len(self._error)]
            if not message.get("more_body", False):
                await self._answer(_shaped(self._held["status"], bytes(self._error)), self._held)

    async def refuse(self, error: ApiError) -> None:
        """Answer by an error.

        Raises:
            BrokenOffError: another answer has begun.
        """
        if self.status is None:
            await self._answer(error)
        elif not self.whole:
            self.code = error.code
            raise BrokenOffError(f"request {self.request_id} failed after its answer began") from None

    async def _begin(self, status: int, headers: MutableHeaders) -> None:
        self.status = status
        headers["X-Request-Id"] = self.request_id
        await self._send({"type": "http.response.start", "status": status, "headers": headers.raw})

    async def _answer(self, error: ApiError, begun: Message | None = None) -> None:
        """Send an error, with what headers the app gave it that are not of its body."""
        self.code, self._held = error.code, None
        body = json.dumps(error.body(), ensure_ascii=False).encode(errors="replace")
        kept = [] if begun is None else [each for each in begun.get("headers", ()) if each[0].lower() not in _REPLACED]
        headers = MutableHeaders(raw=kept)
        headers.update(error.headers())
        headers.update({"Content-Type": "application/json", "Content-Length": str(len(body))})
        if error.status in (408, 413):  # the rest of the body would be taken for the next request
            headers["Connection"] = "close"
        await self._begin(error.status, headers)
        self.whole = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})


def _shaped(status: int, body: bytes) -> ApiError:
    """Return what an app's error says: in OpenAI's shape, in the framework's, or in none."""
    try:
        said: Any = json.loads(body)
    except ValueError:
        said = None
    match said:
        case {"error": {"message": str(message), "code": str(code), **more}}:
            param = more.get("param")
            return ApiError(status, code, message, param=param if isinstance(param, str) else None)
        case {"detail": [{"loc": [*_], "msg": _}, *_] as details}:
            return translate(RequestValidationError(details))
        case {"detail": str(detail)}:
            return translate(HTTPException(status, detail))
    return translate(HTTPException(status))
