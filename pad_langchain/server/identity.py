"""Who calls, and whose preferences a request is about.

A key means a role, a tenant and, for the role "user", a user:

| role | may |
|---|---|
| user | chat and teach as the user of the key; a request that names another one is refused |
| app | chat and teach as any user of its tenant, whom the request names |
| admin | administrate its tenant; it has no user and no chat |

An app names its user by a header, by a signed token (a JWT, in another header) or by `user` in the body; several have
to agree. A request that names nobody is answered by the base model, and nothing of it is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import quote

import jwt

from pad_langchain.server.errors import ApiError
from pad_langchain.server.settings import ServerSettings

__all__ = ["ROLES", "Caller", "Naming", "Role", "administrator", "memory_user", "who"]

Role = Literal["user", "app", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
DEFAULT_TENANT = "default"
_PREFIX = "tenant:"


@dataclass(frozen=True)
class Naming:
    """How an app names its users beside the body, as `ServerSettings` says it.

    Args:
        user_header: header with the user's id.
        jwt_header: header with a token signed by HS256, whose `sub` is the user's id.
        jwt_secret: what signs it; None means that tokens are refused.
        jwt_issuer: what its `iss` has to be.
    """

    user_header: str = "X-PAD-User"
    jwt_header: str = "X-OpenWebUI-User-Jwt"
    jwt_secret: str | None = field(default=None, repr=False)
    jwt_issuer: str | None = None

    @classmethod
    def of(cls, settings: ServerSettings) -> Naming:
        """Return what the settings say."""
        return cls(settings.user_header, settings.jwt_header, settings.jwt_secret, settings.jwt_issuer)


@dataclass(frozen=True)
class Caller:
    """Who sent a request, as its key says.

    Args:
        role: what it may do.
        tenant: whose users it reaches; those of other tenants never.
        key_id: the key's id, which is no secret.
        user: the user whose key it is; None for the roles "app" and "admin".
        naming: how it names users.
    """

    role: Role
    tenant: str
    key_id: str
    user: str | None = None
    naming: Naming = field(default=Naming(), repr=False)


def who(caller: Caller, headers: Mapping[str, str], body_user: str | None = None) -> str | None:
    """Return the user that a request is about. None means nobody: the base model answers and nothing is kept.

    Args:
        caller: who sent it.
        headers: of the request, in any case; one that occurs twice has to say the same.
        body_user: `user` of the body. Blank means that it names nobody.

    Raises:
        ApiError: 403, `not_allowed` for an administrator or a token that is refused, `user_mismatch` where another
            user is named than may be, or several are.
    """
    if caller.role == "admin":
        raise ApiError(403, "not_allowed", "An admin key administrates only. Use a key of the role user or app.")
    naming = caller.naming
    named = [_utf8(value, naming.user_header) for value in _values(headers, naming.user_header)]
    named += [_subject(token, naming) for token in _values(headers, naming.jwt_header)]
    named += [] if body_user is None else [body_user]
    users = {user for user in named if user.strip()}
    if caller.role == "user":
        if caller.user is None or users - {caller.user}:
            message = "This key is of one user, and the request names another. An app key may name its users."
            raise ApiError(403, "user_mismatch", message, param="user")
        return caller.user
    if len(users) > 1:
        message = f"The request names several users: {naming.user_header}, the signed token and user have to agree."
        raise ApiError(403, "user_mismatch", message, param="user")
    return users.pop() if users else None


def administrator(caller: Caller) -> None:
    """Let administrators pass.

    Raises:
        ApiError: 403, `not_allowed`.
    """
    if caller.role != "admin":
        raise ApiError(403, "not_allowed", "This needs an admin key.")


def memory_user(tenant: str, user: str) -> str:
    """Return the id under which one memory keeps a tenant's user. No two pairs get the same.

    Users of the tenant "default" keep their ids, so that whatever else uses the memory knows them. (One whose id begins
    with "tenant:" is the exception.)

    >>> memory_user("default", "ada"), memory_user("acme", "ada")
    ('ada', 'tenant:acme:ada')
    """
    if tenant == DEFAULT_TENANT and not user.startswith(_PREFIX):
        return user
    return f"{_PREFIX}{quote(tenant, safe='')}:{user}"  # a quoted tenant has no colon, so the pair can be read back


def _values(headers: Mapping[str, str], name: str) -> list[str]:
    return [value for key, value in headers.items() if key.lower() == name.lower()]


def _utf8(value: str, header: str) -> str:
    """Read a header's bytes, which servers decode as Latin-1, as UTF-8."""
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise ApiError(400, "invalid_value", f"{header} has to be UTF-8.", param=header) from None


def _subject(token: str, naming: Naming) -> str:
    """Return the user of a signed token."""
    if naming.jwt_secret is None:
        message = f"{naming.jwt_header} is refused: this server was not told the secret that signs it."
        raise ApiError(403, "not_allowed", message)
    try:
        claims = jwt.decode(
            token,
            naming.jwt_secret,
            algorithms=["HS256"],
            issuer=naming.jwt_issuer,
            options={"require": ["sub", "iss", "exp"], "verify_aud": False},
        )
    except jwt.PyJWTError as error:
        reason = (
            "it has expired" if isinstance(error, jwt.ExpiredSignatureError) else "its signature or claims are wrong"
        )
        raise ApiError(403, "not_allowed", f"{naming.jwt_header} is refused: {reason}.") from None
    subject: str = claims["sub"]
    if not subject.strip():
        raise ApiError(403, "not_allowed", f"{naming.jwt_header} is refused: its sub is blank.")
    return subject
