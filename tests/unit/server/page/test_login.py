"""Login of the page: the cookie is a key like any other, for the page of this server alone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from pad_langchain.server.keys import Keys
from served_app import Served

ORIGIN = "http://localhost"
CHANGES = {"Origin": ORIGIN, "X-PAD-Page": "1"}
WISH = {"kind": "statement", "text": "be brief"}


async def logged_in(served: Served, client: httpx.AsyncClient, who: str = "ada") -> str:
    answer = await client.post("/login", json={"key": served.keys[who]}, headers={"Origin": ORIGIN})
    assert (answer.status_code, answer.content) == (204, b"")
    return answer.headers["set-cookie"]


async def test_a_login_sets_a_cookie_that_scripts_and_other_sites_do_not_get(served: Served) -> None:
    async with served.client(None) as page:
        cookie = await logged_in(served, page)
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert cookie.startswith(f"pad_key={served.keys['ada']};")
        assert parts == {"httponly", "samesite=strict", "path=/", "max-age=2592000"}
        found = (await page.get("/session")).json()
        assert found == {
            "role": "user",
            "user": "ada",
            "user_header": "X-PAD-User",
            "model": "pad-demo",
            "remembers": True,
        }
        assert (await page.get("/v1/models")).is_success


async def test_over_tls_the_cookie_is_secure(served: Served) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(served.app), base_url="https://localhost") as page:
        answer = await page.post("/login", json={"key": served.keys["ada"]}, headers={"Origin": "https://localhost"})
    assert "; Secure" in answer.headers["set-cookie"]


async def test_a_form_is_sent_on_to_the_page(served: Served) -> None:
    # A page with Referrer-Policy no-referrer sends its forms with the Origin "null".
    said = {"Origin": "null", "Sec-Fetch-Site": "same-origin"}
    async with served.client(None) as page:
        answer = await page.post("/login", data={"key": served.keys["ada"]}, headers=said)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert (await page.get("/session")).json()["user"] == "ada"


@pytest.mark.parametrize(
    ("headers", "body", "status", "code"),
    [
        ({}, {"json": {"key": "pad-x"}}, 401, "invalid_api_key"),
        ({}, {"json": {"key": ""}}, 401, "invalid_api_key"),
        ({}, {"data": {"other": "x"}}, 401, "invalid_api_key"),
        ({}, {"json": {"secret": "x"}}, 400, "invalid_value"),
        ({}, {"content": b"{"}, 400, "invalid_value"),
        ({"Origin": "https://evil.example"}, {"json": {"key": "ada"}}, 403, "not_allowed"),
        ({"Origin": "http://localhost:8888"}, {"json": {"key": "ada"}}, 403, "not_allowed"),
        ({"Origin": "null"}, {"data": {"key": "ada"}}, 403, "not_allowed"),
        ({"Origin": "null", "Sec-Fetch-Site": "cross-site"}, {"data": {"key": "ada"}}, 403, "not_allowed"),
        ({}, {"json": {"key": "admin"}}, 403, "not_allowed"),
    ],
)
async def test_a_login_is_refused(
    served: Served, headers: dict[str, str], body: dict[str, Any], status: int, code: str
) -> None:
    for form in ("json", "data"):
        if body.get(form, {}).get("key") in served.keys:
            body = {form: {"key": served.keys[body[form]["key"]]}}
    async with served.client(None) as page:
        answer = await page.post("/login", headers=headers, **body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert "set-cookie" not in answer.headers


async def test_a_change_by_cookie_has_to_come_from_the_page(served: Served) -> None:
    async with served.client(None) as page:
        await logged_in(served, page)
        for headers in (
            {},
            {"X-PAD-Page": "1"},
            {"Origin": ORIGIN},
            {"Origin": "https://evil.example", "X-PAD-Page": "1"},
            {"Origin": "http://localhost:8888", "X-PAD-Page": "1"},
            {"Origin": "null", "X-PAD-Page": "1"},
        ):
            for method, path, body in (("POST", "/v1/feedback", WISH), ("DELETE", "/v1/me", None)):
                answer = await page.request(method, path, json=body, headers=headers)
                assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed"), headers
        assert served.memory.events("tenant:acme:ada") == ()
        assert (await page.post("/v1/feedback", json=WISH, headers=CHANGES)).status_code == 201
        assert (await page.delete("/v1/me", headers=CHANGES)).status_code == 200


async def test_the_cookie_is_no_way_around_roles(served: Served) -> None:
    async with served.client(None) as page:
        await logged_in(served, page)
        named = await page.get("/v1/preferences", headers={"X-PAD-User": "bob"})
        assert (named.status_code, named.json()["error"]["code"]) == (403, "user_mismatch")
        for path in ("/metrics", "/admin/users/bob"):
            assert (await page.get(path)).status_code == 403
    async with served.client(None) as page:
        await logged_in(served, page, "app")
        assert (await page.get("/v1/preferences", headers={"X-PAD-User": "bob"})).is_success
        assert (await page.get("/metrics")).status_code == 403
    async with served.client(None) as page:
        page.cookies.set("pad_key", served.keys["admin"])
        assert (await page.get("/session")).json() == {"role": None}
        said = {"model": "pad-demo", "messages": [{"role": "user", "content": "hi"}]}
        assert (await page.post("/v1/chat/completions", json=said, headers=CHANGES)).status_code == 403


async def test_a_bearer_precedes_the_cookie(served: Served) -> None:
    async with served.client(None) as page:
        await logged_in(served, page)
        bob = served.headers("bob")
        assert (await page.get("/session", headers=bob)).json()["user"] == "bob"
        assert (await page.delete("/v1/me", headers=bob)).status_code == 200, "a bearer needs nothing of the page"
        assert (await page.get("/v1/me", headers={"Authorization": "Bearer wrong"})).status_code == 401
        assert (await page.get("/v1/me", headers={"Authorization": "Basic YTpi"})).status_code == 200


async def test_a_logout_ends_the_cookie(served: Served) -> None:
    async with served.client(None) as page:
        await logged_in(served, page)
        foreign = await page.post("/logout", headers={"Origin": "https://evil.example"})
        assert foreign.status_code == 403
        assert (await page.get("/session")).json()["role"] == "user"
        assert (await page.post("/logout", headers=CHANGES)).status_code == 204
        assert (await page.get("/session")).json() == {"role": None}
        assert (await page.get("/v1/me")).status_code == 401


async def test_a_revoked_key_ends_its_cookies(served: Served) -> None:
    keys: Keys = served.app.state.keys
    key_id, secret = keys.create("user", user="zoe")
    async with served.client(None) as page:
        await page.post("/login", json={"key": secret})
        assert (await page.get("/v1/me")).is_success
        keys.revoke(key_id)
        assert (await page.get("/v1/me")).status_code == 401
        assert (await page.get("/session")).json() == {"role": None}


async def test_no_cookie_is_in_the_log(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "pad_langchain.server"):
        async with served.client(None) as page:
            await logged_in(served, page)
            await page.get("/v1/me")
    assert "POST /login 204 " in caplog.text
    assert "key=key-" in caplog.text
    assert served.keys["ada"] not in caplog.text
