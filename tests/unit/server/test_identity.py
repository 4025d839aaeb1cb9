"""Whose preferences a request is about: no call reaches another user."""

from __future__ import annotations

import base64
import functools
import json
import time
from types import MappingProxyType
from typing import Any

import jwt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import Headers

from pad_langchain.server.errors import ApiError
from pad_langchain.server.identity import Caller, Naming, administrator, memory_user, who
from pad_langchain.server.settings import ServerSettings

SECRET = "s" * 32
NAMING = Naming("X-PAD-User", "X-Jwt", SECRET, "open-webui")
ADA = Caller("user", "default", "key-1", "ada", NAMING)
APP = Caller("app", "default", "key-2", None, NAMING)
ADMIN = Caller("admin", "default", "key-3", None, NAMING)


@functools.cache
def token(sub: Any = "ada", *, key: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    said = {"sub": sub, "iss": "open-webui", "exp": time.time() + 86_400, **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, key, algorithm=algorithm)


def refusal(caller: Caller, headers: Any = MappingProxyType({}), body_user: str | None = None) -> tuple[int, str]:
    with pytest.raises(ApiError) as refused:
        who(caller, headers, body_user)
    assert SECRET not in refused.value.message
    return refused.value.status, refused.value.code


@pytest.mark.parametrize("body_user", [None, "", " ", "ada"])
@pytest.mark.parametrize("headers", [{}, {"X-PAD-User": "ada"}, {"x-jwt": token()}, {"x-pad-user": ""}])
def test_a_users_key_is_that_user(headers: dict[str, str], body_user: str | None) -> None:
    assert who(ADA, headers, body_user) == "ada"


@pytest.mark.parametrize(
    ("headers", "body_user"),
    [({}, "bob"), ({"x-pad-user": "bob"}, None), ({"X-JWT": token("bob")}, "ada"), ({"x-pad-user": "ada "}, None)],
)
def test_a_users_key_is_nobody_else(headers: dict[str, str], body_user: str | None) -> None:
    assert refusal(ADA, headers, body_user) == (403, "user_mismatch")


def test_a_key_without_its_user_reaches_nobody() -> None:
    assert refusal(Caller("user", "default", "key-1", None)) == (403, "user_mismatch")


@pytest.mark.parametrize(
    ("headers", "body_user", "user"),
    [
        ({}, None, None),
        ({}, "", None),
        ({"X-PAD-User": " "}, None, None),
        ({"X-PAD-User": "ada"}, None, "ada"),
        ({"x-jwt": token("eve")}, None, "eve"),
        ({}, "bob", "bob"),
        ({"x-pad-user": "ada", "X-Jwt": token("ada")}, "ada", "ada"),
        ({"X-PAD-User": "Zoë".encode().decode("latin-1")}, "Zoë", "Zoë"),
    ],
)
def test_an_app_names_its_user(headers: dict[str, str], body_user: str | None, user: str | None) -> None:
    assert who(APP, headers, body_user) == user


@pytest.mark.parametrize(
    ("headers", "body_user"),
    [
        ({"x-pad-user": "ada"}, "bob"),
        ({"x-jwt": token("ada")}, "bob"),
        ({"x-jwt": token("ada"), "x-pad-user": "bob"}, None),
        ({"X-PAD-User": "ada", "x-pad-user": "bob"}, None),
    ],
)
def test_sources_that_disagree_are_refused(headers: dict[str, str], body_user: str | None) -> None:
    assert refusal(APP, headers, body_user) == (403, "user_mismatch")


def test_a_header_that_occurs_twice_has_to_say_the_same() -> None:
    twice = Headers(raw=[(b"x-pad-user", b"ada"), (b"x-pad-user", b"bob")])
    with pytest.raises(ApiError, match="several users"):
        who(APP, twice)
    assert who(APP, Headers(raw=[(b"x-pad-user", b"ada")] * 2)) == "ada"


def test_a_header_that_is_no_utf8_is_refused() -> None:
    assert refusal(APP, {"x-pad-user": "Zoë"}) == (400, "invalid_value")


def test_an_administrator_has_no_chat() -> None:
    assert refusal(ADMIN) == (403, "not_allowed")
    administrator(ADMIN)
    for caller in (ADA, APP):
        with pytest.raises(ApiError, match="admin key") as refused:
            administrator(caller)
        assert (refused.value.status, refused.value.code) == (403, "not_allowed")


def unsigned() -> str:
    parts = ({"alg": "none", "typ": "JWT"}, {"sub": "ada", "iss": "open-webui", "exp": time.time() + 86_400})
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


BAD_TOKENS = {
    "expired": token(exp=time.time() - 1),
    "signed by another": token(key="o" * 32),
    "of another issuer": token(iss="somebody"),
    "of no issuer": token(iss=None),
    "without an end": token(exp=None),
    "without a user": token(None),
    "of a blank user": token(" "),
    "another algorithm": token(algorithm="HS512", key="s" * 64),
    "not yet": token(nbf=time.time() + 86_400, exp=time.time() + 90_000),
    "cut off": token()[:-2],
    "unsigned": unsigned(),
    "empty": "",
    "three parts": "a.b.c",
    "no ASCII": "☃",
}


@pytest.mark.parametrize("bad", BAD_TOKENS)
def test_a_bad_token_is_refused(bad: str) -> None:
    for caller in (APP, ADA):
        assert refusal(caller, {"x-jwt": BAD_TOKENS[bad]}) == (403, "not_allowed")


def test_a_token_that_cannot_be_checked_is_refused() -> None:
    unknowing = Caller("app", "default", "key-2", None, Naming())
    assert refusal(unknowing, {"X-OpenWebUI-User-Jwt": token()}) == (403, "not_allowed")


def test_the_settings_say_how_users_are_named() -> None:
    said = ServerSettings("m", user_header="X-U", jwt_header="X-T", jwt_secret=SECRET, jwt_issuer="i")
    assert Naming.of(said) == Naming("X-U", "X-T", SECRET, "i")
    assert Naming.of(ServerSettings("m")) == Naming()
    assert SECRET not in repr(Naming.of(said)) + repr(ADA)


names = st.sampled_from(["ada", "bob", "ada ", "ADA", "", " ", "tenant:default:ada"])
sources = st.lists(
    st.tuples(
        st.sampled_from(["X-PAD-User", "x-pad-user", "X-Jwt", "x-JWT", "X-Other", "Authorization"]),
        names,
        st.sampled_from([SECRET, "w" * 32]),
    ),
    max_size=3,
)


@settings(max_examples=300, deadline=None)
@given(caller=st.sampled_from([ADA, APP, ADMIN]), said=sources, body_user=st.none() | names)
def test_no_call_reaches_another_user(caller: Caller, said: list[tuple[str, str, str]], body_user: str | None) -> None:
    headers = Headers(
        raw=[
            (name.lower().encode(), (token(user, key=key) if "jwt" in name.lower() else user).encode())
            for name, user, key in said
        ]
    )
    told = {user for name, user, key in said if "jwt" in name.lower() and key == SECRET}
    told |= {user for name, user, _ in said if "user" in name.lower()} | {body_user or ""}
    told = {user for user in told if user.strip()}
    forged = any("jwt" in name.lower() and (key != SECRET or not user.strip()) for name, user, key in said)
    several = told - {"ada"} if caller is ADA else len(told) > 1
    if caller is ADMIN or forged or several:
        assert refusal(caller, headers, body_user)[0] == 403
    else:
        assert who(caller, headers, body_user) == ("ada" if caller is ADA else next(iter(told), None))


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["default", "tenant:", "tenant:default:a", "a:b", "a", "b:a", "%3A", ":"]
)
pairs = st.tuples(texts, texts)


@settings(max_examples=300, deadline=None)
@given(one=pairs, other=pairs)
def test_no_two_users_of_tenants_share_an_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (memory_user(*one) == memory_user(*other)) == (one == other)


def test_near_pairs_stay_apart() -> None:
    near = [
        ("default", "a"),
        ("default", "tenant:default:a"),
        ("default", "tenant:a:b"),
        ("a", "b"),
        ("a:b", ""),
        ("", "a:b"),
    ]
    near += [("a%3Ab", ""), ("default", "tenant:default:tenant:default:a"), ("a", "b:c"), ("a:b", "c")]
    assert len({memory_user(*pair) for pair in near}) == len(near)
