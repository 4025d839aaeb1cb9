"""One request to one server: what is posted, and how the answer becomes events of a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx

from pad_langchain.engine.local.row import Row
from pad_langchain.engine.remote.servers import Server
from pad_langchain.engine.remote.wire import REFUSED, Chunk, read_chunk, refused, said_of_error, to_body
from pad_langchain.engine.types import FinishReason, TokenEvent
from pad_langchain.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineUnavailableError,
    PadError,
)

__all__ = ["Exchange", "LostError"]

_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class LostError(Exception):
    """A server could not answer; another may. It never leaves the engine.

    Args:
        error: what the caller is told if none can.
        rests: whether the server is better left alone for a while.
    """

    def __init__(self, error: PadError, *, rests: bool = True) -> None:
        super().__init__(str(error))
        self.error, self.rests = error, rests


class Exchange:
    """Has servers answer rows.

    Args:
        client: talks to them.
        end_tokens: ids of the tokens that end an answer.
    """

    def __init__(self, client: httpx.AsyncClient, end_tokens: frozenset[int]) -> None:
        self.client, self.end_tokens = client, end_tokens

    async def answer(self, server: Server, row: Row, steers: bool, until: int | None, nonce: str) -> None:
        """Have a server answer a row, up to the end or to a token.

        Args:
            server: which works.
            row: whose tokens so far were asked for before.
            steers: whether preferences steer.
            until: the token, if any.
            nonce: see `to_body`.

        Raises:
            LostError: the server cannot be reached, is busy, or broke off.
            InvalidRequestError: it refuses the request.
            ContextLengthError: the prompt is too long for it.
            GuideError: the gate is not finite.
        """
        admitted, so_far = row.admitted, tuple(row.tokens)
        used = len(admitted.prompt) + len(so_far)
        if server.context is not None and used + 1 > server.context:
            raise ContextLengthError(
                f"The prompt has {used} tokens, but the server's context is {server.context} and one must be left to "
                "write. Drop older messages or shorten the prompt."
            )
        body, factor = to_body(admitted, server, self.end_tokens, nonce, so_far=so_far, gate=steers)
        if server.context is not None:
            body["max_tokens"] = min(body["max_tokens"], server.context - used)
        if factor < 1.0:
            row.stream.notes["gate_scaled"] = round(factor, 6)
        guided = "pad_gate" in body.get("vllm_xargs", {})
        async with self._opened(server, row, body) as lines:
            ended = False
            async for data in lines:
                chunk = read_chunk(data, row.request, guided)
                ended = ended or self._put(row, chunk, until if steers else None)
                if ended and chunk.finish is None:  # the server would go on; else its connection is read to the end
                    return
            if not ended:
                raise EngineUnavailableError("the stream ended without saying why.")

    @asynccontextmanager
    async def _opened(self, server: Server, row: Row, body: dict[str, Any]) -> AsyncIterator[AsyncIterator[str]]:
        """The data of the events of a server's answer. Leaving early ends it there, too.

        Raises:
            LostError, InvalidRequestError: as `answer`.
        """
        try:
            async with self.client.stream("POST", f"{server.url}/v1/completions", json=body) as response:
                if response.status_code != HTTPStatus.OK:
                    _raise_for(server, response.status_code, await response.aread())
                server.answered = time.monotonic()
                async with aclosing(_data(response)) as lines:
                    yield lines
        except httpx.HTTPError as error:
            said = f"{type(error).__name__}: {error}".rstrip(": .")
            raise LostError(EngineUnavailableError(f"{server.url} broke off {_after(row)}: {said}.")) from error
        except EngineUnavailableError as error:  # what it sent says so
            raise LostError(EngineUnavailableError(f"{server.url} broke off {_after(row)}: {error}")) from error

    def _put(self, row: Row, chunk: Chunk, until: int | None) -> bool:
        """Put tokens into a row's stream. Return whether its answer has ended, or has reached a token."""
        for chosen in chunk.chosen:
            if row.emit(chosen, self.end_tokens) or chosen.token_id == until:
                return True
        if chunk.finish is None:
            return False
        if chunk.finish not in ("stop", "length"):
            raise EngineUnavailableError(f"the server ended the answer with {chunk.finish!r}.")
        reason: FinishReason = "stop" if chunk.finish == "stop" else "length"
        row.stream.put(TokenEvent(row.index, -1, row.text.flush(), 0.0, 0.0, reason))
        return True


async def _data(response: httpx.Response) -> AsyncGenerator[str, None]:
    """The data of the events of a stream, without the mark of its end."""
    async for line in response.aiter_lines():
        if line.startswith("data:") and (said := line[5:].strip()) != "[DONE]":
            yield said


def _after(row: Row) -> str:
    return f"after {row.index} tokens" if row.index else "before the first token"


def _raise_for(server: Server, status: int, body: bytes) -> None:
    """Raise what a refusal means."""
    try:
        said = httpx.Response(status, content=body).json()
    except ValueError:
        said = body[:200].decode(errors="replace")
    if status in REFUSED:
        raise refused(said)
    told = f"{server.url} answers HTTP {status}: {said_of_error(said)}"
    if status in _BUSY:
        busy = EngineBusyError if status == HTTPStatus.TOO_MANY_REQUESTS else EngineUnavailableError
        raise LostError(busy(told), rests=False)
    raise LostError(EngineUnavailableError(told))
