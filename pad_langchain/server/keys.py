"""The keys of a server: a JSON file of hashes. A key itself is shown once, when it is made.

A key has 256 random bits, so a plain SHA-256 of it tells nothing about it. The file is written whole, readable by its
owner only, under a lock; a server reads it anew when it changed, so that a revoked key stops at once.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock
from pydantic import TypeAdapter

from pad_langchain.errors import InvalidRequestError
from pad_langchain.paths import absolute, replacing
from pad_langchain.server.errors import ApiError
from pad_langchain.server.identity import DEFAULT_TENANT, ROLES, Caller, Role

__all__ = ["Key", "Keys"]

FORMAT = 1
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Key:
    """What is known of a key.

    Args:
        id: names it in lists and logs.
        hash: SHA-256 of the key, in hex.
        role: what it may do.
        tenant: whose users it reaches.
        user: whose it is; None for the roles "app" and "admin".
        created: when it was made, Unix seconds.
        last4: the key's last four characters, to tell it by.
        revoked: whether it is refused.
    """

    id: str
    hash: str = field(repr=False)
    role: Role
    tenant: str
    user: str | None
    created: float
    last4: str
    revoked: bool = False


_KEYS = TypeAdapter(list[Key])


class Keys:
    """The keys in a file. A file that is missing has none. Safe to share between threads and processes.

    Args:
        path: the file.

    Raises:
        InvalidRequestError: the file cannot be read, or is no file of keys.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = absolute(path)
        self._lock = threading.Lock()
        self._keys: tuple[Key, ...] = ()
        self._seen: tuple[int, ...] | None = None
        self._refresh()

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Keys:
        """Open the keys in a file."""
        return cls(path)

    def list(self) -> tuple[Key, ...]:
        """Return all keys, the revoked ones included, the oldest first.

        Raises:
            InvalidRequestError: the file cannot be read.
        """
        with self._lock:
            self._refresh()
            return self._keys

    def create(self, role: Role, *, tenant: str = DEFAULT_TENANT, user: str | None = None) -> tuple[str, str]:
        """Make a key.

        Args:
            role: "user", "app" or "admin".
            tenant: whose users it reaches.
            user: whose it is; needed by the role "user", and by no other.

        Returns:
            Its id, and the key itself, which is nowhere else.

        Raises:
            InvalidRequestError: the role is none of these, user or tenant do not fit it, or the file cannot be written.
        """
        _check(role, tenant, user)
        secret = f"pad-{secrets.token_urlsafe(32)}"
        with _changing(self) as keys:
            identity = _free({key.id for key in keys})
            keys.append(Key(identity, _hash(secret), role, tenant, user, round(time.time(), 3), secret[-4:]))
        return identity, secret

    def revoke(self, key_id: str) -> None:
        """Refuse a key from now on. One that is revoked already stays so.

        Raises:
            InvalidRequestError: there is no such key, or the file cannot be written.
        """
        with _changing(self) as keys:
            if key_id not in {key.id for key in keys}:
                known = ", ".join(key.id for key in keys) or "none"
                raise InvalidRequestError(f"There is no key {key_id!r} in {str(self.path)!r}. There are: {known}.")
            keys[:] = [replace(key, revoked=True) if key.id == key_id else key for key in keys]

    def find(self, secret: str) -> Caller | None:
        """Return who has a key. None means nobody: it is unknown or revoked.

        Raises:
            ApiError: 503, where the file cannot be read: who was revoked is not known then.
        """
        digest = _hash(secret)
        try:
            keys = self.list()
        except InvalidRequestError as error:
            logger.error("%s Every key is refused until it can be read.", error)
            raise ApiError(503, "not_ready", "The keys cannot be read now.", retry_after=5) from None
        found = None
        for key in keys:  # all of them, so that the time tells nothing
            if hmac.compare_digest(key.hash, digest) and not key.revoked:
                found = Caller(key.role, key.tenant, key.id, key.user)
        return found

    def _refresh(self) -> None:
        """Read the file if it is another one than was read last."""
        try:
            stat = self.path.stat()
            seen = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
            if seen == self._seen:
                return
            self._keys, self._seen = _read(self.path), seen
        except FileNotFoundError:
            self._keys, self._seen = (), None
        except OSError as error:
            raise InvalidRequestError(f"The keys in {str(self.path)!r} cannot be read: {error}.") from None


@contextmanager
def _changing(keys: Keys) -> Iterator[list[Key]]:
    """A list of the keys to change; what is in it at the end is written, unless something was raised."""
    path = keys.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{path.name}.lock"), mode=0o600):
            changed = list(keys.list())
            yield changed
            _write(path, changed)
    except OSError as error:
        raise InvalidRequestError(f"The keys in {str(path)!r} cannot be written: {error}.") from None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def _free(taken: set[str]) -> str:
    while (identity := f"key-{secrets.token_hex(4)}") in taken:
        pass
    return identity


def _check(role: str, tenant: str, user: str | None) -> None:
    if role not in ROLES:
        raise InvalidRequestError(f"role has to be one of {', '.join(ROLES)}, but is {role!r}.")
    for name, value in (("tenant", tenant), ("user", user)):
        if value is not None and (not value.strip() or not value.isprintable()):
            raise InvalidRequestError(f"{name} has to be printable text that is not blank, but is {value!r}.")
    if role == "user" and user is None:
        raise InvalidRequestError("A key of the role user needs its user: name it.")
    if role != "user" and user is not None:
        raise InvalidRequestError(f"A key of the role {role} is of no single user, but {user!r} was named.")


def _read(path: Path) -> tuple[Key, ...]:
    try:
        stored: Any = json.loads(path.read_text(encoding="utf-8"))
        version = int(stored["format"])
        keys = tuple(_KEYS.validate_python(stored["keys"])) if version <= FORMAT else ()
    except (ValueError, KeyError, TypeError):  # pydantic's is a ValueError
        raise InvalidRequestError(f"{str(path)!r} is no file of keys. Make one: pad-langchain keys create.") from None
    if version > FORMAT:
        raise InvalidRequestError(f"The keys in {str(path)!r} were written by a newer version. Update this one.")
    return keys


def _write(path: Path, keys: Iterable[Key]) -> None:
    text = json.dumps({"format": FORMAT, "keys": [asdict(key) for key in keys]}, indent=1, ensure_ascii=False)
    with replacing(path) as new:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
            file.flush()
            os.fsync(file.fileno())
