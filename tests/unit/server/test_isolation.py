"""Does a call ever reach another user? Hypothesis draws keys, roles, tenants, names, tokens, ids and threads.

    PAD_ISOLATION_CALLS=10000 python -m pytest tests/unit/server/test_isolation.py -s --timeout 0

draws 10,000 calls; `make test` draws some hundreds. Whom a call may act for is worked out here anew from its key and
names. What belongs to a user has their mark, "secret 3x". After each call its answer is searched for marks of others,
and all others have to have what they had before.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import PoleScorer
from pad_langchain.server.identity import memory_user
from pad_langchain.server.keys import Keys
from served_app import Served, serving, tiny_chat

CALLS = int(os.environ.get("PAD_ISOLATION_CALLS", "300"))
TOGETHER = 50  # calls of one example
SECRET, ISSUER = "s" * 32, "front"
# (role, tenant, user) of the keys. The same name is another user in another tenant.
CALLERS = [("user", tenant, user) for tenant, user in (("acme", "ada"), ("acme", "bob"), ("other", "ada"))]
CALLERS += [("user", "default", "ada"), ("user", "default", "tenant:acme:ada"), ("user", "acme", "é/../ada")]
CALLERS += [(role, tenant, None) for role in ("app", "admin") for tenant in ("acme", "other", "default")]
NAMES = ["ada", "bob", "eve", "ADA", "tenant:acme:ada", "tenant:other:ada", "é/../ada", "ada%2F", "*", "$ne", "0"]
THREADS = [None, "monday", "ada"]
EVENTS = [None, "1", "monday"]
OPERATIONS = {
    "state": 20, "chat": 12, "thumb": 14, "choose": 3, "take back": 8, "preferences": 16, "history": 6,
    "export": 8, "erase": 1, "admin export": 8, "admin erase": 1, "compare": 1,
}  # fmt: skip


@dataclass
class World:
    """A running server, and what was told to whom."""

    served: Served
    keys: list[str]
    ids: dict[str, list[str]] = field(default_factory=dict)  # answers, by the memory's id of their user
    seen: Counter[str] = field(default_factory=Counter)
    marks: dict[str, int] = field(default_factory=dict)

    def mark(self, owner: str) -> str:
        return f"secret {self.marks.setdefault(owner, len(self.marks))}x"

    def kept(self) -> dict[str, str]:
        memory = self.served.memory
        return {user: repr(memory.events(user)) for user in memory.users()}

    def begin_anew(self) -> None:
        for user in self.served.memory.users():
            self.served.memory.forget(user)
        self.served.memory.responses.clear()
        self.ids.clear()


@dataclass(frozen=True)
class Call:
    """One call. What it names where `honest` is whom its key may name, and ids of their own."""

    caller: int  # of CALLERS; those after them are no valid keys
    operation: str
    honest: bool
    name: int
    places: frozenset[str]  # where it names the user: header, token, body
    other: int | None  # another name, in the last of these places
    token: str  # what is wrong with the token
    pick: int  # which id
    thread: str | None
    event: str | None


calls = st.builds(
    Call,
    st.one_of(st.integers(0, len(CALLERS) - 1), st.integers(0, len(CALLERS) + 1)),
    st.sampled_from([name for name, weight in OPERATIONS.items() for _ in range(weight)]),
    st.integers(0, 2).map(bool),
    st.integers(0, len(NAMES) - 1),
    st.frozensets(st.sampled_from(["header", "token", "body"]), max_size=2),
    st.none() | st.none() | st.integers(0, len(NAMES) - 1),
    st.sampled_from([*["right"] * 4, "expired", "signature", "issuer", "no subject"]),
    st.integers(0, 30),
    st.sampled_from(THREADS),
    st.sampled_from(EVENTS),
)


@dataclass
class Sent:
    """A call as it is sent, and whom it may act for: the memory's id; None is nobody."""

    headers: dict[str, Any]
    body: dict[str, Any]
    target: str | None
    path_user: str


