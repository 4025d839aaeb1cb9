"""`run`: a server as a process, from its socket to its last answer.

1  the port is taken, so that one in use is told of before the models load; who connects is refused until they have
2  the app starts: its models load
3  it listens
4  a signal (SIGTERM, SIGINT) makes /ready say 503; `drain_s` seconds later no connection is taken any more
5  answers that run get `shutdown_grace_s` seconds to end; then the app stops. A second signal skips 4

A client that connects and sends nothing, or half its headers, is never closed: where strangers connect, a proxy belongs
in front.
"""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.types import Message, Receive, Scope, Send

from pad_langchain.errors import InvalidRequestError
from pad_langchain.server.settings import ServerSettings

__all__ = ["run"]


def run(app: Starlette, settings: ServerSettings, listens: Callable[[str], None]) -> None:
    """Serve an app until a signal ends it. Needs the main thread.

    Args:
        app: its `state.draining` becomes True when the signal comes.
        settings: the address, and how it ends.
        listens: told the address, such as "http://127.0.0.1:8700", once requests are answered.

    Raises:
        InvalidRequestError: the address cannot be taken.
        Exception: the app did not start; whatever its start raised.
    """
    taken = _socket(settings.host, settings.port)
    start = _Start(app)
    config = uvicorn.Config(
        start,
        lifespan="on",
        ws="none",
        log_config=None,
        access_log=False,  # it would have queries, in which are users' words
        server_header=False,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace_s),
    )

    def drain() -> None:
        app.state.draining = True

    server = _Server(config, drain, settings.drain_s, lambda: listens(_address(settings.host, taken)))
    try:
        server.run([taken])
    except KeyboardInterrupt:
        pass
    except SystemExit:
        if start.error is None:
            raise
        raise start.error from None
    finally:
        taken.close()


def _socket(host: str, port: int) -> socket.socket:
    """Return a socket that has the address and does not listen yet."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        taken = socket.socket(family, kind, protocol)
        try:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(address)
        except OSError:
            taken.close()
            raise
    except OSError as error:
        raise InvalidRequestError(
            f"{host} port {port} cannot be listened on: {error.strerror or error}. Name another host or port."
        ) from None
    return taken


def _address(host: str, taken: socket.socket) -> str:
    shown = f"[{host.strip('[]')}]" if ":" in host else host
    return f"http://{shown}:{taken.getsockname()[1]}"


class _Start:
    """An app, and what its start raised. uvicorn would log it with its traceback and keep it to itself."""

    def __init__(self, app: Starlette) -> None:
        self.app = app
        self.error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self.app(scope, receive, send)
            return

        async def quietly(message: Message) -> None:
            await send({"type": message["type"]})

        try:
            await self.app(scope, receive, quietly)
        except Exception as error:
            self.error = error
            raise


class _Server(uvicorn.Server):
    """uvicorn's server. It says when it listens, and drains before it stops."""

    def __init__(
        self, config: uvicorn.Config, drain: Callable[[], None], drain_s: float, listens: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._drain, self._drain_s, self._listens = drain, drain_s, listens
        self._ends: tuple[float, int] | None = None  # when, on a clock that never goes back, and by which signal

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listens()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._drain()
        if self._ends is None and self.started:
            self._ends = (time.monotonic() + self._drain_s, sig)
        else:
            super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        if self._ends is not None and time.monotonic() >= self._ends[0] and not self.should_exit:
            super().handle_exit(self._ends[1], None)
        return await super().on_tick(counter)
