"""What takes requests out of the queue and has servers answer them: one thread that admits, one that talks."""

from __future__ import annotations

import asyncio
import atexit
import logging
import secrets
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx

from pad_langchain.engine.local.failures import failure
from pad_langchain.engine.local.queue import Queue
from pad_langchain.engine.local.row import Row
from pad_langchain.engine.remote.base import RemoteBase
from pad_langchain.engine.remote.servers import Server, Servers
from pad_langchain.engine.remote.wire import ALL, Chunk, read_chunk, said_of_error, steered_until, to_body
from pad_langchain.engine.settings import RemoteSettings
from pad_langchain.engine.types import FinishReason, TokenEvent
from pad_langchain.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineClosedError,
    EngineUnavailableError,
    InvalidRequestError,
    PadError,
)
from pad_langchain.models.forks import survive_forks

__all__ = ["Dispatcher"]

LOOK = 0.02  # seconds after which it is seen that a reader has left
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

logger = logging.getLogger(__name__)


class _LostError(Exception):
    """A server could not answer; another may. The error is what the caller is told if none can."""

    def __init__(self, error: PadError, *, rests: bool = True) -> None:
        super().__init__(str(error))
        self.error, self.rests = error, rests


class Dispatcher:
    """The threads of one remote engine, from the first request until it is closed.

    Args:
        queue: where requests wait.
        connect: makes the servers in the event loop that talks to them.
        settings: of the connection.
        base: what the servers serve.
    """

    def __init__(
        self, queue: Queue, connect: Callable[[httpx.AsyncClient], Servers], settings: RemoteSettings, base: RemoteBase
    ) -> None:
        self.queue, self.settings, self.base, self.end_tokens = queue, settings, base, base.end_tokens
        self.nonce = ""  # see `forget`
        self.prompt_tokens = 0  # of requests that a server took
        self._connect = connect
        self._tasks: dict[Row, asyncio.Task[None] | None] = {}  # changed by who holds the queue
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._client: httpx.AsyncClient | None = None
        self._servers: Servers | None = None
        self._parents: list[Any] = []  # see `begin_anew`
        survive_forks(self)

    @property
    def rows(self) -> list[Row]:
        """The rows that servers answer now."""
        return list(self._tasks)

    @property
    def alive(self) -> bool:
        """Whether the threads run, or have not been needed yet."""
        return all(thread.is_alive() for thread in self._threads)

    def ended(self) -> Callable[[], bool]:
        """Return what says, without holding this, whether the threads have ended. True where none ever ran."""
        threads = list(self._threads)
        return lambda: not any(thread.is_alive() for thread in threads)

    def forget(self) -> None:
        """Let servers find no prompt of before any more. They drop what they have kept of them when they need room."""
        self.nonce = secrets.token_hex(8)

    def start(self) -> None:
        """Start the threads if they do not run yet."""
        with self.queue.changed:
            if self._threads or self.queue.closed:
                return
            self._loop = asyncio.new_event_loop()
            self._threads = [
                threading.Thread(target=self._talk, args=(self._loop,), name="pad-remote", daemon=True),
                threading.Thread(target=self._admit, args=(self._loop,), name="pad-remote-queue", daemon=True),
            ]
            for thread in self._threads:
                thread.start()
            atexit.register(self.close)

    def ready(self, timeout: float) -> bool:
        """Return whether a server works. Blocks so many seconds at most."""
        self.start()
        if self._loop is None or not self.alive:
            return False
        asking = asyncio.run_coroutine_threadsafe(self._any_ready(), self._loop)
        try:
            return asking.result(timeout)
        except TimeoutError:
            asking.cancel()
            return False

    def close(self, timeout: float | None = 10.0) -> None:
        """End all requests and the threads, in so many seconds if possible."""
        self.queue.close()
        for thread in reversed(self._threads):
            if thread is not threading.current_thread():
                thread.join(timeout)
        self.queue.fail(EngineClosedError("The engine was closed before the request began."))
        atexit.unregister(self.close)

    # A fork copies no thread, and sockets that two processes read are of no use.

    def hold(self) -> bool:
        """Do nothing, as a child gets nothing that could be half-way."""
        return True

    def let_go(self) -> None:
        """Do nothing."""

    def begin_anew(self) -> None:
        """End what was in flight in a forked child, as the parent answers it. The next request starts threads."""
        lost = EngineClosedError(
            "The request was made before the process forked: its answer is in the parent. Ask again in this process."
        )
        streams = [row.stream for row in (*self._tasks, *self.queue.begin_anew())]
        self._parents += [self._loop, self._client, self._servers, self._tasks]  # whose sockets must not be closed here
        self._tasks, self._threads, self._loop, self._client, self._servers = {}, [], None, None, None
        atexit.unregister(self.close)
        for stream in streams:
            stream.abandon(lost)

    # In the thread that admits

    def _admit(self, loop: asyncio.AbstractEventLoop) -> None:
        queue = self.queue
        with queue.changed:
            while not (queue.closed or (queue.finishing and not self._tasks and not len(queue))):
                for row in (row for group in queue.take(self.rows) for row in group):
                    self._tasks[row] = None
                    loop.call_soon_threadsafe(self._begin, row)
                for row, task in self._tasks.items():
                    if task is not None and row.stream.cancelled and not task.cancelling():
                        loop.call_soon_threadsafe(task.cancel)
                queue.changed.wait(LOOK if self._tasks or len(queue) else None)
        loop.call_soon_threadsafe(loop.stop)

    # In the thread that talks

    def _talk(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0)
        timeout = httpx.Timeout(self.settings.timeout, connect=self.settings.connect_timeout, pool=None)
        key = self.settings.api_key
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout, limits=limits)
        self._servers = self._connect(self._client)
        try:
            loop.run_forever()
            loop.run_until_complete(self._end())
        finally:
            asyncio.set_event_loop(None)
            loop.close()
            atexit.unregister(self.close)  # which would keep the base

    async def _end(self) -> None:
        """End what runs, and the connections."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.aclose()

    async def _any_ready(self) -> bool:
        return self._servers is not None and await self._servers.any_ready()

    def _begin(self, row: Row) -> None:
        self._tasks[row] = asyncio.get_running_loop().create_task(self._answer(row))

    async def _answer(self, row: Row) -> None:
        """Have a row answered, whatever happens."""
        try:
            await self._in_parts(row)
        except asyncio.CancelledError:
            if row.stream.cancelled:
                row.cancel()
            else:
                row.stream.fail(EngineClosedError("The engine was closed while the request ran."))
        except PadError as error:
            row.stream.fail(error)
        except BaseException as error:
            logger.exception("A request to a server failed")
            row.stream.fail(failure(error))
        finally:
            with self.queue.changed:
                del self._tasks[row]
                self.queue.changed.notify_all()

    async def _in_parts(self, row: Row) -> None:
        """Have a row answered: what preferences steer, then the rest."""
        mark = steered_until(row.request, self.base.tokenizer)
        steers = row.plan is not None and mark is not None
        if row.plan is not None and mark != ALL:
            row.stream.notes["steered"] = "up to the first call" if steers else "not at all"
        await self._on_some_server(row, steers, mark)
        if not row.stream.done:
            await self._on_some_server(row, False, None)

    async def _on_some_server(self, row: Row, steers: bool, until: int | None) -> None:
        """Have one server after another try, until a token has come."""
        assert self._servers is not None
        begun, tried = row.index, set[Server]()
        for left in reversed(range(self.settings.retries + 1)):
            server = await self._servers.choose(tried)
            server.running += 1
            try:
                await self._on(server, row, steers, until)
                return
            except _LostError as lost:
                if lost.rests:
                    self._servers.failed(server, lost.error)
                if row.index > begun or not left:
                    raise lost.error from lost
                logger.info("A request is tried again: %s", lost)
                tried.add(server)
            finally:
                server.running -= 1

    async def _on(self, server: Server, row: Row, steers: bool, until: int | None) -> None:
        """Have a server answer a row, up to the end or to a token."""
        admitted, so_far = row.admitted, tuple(row.tokens)
        used = len(admitted.prompt) + len(so_far)
        if server.context is not None and used + 1 > server.context:
            raise ContextLengthError(
                f"The prompt has {used} tokens, but the server's context is {server.context} and one must be left to "
                "write. Drop older messages or shorten the prompt."
            )
        body, factor = to_body(admitted, server, self.end_tokens, self.nonce, so_far=so_far, gate=steers)
        if server.context is not None:
            body["max_tokens"] = min(body["max_tokens"], server.context - used)
        if factor < 1.0:
            row.stream.notes["gate_scaled"] = round(factor, 6)
        guided = "pad_gate" in body.get("vllm_xargs", {})
        async with self._opened(server, row, body) as lines:
            self.prompt_tokens += 0 if so_far else used
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
            _LostError: it cannot be reached, is busy, or broke off.
            InvalidRequestError: it refuses the request.
        """
        assert self._client is not None
        try:
            async with self._client.stream("POST", f"{server.url}/v1/completions", json=body) as response:
                if response.status_code != HTTPStatus.OK:
                    _raise_for(server, response.status_code, await response.aread())
                server.answered = time.monotonic()
                async with aclosing(_data(response)) as lines:
                    yield lines
        except httpx.HTTPError as error:
            said = f"{type(error).__name__}: {error}".rstrip(": .")
            raise _LostError(EngineUnavailableError(f"{server.url} broke off {_after(row)}: {said}.")) from error
        except EngineUnavailableError as error:  # what it sent says so
            raise _LostError(EngineUnavailableError(f"{server.url} broke off {_after(row)}: {error}")) from error

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
        said = said_of_error(httpx.Response(status, content=body).json())
    except ValueError:
        said = body[:200].decode(errors="replace")
    told = f"{server.url} answers HTTP {status}: {said}"
    if status in _BUSY:
        busy = EngineBusyError if status == HTTPStatus.TOO_MANY_REQUESTS else EngineUnavailableError
        raise _LostError(busy(told), rests=False)
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.REQUEST_ENTITY_TOO_LARGE):
        raise InvalidRequestError(f"The server that decodes refuses the request: {said}")
    raise _LostError(EngineUnavailableError(told))