def prepared(world: World, call: Call) -> Sent:
    headers: dict[str, Any] = {}
    body: dict[str, Any] = {}
    if call.caller >= len(CALLERS):  # revoked, or never made
        headers["Authorization"] = f"Bearer {world.keys[call.caller]}"
        return Sent(headers, body, None, NAMES[call.name])
    headers["Authorization"] = f"Bearer {world.keys[call.caller]}"
    role, tenant, own = CALLERS[call.caller]
    name = own if call.honest and own else NAMES[call.name]
    places = sorted(call.places | ({"header"} if call.honest and role == "app" else set()))
    if call.operation not in ("state", "thumb", "choose", "chat", "compare"):
        places = [place for place in places if place != "body"]
    named, wrong = [], False
    for number, place in enumerate(places):
        said = name
        if not call.honest and call.other is not None and number == len(places) - 1:
            said = NAMES[call.other]
        token = "right" if call.honest else call.token
        wrong = wrong or (place == "token" and token != "right")
        named.append(said)
        _name(headers, body, place, said, token)
    administers = call.operation.startswith("admin")
    if role == "admin" or administers:
        allowed = role == "admin" and administers
        return Sent(headers, body, memory_user(tenant, name) if allowed else None, name)
    may = not wrong and len(set(named)) <= 1 and (role == "app" or not set(named) - {own})
    target = (own or (named[0] if named else None)) if may else None
    return Sent(headers, body, None if target is None else memory_user(tenant, target), name)


def _name(headers: dict[str, Any], body: dict[str, Any], place: str, user: str, token: str) -> None:
    if place == "header":
        headers["X-PAD-User"] = user.encode()
    elif place == "body":
        body["user"] = user
    else:
        claims: dict[str, Any] = {"sub": user, "iss": ISSUER, "exp": int(time.time()) + 60}
        if token == "expired":
            claims["exp"] -= 120
        if token == "issuer":
            claims["iss"] = "somebody"
        if token == "no subject":
            del claims["sub"]
        secret = SECRET if token != "signature" else "x" * 32
        headers["X-OpenWebUI-User-Jwt"] = jwt.encode(claims, secret, "HS256")


async def answered(world: World, call: Call, sent: Sent, client: httpx.AsyncClient) -> httpx.Response:
    """Send a call."""
    target = sent.target
    mine = world.ids.get(target or "", [])
    every = [id for ids in world.ids.values() for id in ids]
    answers = (mine if call.honest else every) or ["chatcmpl-none"]
    first, second = answers[call.pick % len(answers)], answers[(call.pick + 1) % len(answers)]
    mark = world.mark(target) if target is not None else "nothing"
    asked = [{"role": "user", "content": f"what is {mark}?"}]
    extra = {"id": call.event} if call.event and not call.honest else {}
    thread = {"thread": call.thread} if call.thread else {}
    get, post, delete = client.get, client.post, client.delete
    headers = sent.headers
    match call.operation:
        case "state":
            said = {"kind": "statement", "text": f"mention {mark} thing {call.pick % 5}", **extra, **thread}
            return await post("/v1/feedback", json={**said, **sent.body}, headers=headers)
        case "thumb":
            said = {"kind": "thumb", "response_id": first, "up": bool(call.pick % 2), **extra}
            return await post("/v1/feedback", json={**said, **sent.body}, headers=headers)
        case "choose":
            said = {"kind": "choice", "chosen_id": first, "rejected_id": second}
            return await post("/v1/feedback", json={**said, **sent.body}, headers=headers)
        case "chat":
            said = {"model": "pad-demo", "messages": asked, "max_tokens": 2, "pad": {"thread_id": call.thread}}
            return await post("/v1/chat/completions", json={**said, **sent.body}, headers=headers)
        case "compare":
            said = {"messages": asked, "max_completion_tokens": 2}
            return await post("/v1/comparisons", json={**said, **sent.body}, headers=headers)
        case "take back":
            own = [event.id for event in world.served.memory.events(target)] if target else []
            event = own[call.pick % len(own)] if own and call.honest else _any_event(world, call.pick)
            erase = {"erase": "true"} if call.pick % 15 == 0 else {}
            return await delete(f"/v1/feedback/{quote(str(event), safe='')}", params=erase, headers=headers)
        case "preferences":
            query = {"query": "thing"} if call.pick % 2 else {}
            return await get("/v1/preferences", params={**query, **thread}, headers=headers)
        case "history":
            return await get("/v1/preferences/history", headers=headers)
        case "export":
            return await get("/v1/me", headers=headers)
        case "erase":
            return await delete("/v1/me", headers=headers)
    path = f"/admin/users/{quote(sent.path_user, safe='')}"
    return await (get if call.operation == "admin export" else delete)(path, headers=headers)


