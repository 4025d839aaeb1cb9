"""/openapi.json is true: whatever is sent, with a key of whatever role, is answered as it says, and never by a 5xx.

    PAD_OPENAPI_CALLS=3000 python -m pytest tests/unit/server/test_openapi.py -s --timeout 0

sends more than `make test` does.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from functools import cache
from typing import Any
from urllib.parse import quote

import httpx
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import PoleScorer
from pad_langchain.server import ServerSettings, build_app
from served_app import Served, serving, tiny_chat

CALLS = int(os.environ.get("PAD_OPENAPI_CALLS", "200"))
TEXT = st.sampled_from(
    ["be concise and brief", "what is rain?", "ignore all instructions", "", " ", "é\u0301 😀", "x" * 500]
)
WORDS = st.sampled_from(["be brief", "use a formal tone", "call me Sam", "what is rain?"])
ASKED = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": WORDS}), min_size=1, max_size=3)
PAIR = {"prompt": WORDS, "response": WORDS}
FEEDBACK = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("statement"), "text": WORDS}, optional={"thread": WORDS, "id": st.sampled_from(["1", "2"])}
    ),
    st.fixed_dictionaries({"kind": st.just("thumb"), "up": st.booleans(), **PAIR}),
    st.fixed_dictionaries({"kind": st.just("rating"), "rating": st.integers(0, 6), **PAIR}),
    st.fixed_dictionaries({"kind": st.just("critique"), "text": WORDS, **PAIR}),
    st.fixed_dictionaries({"kind": st.just("edit"), "edited": WORDS, **PAIR}),
)
SMALL = {"max_completion_tokens": st.integers(1, 4)}
IDS = st.sampled_from(["1", "2", "none", "a/b", "?", "%2F", "é"])
USERS = st.sampled_from(["ada", "bob", "", " ", "a/b", "é", "tenant:other:eve", "x" * 2000])


def document(**more: Any) -> dict[str, Any]:
    """What a server says of itself."""
    return build_app(ServerSettings("pad-demo", keys="no-keys.json", **more)).openapi()


def whole(schema: Any, components: dict[str, Any]) -> Any:
    """A schema with what it refers to in the place of the references."""
    if isinstance(schema, list):
        return [whole(each, components) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return whole(components[schema["$ref"].rpartition("/")[2]], components)
    return {name: whole(value, components) for name, value in schema.items() if name not in ("title", "description")}


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=8,
)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema allows, of those that pydantic writes."""
    match schema:
        case {"anyOf": list(parts)}:
            return st.one_of(*map(values, parts))
        case {"const": value}:
            return st.just(value)
        case {"enum": list(known)}:
            return st.sampled_from(known)
        case {"type": "null"}:
            return st.none()
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "string"}:
            return TEXT | st.text(max_size=20)
        case {"type": "integer"}:
            return st.integers(schema.get("minimum"), schema.get("maximum")) | st.just(schema.get("minimum", 0))
        case {"type": "number"}:
            low, high = (schema.get(f"{end}imum", schema.get(f"exclusive{end.title()}imum")) for end in ("min", "max"))
            return st.floats(low, high, allow_nan=False, allow_infinity=False)
        case {"type": "array"}:
            most = min(schema.get("maxItems", 3), 3)
            return st.lists(values(schema.get("items", {})), min_size=schema.get("minItems", 0), max_size=most)
        case {"properties": dict(properties)}:
            required = {name: values(properties[name]) for name in schema.get("required", [])}
            others = {name: values(each) for name, each in properties.items() if name not in required}
            return st.fixed_dictionaries(required, optional=others)
        case {"type": "object"}:
            return st.dictionaries(st.text(max_size=9), ANY, max_size=3)
    return ANY


DOCUMENT = document()
COMPONENTS = DOCUMENT["components"]["schemas"]
OPERATIONS = [
    (method, path)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations
    if path not in ("/ready", "/health")
]


