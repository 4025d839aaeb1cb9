"""The app as a whole: who may call which route, when it is ready, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from pad_langchain.chat import Chat
from pad_langchain.errors import ModelLoadError
from pad_langchain.server import ServerSettings, build_app
from pad_langchain.server.guard import PROBES
from pad_langchain.server.page.login import LOGIN_PATHS
from served_app import Served, serving, tiny_chat
from waiting import Heartbeat, auntil


def routes(served: Served) -> set[tuple[str, str]]:
    """Every (method, path) that the app answers."""
    every = [route for route in _routes(served.app.routes) if isinstance(route, Route | APIRoute)]
    return {(method, route.path) for route in every for method in (route.methods or ()) if method != "HEAD"}


def _routes(routes: Any) -> Any:
    for route in routes:
        yield route
        yield from _routes(
            getattr(route, "routes", ()) or getattr(getattr(route, "original_router", None), "routes", ())
        )


async def test_every_route_but_the_probes_and_the_page_needs_a_key(served: Served) -> None:
    found = routes(served)
    open_paths = PROBES | LOGIN_PATHS | {"/"}
    assert {path for _, path in found} >= {
        *PROBES,
        "/metrics",
        "/openapi.json",
        "/v1/models",
        "/v1/chat/completions",
        "/v1/feedback",
        "/v1/comparisons",
        "/v1/preferences",
        "/v1/me",
        "/admin/users/{user:path}",
    }
    async with served.client(None) as nobody:
        for method, path in found:
            answer = await nobody.request(method, path.replace("{", "").replace("}", ""))
            if path in open_paths:
                assert answer.status_code in (200, 204, 400), path
                continue
            assert answer.status_code == 401, path
            assert answer.json()["error"]["code"] == "invalid_api_key"


async def test_no_page_loads_scripts_from_elsewhere(ada: httpx.AsyncClient) -> None:
    assert (await ada.get("/openapi.json")).json()["info"]["title"] == "pad-langchain"
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert (await ada.get(path)).status_code == 404


async def test_models_are_listed(ada: httpx.AsyncClient) -> None:
    (model,) = (await ada.get("/v1/models")).json()["data"]
    assert model.keys() == {"id", "object", "created", "owned_by", "max_model_len"}
    assert (model["id"], model["max_model_len"]) == ("pad-demo", 512)
    assert (await ada.get("/v1/models/pad-demo")).json() == model
    unknown = await ada.get("/v1/models/gpt-5")
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2", 404, "unknown_url"),
        ("GET", "/v1/models/", 404, "model_not_found"),
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("PUT", "/v1/me", 405, "method_not_allowed"),
    ],
)
async def test_what_is_not_there_says_so(
    ada: httpx.AsyncClient, method: str, path: str, status: int, code: str
) -> None:
    answer = await ada.request(method, path)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_only_an_administrator_sees_what_is_counted(served: Served, ada: httpx.AsyncClient) -> None:
    said = {"model": "pad-demo", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2, "stream": True}
    await ada.post("/v1/chat/completions", json=said)
    await ada.post("/v1/feedback", json={"kind": "statement", "text": "be brief"})
    assert (await ada.get("/metrics")).status_code == 403
    async with served.client("admin") as admin:
        counted = (await admin.get("/metrics")).text
    for line in (
        "pad_completion_tokens_total 2.0",
        "pad_time_to_first_token_seconds_count 1.0",
        'pad_feedback_total{kind="statement"} 1.0',
        'pad_memory_seconds_count{operation="record"} 1.0',
        "pad_requests_running 0.0",
    ):
        assert line in counted.splitlines()


async def test_the_event_loop_goes_on_while_a_prompt_is_read(served: Served, ada: httpx.AsyncClient) -> None:
    said = {"model": "pad-demo", "messages": [{"role": "user", "content": "a b " * 60_000}]}
    async with Heartbeat() as beat:
        assert (await ada.post("/v1/chat/completions", json=said)).status_code == 400
    assert max(beat.busy) < 0.1


async def test_a_small_request_does_not_wait_for_long_ones_that_are_read(
    served: Served, ada: httpx.AsyncClient
) -> None:
    def said(words: int) -> dict[str, Any]:
        return {"model": "pad-demo", "messages": [{"role": "user", "content": "a b " * words}], "max_tokens": 2}

    lock = served.chat.engine.prompts._long_lock
    with lock:  # as if the first of them took for ever
        long = [asyncio.ensure_future(ada.post("/v1/chat/completions", json=said(20_000))) for _ in range(8)]
        await auntil(lambda: served.app.state.service.requests == 8)
        assert (await ada.post("/v1/chat/completions", json=said(2))).status_code == 200
        assert not any(each.done() for each in long)
    for answer in await asyncio.gather(*long):
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "context_length_exceeded")


# ---- beginning and end


async def test_it_is_ready_when_it_is_warm_and_until_it_drains(tmp_path: Path) -> None:
    unloaded = Served(build_app(ServerSettings("pad-demo", keys=str(tmp_path / "keys.json"))))
    async with unloaded.client(None) as nobody:
        assert (await nobody.get("/health")).status_code == 200
        answer = await nobody.get("/ready")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    with serving(tmp_path, tiny_chat()) as served:
        async with served.client(None) as nobody:
            assert (await nobody.get("/ready")).json() == {"status": "ready"}
            served.app.state.draining = True
            answer = await nobody.get("/ready")
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
            assert (await nobody.get("/health")).status_code == 200
            served.chat.engine.close()
            assert (await nobody.get("/health")).status_code == 503


def test_engine_and_memory_end_with_the_app(tmp_path: Path) -> None:
    chat = tiny_chat()
    with serving(tmp_path, chat) as served:
        assert served.app.state.service.chat is chat
    assert chat.engine.closed
    with pytest.raises(Exception, match="closed"):
        chat.memory.users()


def test_a_model_that_does_not_load_ends_the_app_before_it_begins(tmp_path: Path) -> None:
    def load(settings: ServerSettings) -> Chat:
        raise ModelLoadError("no such model")

    app = build_app(ServerSettings("pad-demo", keys=str(tmp_path / "keys.json")), load)
    with pytest.raises(ModelLoadError, match="no such model"), serving(tmp_path, tiny_chat(), app=app):
        pass


async def test_a_server_without_a_memory_answers_and_keeps_nothing(tmp_path: Path) -> None:
    with serving(tmp_path, tiny_chat(memory=False)) as served:
        async with served.client("ada") as ada:
            said = {"model": "pad-demo", "messages": [{"role": "user", "content": "hi"}]}
            found = await ada.post("/v1/chat/completions", json=said)
            assert found.json()["pad"]["condition"] == []
            for method, path in (("GET", "/v1/preferences"), ("DELETE", "/v1/me"), ("DELETE", "/v1/feedback/x")):
                answer = await ada.request(method, path)
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_url")