def _any_event(world: World, pick: int) -> str:
    memory = world.served.memory
    every = [event.id for user in memory.users() for event in memory.events(user)]
    return str(every[pick % len(every)]) if every else "none"


async def checked(world: World, call: Call, client: httpx.AsyncClient) -> None:
    """Send a call and look for whom it reached."""
    sent = prepared(world, call)
    before = world.kept()
    answer = await answered(world, call, sent, client)
    after, target = world.kept(), sent.target
    about = f"{call} for {target!r} was answered by {answer.status_code}: {answer.text[:500]}"
    marks = set(re.findall(r"secret \d+x", answer.text))
    assert marks <= ({world.mark(target)} if target is not None else set()), about
    changed = {user for user in before.keys() | after.keys() if before.get(user) != after.get(user)}
    assert changed <= {target}, f"{about} It changed {changed - {target}}."
    assert set(re.findall(r"secret \d+x", after.get(target or "", ""))) <= {world.mark(target or "")}, about
    assert answer.status_code < 500, about
    if target is None:
        nobody = call.operation == "chat" and answer.status_code == 200
        assert nobody or answer.status_code in (400, 401, 403, 404), about
        world.seen["refused, or for nobody"] += 1
        return
    world.seen["for their own user" if answer.is_success else "not found"] += 1
    if answer.is_success and call.operation in ("chat", "compare"):
        said = answer.json()
        new = [said] if call.operation == "chat" else [side for side in (said["first"], said["second"]) if side]
        world.ids.setdefault(target, []).extend(one["id"] for one in new)
    if call.operation in ("erase", "admin erase") and answer.is_success:
        world.ids.pop(target, None)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder, chat = tmp_path_factory.mktemp("isolation"), tiny_chat()
    chat.memory.scorer = PoleScorer()
    with serving(folder, chat, jwt_secret=SECRET, jwt_issuer=ISSUER) as served:
        keys = Keys(folder / "keys.json")
        made = [keys.create(role, tenant=tenant, user=user)[1] for role, tenant, user in CALLERS]
        revoked, secret = keys.create("app", tenant="acme")
        keys.revoke(revoked)
        yield World(served, [*made, secret, "pad-never-made"])


@pytest.mark.slow
def test_no_call_reaches_another_user(world: World) -> None:
    client = httpx.AsyncClient(transport=httpx.ASGITransport(world.served.app), base_url="http://localhost")

    @settings(
        max_examples=max(1, CALLS // TOGETHER),
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.lists(calls, min_size=TOGETHER, max_size=TOGETHER))
    def run(drawn: list[Call]) -> None:
        world.begin_anew()
        for call in drawn:
            runner.run(checked(world, call, client))

    with asyncio.Runner() as runner:
        run()
        runner.run(client.aclose())
    count = sum(world.seen.values())
    sys.stdout.write(f"{count:,} calls: {dict(world.seen)}\n")
    assert count >= CALLS
    assert world.seen["for their own user"] >= count / 3
    assert world.seen["refused, or for nobody"] >= count / 10
