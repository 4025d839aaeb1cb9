"""What stands in front of the routes: it lets good requests through untouched, and refuses the others early."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel

from pad_langchain.errors import EngineBusyError
from pad_langchain.server.errors import INTERNAL, ApiError
from pad_langchain.server.exchange import BrokenOffError
from pad_langchain.server.guard import Guard, protect
from pad_langchain.server.identity import Naming
from pad_langchain.server.keys import Keys
from pad_langchain.server.metrics import Metrics
from pad_langchain.server.settings import ServerSettings
from pad_memory.errors import StoreError

HUSH = "what-a-user-wrote"


class Said(BaseModel):
    text: str


def small_app() -> FastAPI:
    app = FastAPI()

    @app.get("/health")
    @app.get("/page")
    async def health(request: Request) -> dict[str, Any]:
        return {"caller": request.state.caller}

    @app.get("/who")
    async def caller(request: Request) -> dict[str, Any]:
        return {"key": request.state.caller.key_id, "id": request.state.request_id}

    @app.post("/echo/{user}")
    async def echo(said: Said) -> dict[str, str]:
        return {"text": said.text}

    @app.get("/fail/{how}")
    async def fail(how: str) -> None:
        raise {
            "bug": KeyError(HUSH),
            "busy": EngineBusyError("7 requests are waiting"),
            "store": StoreError(f"/srv/{HUSH}"),
            "api": ApiError(400, "unsupported_value", "n has to be 1.", param="n"),
        }[how]

    @app.get("/plain")
    async def plain() -> PlainTextResponse:
        return PlainTextResponse(HUSH, 503, headers={"Retry-After": "7", "X-Kept": "yes"})

    @app.get("/stream")
    async def stream(fails: bool = False) -> StreamingResponse:
        async def lines() -> AsyncIterator[str]:
            yield "data: 1\n\n"
            if fails:
                raise KeyError(HUSH)
            yield "data: 2\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return app


class Server:
    """A guarded app, a key, and what was counted."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.keys, self.metrics, self.app = Keys.open(path), Metrics(), small_app()
        self.key_id, self.secret = self.keys.create("user", user="ada")
        self.settings = ServerSettings("m", **settings)
        protect(self.app, self.settings, self.keys, self.metrics, ["/page"])

    async def __call__(self, method: str, path: str, key: str | None = "", **more: Any) -> httpx.Response:
        """Send a request; the key is the server's own unless another is given, and None is without."""
        headers = httpx.Headers(more.pop("headers", {}))
        if key is not None:
            headers["Authorization"] = f"Bearer {key or self.secret}"
        transport = httpx.ASGITransport(self.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8700") as client:
            return await client.request(method, path, headers=headers, **more)

    def counted(self) -> list[str]:
        lines = self.metrics.render().decode().splitlines()
        return [line.removeprefix("pad_refused_total") for line in lines if line.startswith("pad_refused_total")]


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path / "keys.json")


def error_of(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    error: dict[str, Any] = answer.json()["error"]
    return error


# ---- who may pass


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer"}, {"Authorization": "Bearer pad-x"}, {"Authorization": "Basic {key}"}]
)
@pytest.mark.parametrize("path", ["/who", "/nowhere", "/health/", "/page/", "//health", "/Health"])
async def test_without_a_key_nothing_is_reached(server: Server, headers: dict[str, str], path: str) -> None:
    said = {name: value.format(key=server.secret) for name, value in headers.items()}
    answer = await server("GET", path, None, headers=said)
    assert error_of(answer, 401)["code"] == "invalid_api_key"
    assert answer.headers["www-authenticate"] == "Bearer"
    assert server.counted() == ['{code="invalid_api_key"} 1.0']


async def test_a_wrong_key_is_refused_before_the_body_is_read(server: Server) -> None:
    received = await raw(server, receive=never, headers={"authorization": "Bearer wrong"})
    assert received[0]["status"] == 401


async def test_a_key_says_who_calls(server: Server) -> None:
    answer = await server("GET", "/who", headers={"X-Request-Id": "mine"})
    assert answer.json() == {"key": server.key_id, "id": "mine"}
    assert (await server("GET", "/who", None, headers={"authorization": f"bearer  {server.secret}"})).is_success


async def test_the_caller_knows_how_users_are_named(server: Server) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["caller"])

    await raw(server, app=app)
    assert seen[0].naming == Naming.of(server.settings)
    assert seen[0].user == "ada"


@pytest.mark.parametrize("path", ["/health", "/page"])
async def test_open_paths_need_no_key(server: Server, path: str) -> None:
    assert (await server("GET", path, None)).json() == {"caller": None}


async def test_a_revoked_key_stops_at_once(server: Server) -> None:
    assert (await server("GET", "/who")).is_success
    Keys.open(server.keys.path).revoke(server.key_id)
    assert error_of(await server("GET", "/who"), 401)["code"] == "invalid_api_key"


