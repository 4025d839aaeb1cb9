"""What is known about a user, as they and their administrator may see it, and its end."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from pad_memory import Statement
from served_app import Served

WISH, OTHER = "be concise and brief", "use a formal tone"
ADA, BOB, EVE = "tenant:acme:ada", "tenant:acme:bob", "tenant:other:eve"
NAMES = {"key", "text", "weight", "confidence", "source", "why", "scope", "evidence", "valid_from", "valid_to"}


@pytest.fixture(autouse=True)
async def _afresh(served: Served) -> None:
    for user in (ADA, BOB, EVE):
        served.memory.forget(user)
    served.memory.record(ADA, Statement(WISH))
    served.memory.record(ADA, Statement(f"In this conversation, {OTHER}", thread="monday"))
    served.memory.record(EVE, Statement(OTHER))


async def listed(client: httpx.AsyncClient, path: str = "", **params: str) -> list[dict[str, Any]]:
    answer = await client.get(f"/v1/preferences{path}", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.json()["object"] == "list"
    found: list[dict[str, Any]] = answer.json()["data"]
    assert all(item.keys() == NAMES for item in found)
    return found


async def test_all_preferences_are_listed_with_their_reason(served: Served, ada: httpx.AsyncClient) -> None:
    found = await listed(ada)
    profile = served.memory.profile(ADA)
    assert [(item["key"], item["why"]) for item in found] == [
        (item.key, profile.why(item.key)) for item in profile.preferences
    ]
    assert {item["scope"] for item in found} == {None, "thread:monday"}


async def test_those_that_would_steer_now(ada: httpx.AsyncClient) -> None:
    assert [item["text"] for item in await listed(ada, query="what is rain?")] == [WISH]
    steering = await listed(ada, query="what is rain?", thread="monday")
    assert len(steering) == 2
    assert all(item["why"] for item in steering)


async def test_the_history_has_what_ended(served: Served, ada: httpx.AsyncClient) -> None:
    served.memory.record(ADA, Statement("be detailed and thorough"))
    ended, *_ = await listed(ada, "/history")
    assert ended["text"] == WISH
    assert ended["valid_to"] is not None
    assert ended["why"] is None


async def test_a_user_sees_only_their_own(served: Served, bob: httpx.AsyncClient) -> None:
    assert await listed(bob) == await listed(bob, "/history") == await listed(bob, query="x") == []
    assert (await bob.get("/v1/me")).json()["events"] == []
    assert (await bob.delete("/v1/me")).json() == {"object": "user.deleted", "deleted": True, "rows": 0}
    assert len(served.memory.events(ADA)) == 2
    named = await bob.get("/v1/me", headers={"X-PAD-User": "ada"})
    assert (named.status_code, named.json()["error"]["code"]) == (403, "user_mismatch")


async def test_a_user_exports_and_erases_all(served: Served, ada: httpx.AsyncClient) -> None:
    assert (await ada.get("/v1/me")).json() == served.memory.export(ADA)
    assert (await ada.delete("/v1/me")).json()["rows"] > 0
    assert served.memory.events(ADA) == ()
    assert len(served.memory.events(EVE)) == 1


async def test_an_administrator_reaches_the_users_of_their_tenant(served: Served) -> None:
    async with served.client("admin") as admin:
        assert (await admin.get("/admin/users/ada")).json() == served.memory.export(ADA)
        assert (await admin.get("/admin/users/eve")).json()["events"] == []
        assert (await admin.delete("/admin/users/eve")).json()["rows"] == 0
        assert (await admin.delete("/admin/users/ada")).json()["rows"] > 0
        assert (await admin.get("/v1/preferences")).status_code == 403
    assert served.memory.events(ADA) == ()
    assert len(served.memory.events(EVE)) == 1


@pytest.mark.parametrize("who", ["ada", "app"])
@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_nobody_else_administrates(served: Served, who: str, method: str) -> None:
    async with served.client(who) as client:
        answer = await client.request(method, "/admin/users/ada")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_allowed")
    assert len(served.memory.events(ADA)) == 2