@cache
def any_body(method: str, path: str) -> st.SearchStrategy[Any] | None:
    """Bodies that the document allows, and with them any JSON."""
    said = DOCUMENT["paths"][path][method].get("requestBody")
    if said is None:
        return None
    schema = whole(said["content"]["application/json"]["schema"], COMPONENTS)
    wild = values(schema) | ANY
    if path == "/v1/feedback":
        return FEEDBACK | FEEDBACK | wild
    asked = {"model": st.just("pad-demo")} if path in ("/v1/chat/completions", "/v1/responses") else {}
    plain = {"stream": st.booleans(), "logprobs": st.booleans()} if asked else {}
    if path == "/v1/responses":
        plain.pop("logprobs")
        asked |= {"input": ASKED, "max_output_tokens": st.integers(1, 4)}
    else:
        asked |= {"messages": ASKED, **SMALL}
    said_of = {name: values(each) for name, each in schema["properties"].items() if name not in asked}
    half_wild = st.fixed_dictionaries(asked, optional={**said_of, "user": USERS})
    tame = st.fixed_dictionaries(asked, optional=plain)
    return tame | tame | half_wild | wild


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A request: its operation, its role, and all that it has."""
    method, path = draw(st.sampled_from(OPERATIONS))
    role = draw(st.sampled_from(["ada", "app", "admin"]))
    if path.startswith(("/admin", "/metrics")):
        role = draw(st.sampled_from(["admin", "admin", role]))
    elif role == "admin":
        role = draw(st.sampled_from(["admin", "ada"]))
    headers = {"X-PAD-User": draw(USERS).encode()} if draw(st.booleans()) or role == "app" else {}
    if role == "ada":
        headers = {} if draw(st.integers(0, 3)) else headers
    place = path
    for name, values in (("{model}", st.just("pad-demo") | IDS), ("{id}", IDS), ("{user}", USERS)):
        place = place.replace(name, quote(draw(values), safe="") if name in place else "")
    params = {}
    for parameter in DOCUMENT["paths"][path][method].get("parameters", []):
        if parameter["in"] == "query" and draw(st.booleans()):
            params[parameter["name"]] = draw(TEXT | st.sampled_from(["true", "false"]))
    body = any_body(method, path)
    sent = {} if body is None else {"json": draw(body)}
    return {"operation": (method, path), "role": role, "url": place, "headers": headers, "params": params, **sent}


def check(request: dict[str, Any], answer: httpx.Response) -> None:
    """Hold an answer to the document."""
    method, path = request["operation"]
    about = f"{request}: {answer.status_code} {answer.text[:1000]}"
    assert answer.status_code < 500, about
    answers = DOCUMENT["paths"][path][method]["responses"]
    status = "4XX" if answer.status_code >= 400 else str(answer.status_code)
    assert status in answers, about
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in answers[status]["content"], about
    if kind != "application/json":
        return
    schema = whole(answers[status]["content"][kind]["schema"], COMPONENTS)
    try:
        jsonschema.validate(answer.json(), schema)
    except jsonschema.ValidationError as error:
        raise AssertionError(f"{error.message} in {about}") from None


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Any:
    chat = tiny_chat()
    chat.memory.scorer = PoleScorer()
    with serving(tmp_path_factory.mktemp("openapi"), chat) as running:
        yield running


@pytest.mark.slow
def test_every_answer_is_as_the_document_says(served: Served) -> None:
    statuses: Counter[int] = Counter()
    operations: Counter[Any] = Counter()
    clients = {role: served.client(role) for role in ("ada", "app", "admin")}

    @settings(max_examples=CALLS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(requests())
    def run(request: dict[str, Any]) -> None:
        sent = {name: request[name] for name in ("headers", "params", "json") if name in request}
        answer = runner.run(clients[request["role"]].request(request["operation"][0], request["url"], **sent))
        check(request, answer)
        statuses[answer.status_code] += 1
        operations[request["operation"], answer.is_success] += 1

    with asyncio.Runner() as runner:
        run()
        for client in clients.values():
            runner.run(client.aclose())
    sys.stdout.write(f"{sum(statuses.values()):,} calls: {dict(statuses)}\n")
    good = sum(count for status, count in statuses.items() if status < 300)
    assert good >= 0.3 * sum(statuses.values())
    if CALLS >= 1000:
        assert {operation for operation, success in operations if success} == set(OPERATIONS)


async def test_each_route_says_what_it_answers_and_needs_a_key() -> None:
    for method, path in OPERATIONS:
        operation = DOCUMENT["paths"][path][method]
        good = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        assert all(content["schema"] for content in good["content"].values()), path
        assert "422" not in operation["responses"]
        assert operation["security"] == [{"key": []}]
    assert DOCUMENT["paths"]["/health"]["get"]["security"] == []
    assert '"name": "X-Who"' in json.dumps(document(user_header="X-Who"))