async def test_a_name_that_points_here_is_not_enough(tmp_path: Path) -> None:
    server = Server(tmp_path / "a.json")
    for path in ("/who", "/page"):
        answer = await server("GET", path, headers={"Host": "evil.example"})
        assert error_of(answer, 400)["param"] == "Host"
    assert (await server("GET", "/health", None, headers={"Host": "10.0.0.1"})).is_success
    for host in ("localhost:1", "LOCALHOST", "[::1]:80", "127.0.0.1"):
        assert (await server("GET", "/who", headers={"Host": host})).is_success
    named = Server(tmp_path / "b.json", trusted_hosts="chat.example.com, *.example.org")
    for host, good in (
        ("chat.example.com:443", True),
        ("a.example.org", True),
        ("example.org", False),
        ("localhost", False),
    ):
        assert (await named("GET", "/who", headers={"Host": host})).is_success is good


async def test_too_many_requests_of_a_key_wait(tmp_path: Path) -> None:
    server = Server(tmp_path / "keys.json", rate=6, burst=2)
    _, other = server.keys.create("app")
    statuses = [(await server("GET", "/who")).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    answer = await server("GET", "/who")
    assert error_of(answer, 429)["code"] == "rate_limited"
    assert 1 <= int(answer.headers["retry-after"]) <= 10
    assert (await server("GET", "/who", other)).is_success
    assert (await server("GET", "/health", None)).is_success


# ---- bodies


async def never() -> Any:
    raise AssertionError("the body was read")


async def raw(server: Server, receive: Any = None, headers: Any = (), app: Any = None) -> list[dict[str, Any]]:
    """Call the guard as a server does; return what it sends."""
    said = {"authorization": f"Bearer {server.secret}", "host": "localhost", "content-type": "application/json"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/echo/ada",
        "raw_path": b"/echo/ada",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in {**said, **dict(headers)}.items()],
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "client": None,
        "server": None,
    }
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def whole() -> Any:
        return {"type": "http.request", "body": b'{"text": "hello"}', "more_body": False}

    guarded = server.app
    if app is not None:
        guarded = Guard(app, settings=server.settings, keys=server.keys, metrics=server.metrics)
    await guarded(scope, receive or whole, send)
    return sent


async def test_a_body_reaches_the_app_whole_however_it_was_cut(server: Server) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for part in (b'{"te', b'xt": ', b'"hello"}'):
            yield part

    answer = await server("POST", "/echo/ada", content=parts(), headers={"content-type": "application/json"})
    assert answer.json() == {"text": "hello"}


async def test_a_body_is_refused_by_the_length_it_declares(tmp_path: Path) -> None:
    server = Server(tmp_path / "keys.json", max_body_bytes=100)
    for length in ("101", "9" * 5_000):
        sent = await raw(server, receive=never, headers={"content-length": length})
        assert sent[0]["status"] == 413
    assert dict(sent[0]["headers"])[b"connection"] == b"close"
    assert (await server("POST", "/echo/ada", json={"text": "x" * 89})).is_success  # 100 bytes
    assert error_of(await server("POST", "/echo/ada", json={"text": "x" * 90}), 413)["code"] == "body_too_large"


async def test_a_body_without_a_length_is_refused_by_what_came(tmp_path: Path) -> None:
    server = Server(tmp_path / "keys.json", max_body_bytes=100)
    asked = 0

    async def endless() -> Any:
        nonlocal asked
        asked += 1
        return {"type": "http.request", "body": b"x" * 40, "more_body": True}

    sent = await raw(server, receive=endless)
    assert (sent[0]["status"], asked) == (413, 3)


async def test_a_body_that_comes_too_slowly_is_refused(tmp_path: Path) -> None:
    server = Server(tmp_path / "keys.json", body_timeout_s=0.05)

    async def slow() -> Any:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    sent = await asyncio.wait_for(raw(server, receive=slow), 5)
    assert sent[0]["status"] == 408
    assert b'"request_timeout"' in sent[1]["body"]


async def test_the_app_sees_that_the_client_leaves(server: Server) -> None:
    messages = [{"type": "http.request", "body": b"{}", "more_body": False}, {"type": "http.disconnect"}]
    seen = []

    async def receive() -> Any:
        return messages.pop(0)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([await receive(), await receive()])

    assert await raw(server, receive, app=app) == []
    assert [each["type"] for each in seen] == ["http.request", "http.disconnect"]


