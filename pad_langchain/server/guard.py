"""`Guard`: the one middleware in front of every route. `protect` puts it there.

A request passes in this order; whatever refuses it does so before the body is read, as a framework would not:

1  it gets an id, which its answer and the log have: the caller's `X-Request-Id`, or a new one
2  its host is one of ours, against web pages that have a name point to this machine (DNS rebinding)
3  its key (`credentials.py`) is known, unless its path is open; `request.state.caller` is who has the key
4  its key has not sent too many
5  its body is small enough and arrives in time; the app gets it whole
6  the app answers. Errors get OpenAI's shape, whoever made them; answers that stream pass as they come

The log has a line for each request: method, route, status, milliseconds, request id, key id. It has no key, body, query
or message of an exception, as these may quote a user. `tracing.py` makes a span of the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Collection
from dataclasses import replace
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pad_langchain.server.credentials import check_from_page, credential_of
from pad_langchain.server.errors import ApiError, translate
from pad_langchain.server.exchange import Exchange
from pad_langchain.server.identity import Caller, Naming
from pad_langchain.server.keys import Keys
from pad_langchain.server.limits import RateLimit
from pad_langchain.server.metrics import Metrics
from pad_langchain.server.settings import ServerSettings
from pad_langchain.server.tracing import RequestSpan

__all__ = ["PROBES", "Guard", "protect"]

PROBES = frozenset({"/health", "/ready"})  # open, under any name: a balancer calls by the address
LONGEST_ID = 128
LONGEST_LENGTH = 18  # digits of a Content-Length; Python refuses to read thousands of them
LEFT = 499  # no status of HTTP: the client left before it had its answer
logger = logging.getLogger("pad_langchain.server")


def protect(
    app: Starlette, settings: ServerSettings, keys: Keys, metrics: Metrics, open_paths: Collection[str] = ()
) -> None:
    """Put a `Guard` in front of an app, and in front of that what answers browsers, where the settings allow any.

    Args:
        app: middlewares that are added to it before stand behind the guard.
        settings: limits, hosts, and how apps name their users.
        keys: who may call.
        metrics: counts what is refused.
        open_paths: paths that need no key, beside /health and /ready.
    """
    app.add_middleware(Guard, settings=settings, keys=keys, metrics=metrics, open_paths=open_paths)
    if settings.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.allowed_origins,
            allow_methods=("GET", "POST", "DELETE"),
            allow_headers=("*",),
            expose_headers=("X-Request-Id", "Retry-After"),
        )


class Guard:
    """The middleware. Its arguments are those of `protect`."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: ServerSettings,
        keys: Keys,
        metrics: Metrics,
        open_paths: Collection[str] = (),
    ) -> None:
        self.app, self.settings, self.keys, self.metrics = app, settings, keys, metrics
        self.open_paths = PROBES.union(open_paths)
        self.naming = Naming.of(settings)
        self.rate = RateLimit(settings.rate, settings.burst)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there is nothing to say over a WebSocket
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        begun = time.perf_counter()
        headers = Headers(scope=scope)
        exchange = Exchange(_request_id(headers), receive, send)
        span = RequestSpan(scope["method"], headers, exchange.request_id)
        state = scope.setdefault("state", {})
        state.update(request_id=exchange.request_id, caller=None)
        try:
            with span.current():
                state["caller"] = self._admit(scope, headers)
                body = await self._body(headers, exchange.receive)
                state["body_bytes"] = len(body)
                await self.app(scope, _again(body, exchange.receive), exchange.send)
        except ClientDisconnect:
            pass
        except Exception as error:
            await self._failed(exchange, error)
        finally:
            if exchange.code is not None and not exchange.left:
                self.metrics.refused(exchange.code)
            _close(scope, exchange, span, (time.perf_counter() - begun) * 1000)

    def _admit(self, scope: Scope, headers: Headers) -> Caller | None:
        """Return who calls; None on an open path."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if path not in PROBES:
            self._check_host(headers.get("host", ""))
        if path in self.open_paths:
            return None
        credential = credential_of(headers)
        if credential is not None and credential.from_cookie:
            check_from_page(scope["method"], headers)
        caller = None if credential is None else self.keys.find(credential.secret)
        if caller is None:
            message = "The key is missing, unknown or revoked. Send Authorization: Bearer and a key of this server."
            raise ApiError(401, "invalid_api_key", message)
        if wait := self.rate.take(caller.key_id):
            message = f"This key may send {self.settings.rate:g} requests a minute. Try again later."
            raise ApiError(429, "rate_limited", message, retry_after=wait)
        return replace(caller, naming=self.naming)

    def _check_host(self, host: str) -> None:
        name = host.lower() if host.endswith("]") else host.lower().rpartition(":")[0] or host.lower()
        for known in self.settings.hosts:
            if known in ("*", name) or (known.startswith("*.") and name.endswith(known[1:])):
                return
        message = "The server is not called by this name. Its operator may add it to trusted_hosts."
        raise ApiError(400, "invalid_value", message, param="Host")

    async def _body(self, headers: Headers, receive: Receive) -> bytes:
        """Return the whole body.

        Raises:
            ApiError: 413 or 408.
            ClientDisconnect: the client left.
        """
        longest, seconds = self.settings.max_body_bytes, self.settings.body_timeout_s
        too_large = ApiError(
            413, "body_too_large", f"The body has to be at most {longest:,} bytes. Send less, or in several requests."
        )
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and (len(declared) > LONGEST_LENGTH or int(declared) > longest):
            raise too_large
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise ClientDisconnect
                    body += message.get("body", b"")
                    if len(body) > longest:
                        raise too_large
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise ApiError(408, "request_timeout", f"The body did not arrive within {seconds:g} s.") from None

    async def _failed(self, exchange: Exchange, error: Exception) -> None:
        told = translate(error)
        if told.status >= 500 and not isinstance(error, ApiError):
            name = f"{type(error).__module__}.{type(error).__qualname__}"
            if told.status == 500:
                where = "".join(traceback.format_tb(error.__traceback__))
                logger.error("%s, request %s:\n%s", name, exchange.request_id, where)
            else:  # what is known to pass, such as a database that is away, fails many requests alike
                logger.warning("%s, request %s", name, exchange.request_id)
        await exchange.refuse(told)


def _request_id(headers: Headers) -> str:
    said = "".join(letter for letter in headers.get("x-request-id", "") if "!" <= letter <= "~")
    return said[:LONGEST_ID] or uuid.uuid4().hex


def _again(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that gives the body, and then what comes after it: that the client left."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return messages.pop() if messages else await receive()

    return again


def _close(scope: Scope, exchange: Exchange, span: RequestSpan, milliseconds: float) -> None:
    """Write the request's line and end its span. In the line a path that has no route stands for itself."""
    route = getattr(scope.get("route"), "path", None)  # not the path: that may have a user in it
    status = LEFT if exchange.left and not exchange.whole else exchange.status
    caller = scope["state"]["caller"]
    key_id = None if caller is None else caller.key_id
    logger.info(
        "%s %s %s %.0f ms request=%s key=%s",
        scope["method"],
        route or quote(scope["path"])[:200],
        status or "-",
        milliseconds,
        exchange.request_id,
        key_id or "-",
    )
    span.end(route=route, status=status, code=exchange.code, key_id=key_id)
