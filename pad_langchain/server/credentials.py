"""Where a request has its key: in `Authorization: Bearer`, else in the cookie that the chat page gets at its login.

A browser sends the cookie by itself, whatever page makes it send a request. So a request that changes something by the
cookie needs two more things that pages of other origins cannot give: the header `X-PAD-Page`, and as its `Origin` the
address that it was sent to. SameSite=Strict is not enough for this: all ports of a machine are one site.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import cookie_parser

from pad_langchain.server.errors import ApiError

__all__ = ["COOKIE", "PAGE_HEADER", "Credential", "check_from_page", "check_origin", "credential_of"]

COOKIE = "pad_key"
PAGE_HEADER = "X-PAD-Page"
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True)
class Credential:
    """A key as a request has it.

    Args:
        secret: the key, which may be a wrong one.
        from_cookie: whether a browser sent it by itself.
    """

    secret: str = field(repr=False)
    from_cookie: bool


def credential_of(headers: Mapping[str, str]) -> Credential | None:
    """Return a request's key. A bearer's precedes the cookie, also where it is wrong. None means that there is none.

    Args:
        headers: of the request, found by name in any case.
    """
    kind, _, secret = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return Credential(secret.strip(), False)
    secret = cookie_parser(headers.get("cookie", "")).get(COOKIE, "")
    return Credential(secret, True) if secret else None


def check_from_page(method: str, headers: Mapping[str, str]) -> None:
    """Let a request pass that has its key from the cookie, if it changes nothing or the page sent it.

    Raises:
        ApiError: 403, `not_allowed`.
    """
    if method in _SAFE:
        return
    if PAGE_HEADER.lower() not in headers or "origin" not in headers:
        message = (
            f"A change that is sent with the page's cookie needs Origin and {PAGE_HEADER}. Send the key as a bearer."
        )
        raise ApiError(403, "not_allowed", message, param=PAGE_HEADER)
    check_origin(headers)


def check_origin(headers: Mapping[str, str]) -> None:
    """Refuse a request that a page of another origin had a browser send. One without an Origin passes.

    A form of the page itself has the Origin "null", because of its Referrer-Policy; `Sec-Fetch-Site` tells it from
    others, and no page can set that.

    Raises:
        ApiError: 403, `not_allowed`.
    """
    origin = headers.get("origin")
    if origin is None or (origin == "null" and headers.get("sec-fetch-site") == "same-origin"):
        return
    if urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        message = "The request comes from a page of another origin. (A proxy in front has to pass the Host header on.)"
        raise ApiError(403, "not_allowed", message, param="Origin")
