"""Login of the page: a key is entered once, and its browser keeps it in a cookie that no script can read."""

from __future__ import annotations

from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel, ConfigDict

from pad_langchain.server.credentials import COOKIE, check_origin, credential_of
from pad_langchain.server.errors import ApiError
from pad_langchain.server.keys import Keys
from pad_langchain.server.page.files import PAGE_HEADERS
from pad_langchain.server.service import service_of

__all__ = ["LOGIN_PATHS", "router"]

LOGIN_PATHS = frozenset({"/login", "/logout", "/session"})  # they look at key and origin themselves
_KEPT = 30 * 24 * 3600  # seconds
_HEADERS = {**PAGE_HEADERS, "Cache-Control": "no-store"}

router = APIRouter(include_in_schema=False)


class _Login(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    key: str


@router.post("/login")
async def login(request: Request) -> Response:
    """Take a key, as JSON or from a form, and set the cookie. A form is sent on to the page."""
    check_origin(request.headers)
    body, form = await request.body(), _is_form(request)
    secret = (
        parse_qs(body.decode(errors="replace")).get("key", [""])[0] if form else _Login.model_validate_json(body).key
    )
    keys: Keys = request.app.state.keys
    caller = keys.find(secret.strip())
    if caller is None:
        raise ApiError(401, "invalid_api_key", "The key is unknown or revoked.")
    if caller.role == "admin":
        raise ApiError(403, "not_allowed", "An admin key has no chat. Use a key of the role user or app.")
    request.state.caller = caller  # for the log
    answer: Response = RedirectResponse("/", 303) if form else Response(status_code=204)
    answer.headers.update(_HEADERS)
    _set_cookie(request, answer, secret.strip(), _KEPT)
    return answer


@router.post("/logout")
async def logout(request: Request) -> Response:
    """End the cookie. The key itself stays valid."""
    check_origin(request.headers)
    answer = Response(status_code=204, headers=_HEADERS)
    _set_cookie(request, answer, "", 0)
    return answer


@router.get("/session")
async def session(request: Request) -> JSONResponse:
    """Say who is logged in, and what answers. That it is nobody is no error: the page asks this first."""
    credential = credential_of(request.headers)
    keys: Keys = request.app.state.keys
    caller = None if credential is None else keys.find(credential.secret)
    if caller is None or caller.role == "admin":
        return JSONResponse({"role": None}, headers=_HEADERS)
    service = service_of(request)
    said = {
        "role": caller.role,
        "user": caller.user,
        "user_header": service.settings.user_header,
        "model": service.model,
        "remembers": service.chat.memory is not None,
    }
    return JSONResponse(said, headers=_HEADERS)


def _is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").partition(";")[0].strip() == "application/x-www-form-urlencoded"


def _set_cookie(request: Request, answer: Response, value: str, seconds: int) -> None:
    secure = request.url.scheme == "https"
    answer.set_cookie(COOKIE, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="strict")