async def test_a_client_that_leaves_before_its_body_ends_is_no_error(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    async def gone() -> Any:
        return {"type": "http.disconnect"}

    with caplog.at_level(logging.INFO, "pad_langchain.server"):
        assert await raw(server, gone) == []
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert " 499 " in caplog.text
    assert server.counted() == []


# ---- answers


async def test_a_stream_is_not_held_back(server: Server) -> None:
    sent_when_made = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for number in range(3):
            await send({"type": "http.response.body", "body": b"%d" % number, "more_body": number < 2})
            sent_when_made.append(len(sent))

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(app, settings=server.settings, keys=server.keys, metrics=server.metrics)
    scope = {"type": "http", "method": "GET", "path": "/health", "headers": []}
    await guard(scope, never_ending, send)
    assert sent_when_made == [2, 3, 4]
    assert [each.get("body") for each in sent] == [None, b"0", b"1", b"2"]


async def never_ending() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.mark.parametrize(
    ("said", "answered"),
    [("abc-1", "abc-1"), ("x" * 300, "x" * 128), ("a\tb\xe9 c", "abc"), ("", None), (" ", None)],
)
async def test_every_answer_has_a_request_id(server: Server, said: str, answered: str | None) -> None:
    for method, path in (("GET", "/who"), ("GET", "/nowhere"), ("GET", "/stream")):
        got = (await server(method, path, headers=[("X-Request-Id", said.encode("latin-1"))])).headers["x-request-id"]
        assert got == answered or (answered is None and len(got) == 32)


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "param"),
    [
        ("GET", "/nowhere", 404, "unknown_url", None),
        ("DELETE", "/who", 405, "method_not_allowed", None),
        ("POST", "/echo/ada", 400, "invalid_value", "text"),
        ("GET", "/fail/bug", 500, "internal_error", None),
        ("GET", "/fail/busy", 429, "queue_full", None),
        ("GET", "/fail/store", 503, "memory_unavailable", None),
        ("GET", "/fail/api", 400, "unsupported_value", "n"),
        ("GET", "/plain", 503, "not_ready", None),
    ],
)
async def test_every_error_gets_openais_shape(
    server: Server, method: str, path: str, status: int, code: str, param: str | None
) -> None:
    answer = await server(method, path, **({"json": {"other": HUSH}} if method == "POST" else {}))
    error = error_of(answer, status)
    assert (error["code"], error["param"]) == (code, param)
    assert HUSH not in answer.text
    assert server.counted() == [f'{{code="{code}"}} 1.0']


async def test_an_errors_own_headers_stay(server: Server) -> None:
    assert (await server("DELETE", "/who")).headers["allow"] == "GET"
    plain = await server("GET", "/plain")
    assert (plain.headers["retry-after"], plain.headers["x-kept"]) == ("7", "yes")


async def test_broken_json_is_a_bad_value(server: Server) -> None:
    answer = await server("POST", "/echo/ada", content=b"{", headers={"content-type": "application/json"})
    error = error_of(answer, 400)
    assert (error["code"], error["param"], error["message"]) == (
        "invalid_value",
        None,
        "The body has to be JSON, and is not.",
    )


async def test_a_stream_that_fails_is_cut_and_not_ended(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/stream",
        "query_string": b"fails=true",
        "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {server.secret}".encode())],
    }
    waits = asyncio.Event()
    messages = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not messages:
            await waits.wait()
        return messages.pop()

    with pytest.raises(BrokenOffError) as broken:
        await server.app(scope, receive, send)
    assert [each["type"] for each in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["more_body"] is True
    assert HUSH not in str(broken.value) + caplog.text
    assert server.counted() == ['{code="internal_error"} 1.0']


async def test_a_browser_may_call_from_the_origins_that_are_named(tmp_path: Path) -> None:
    server = Server(tmp_path / "keys.json", allowed_origins="https://chat.example.com")
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    for origin, status in (("https://chat.example.com", 200), ("https://evil.example", 400)):
        answer = await server("OPTIONS", "/who", None, headers={"Origin": origin, **asked})
        assert answer.status_code == status
    refused = await server("GET", "/who", None, headers={"Origin": "https://chat.example.com"})
    assert error_of(refused, 401)
    assert refused.headers["access-control-allow-origin"] == "https://chat.example.com"
    closed = Server(tmp_path / "other.json")
    answer = await closed("OPTIONS", "/who", None, headers={"Origin": "https://chat.example.com", **asked})
    assert answer.status_code == 401


async def test_a_websocket_is_closed(server: Server) -> None:
    sent = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    guard = Guard(server.app, settings=server.settings, keys=server.keys, metrics=server.metrics)
    await guard({"type": "websocket", "path": "/health", "headers": []}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]


# ---- the log


async def test_the_log_has_a_line_for_each_request_and_no_secret(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "pad_langchain"):
        await server("GET", "/who", headers={"X-Request-Id": "mine"})
        await server("POST", f"/echo/{HUSH}", json={"text": HUSH})
        await server("POST", f"/echo/{HUSH}?q={HUSH}", json={"wrong": HUSH})
        await server("GET", "/who", f"pad-{HUSH}")
        await server("GET", "/a%0ab")
        for how in ("bug", "store", "api"):
            await server("GET", f"/fail/{how}")
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("pad_langchain")]
    assert lines[0].startswith("GET /who 200 ")
    assert lines[0].endswith(f" ms request=mine key={server.key_id}")
    assert lines[1].startswith("POST /echo/{user} 200 ")
    assert lines[3].endswith(" key=-")
    assert all("\n" not in line for line in lines if line.startswith("GET"))
    for secret in (HUSH, server.secret, server.secret[-8:]):
        assert secret not in "\n".join(lines)
    assert not any(record.exc_info for record in caplog.records)
    bug = next(line for line in lines if line.startswith("builtins.KeyError"))
    assert "in fail" in bug


async def test_what_the_server_got_wrong_is_said_to_be_in_the_log(server: Server) -> None:
    assert error_of(await server("GET", "/fail/bug"), 500)["message"] == INTERNAL
