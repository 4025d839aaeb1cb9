"""What takes requests out of the queue and has servers answer them: one thread that admits, one that talks."""

from __future__ import annotations

import asyncio
import atexit
import logging
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import httpx

from pad_langchain.engine.local.failures import failure
from pad_langchain.engine.local.queue import Queue
from pad_langchain.engine.local.row import Row
from pad_langchain.engine.remote.base import RemoteBase
from pad_langchain.engine.remote.exchange import Exchange, LostError
from pad_langchain.engine.remote.servers import Server, Servers
from pad_langchain.engine.remote.wire import ALL, check_parts, steered_until
from pad_langchain.engine.settings import RemoteSettings
from pad_langchain.errors import EngineClosedError, PadError
from pad_langchain.models.forks import survive_forks

__all__ = ["Dispatcher"]

LOOK = 0.02  # seconds after which it is seen that a reader has left
_CLOSED = "The engine was closed while the request ran."

logger = logging.getLogger(__name__)


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
        self._servers: Servers | None = None
        self._exchange: Exchange | None = None
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
        self._parents += [self._loop, self._servers, self._exchange, self._tasks]  # whose sockets must stay open here
        self._tasks, self._threads, self._loop, self._servers, self._exchange = {}, [], None, None, None
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
        with suppress(RuntimeError):  # the other thread has failed
            loop.call_soon_threadsafe(loop.stop)

    # In the thread that talks

    def _talk(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            self._open()
            loop.run_forever()
            loop.run_until_complete(self._end())
        finally:
            self.queue.close()
            lost = EngineClosedError(_CLOSED)
            for row in self.rows:  # where this thread failed
                row.stream.fail(lost)
            self.queue.fail(lost)
            asyncio.set_event_loop(None)
            loop.close()
            atexit.unregister(self.close)  # which would keep the base

    def _open(self) -> None:
        """Make what talks to servers. It connects to none yet."""
        said = self.settings
        client = httpx.AsyncClient(
            headers={} if said.api_key is None else {"Authorization": f"Bearer {said.api_key}"},
            timeout=httpx.Timeout(said.timeout, connect=said.connect_timeout, pool=None),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=60.0),
        )
        self._servers, self._exchange = self._connect(client), Exchange(client, self.end_tokens)

    async def _end(self) -> None:
        """End what runs, and the connections."""
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._exchange is not None:
            await self._exchange.client.aclose()

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
                row.stream.fail(EngineClosedError(_CLOSED))
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
        if steers and mark != ALL:
            check_parts(row.request)
        await self._on_some_server(row, steers, mark)
        if not row.stream.done:
            await self._on_some_server(row, False, None)

    async def _on_some_server(self, row: Row, steers: bool, until: int | None) -> None:
        """Have one server after another try, until a token has come."""
        assert self._servers is not None
        assert self._exchange is not None
        begun, tried = row.index, set[Server]()
        for left in reversed(range(self.settings.retries + 1)):
            server = await self._servers.choose(tried)
            server.running += 1
            try:
                await self._exchange.answer(server, row, steers, until, self.nonce)
                self.prompt_tokens += 0 if begun else len(row.prompt)
                return
            except LostError as lost:
                if lost.rests:
                    self._servers.failed(server, lost.error)
                if row.index > begun or not left:
                    raise lost.error from lost
                logger.info("A request is tried again: %s", lost)
                tried.add(server)
            finally:
                server.running -= 1
