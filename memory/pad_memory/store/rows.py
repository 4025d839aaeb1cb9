"""What a row of the store is, and which one holds what of whom."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from pad_memory.errors import InvalidEventError, InvalidUserError
from pad_memory.events import Feedback
from pad_memory.evidence import Evidence, Recorded

__all__ = [
    "StoredRow",
    "owner_of",
    "read_record",
    "record_to_dict",
    "row_id",
    "text_of",
    "version_ids",
    "version_rows",
]

MAX_USER_BYTES = 1024


class StoredRow(NamedTuple):
    """A row as Chroma takes it: flat metadata, and an embedding [E]; None means a row without one."""

    id: str
    metadata: dict[str, Any]
    vector_E: np.ndarray | None = None


def owner_of(tenant: str, user: object) -> str:
    """Return the hash that stands for a user in every row: no id can be taken for a pattern or for another id.

    Raises:
        InvalidUserError: the user id is empty, over 1,024 bytes or not valid text.
    """
    if not isinstance(user, str) or not user.strip():
        raise InvalidUserError(f"A user id has to be text that is not empty, but is {user!r}.")
    try:
        size = len(user.encode())
    except UnicodeEncodeError:
        raise InvalidUserError(f"A user id has to be valid Unicode text, but is {user[:80]!r}.") from None
    if size > MAX_USER_BYTES:
        raise InvalidUserError(
            f"A user id has to be at most {MAX_USER_BYTES} bytes of UTF-8, but has {size:,}: {user[:40]!r}… "
            "Pass an id, not a text."
        )
    return hashlib.sha256(json.dumps([tenant, user]).encode()).hexdigest()


def row_id(owner: str, kind: str, name: str) -> str:
    """A row's id: fixed-size and safe whatever the user called themselves or the event."""
    return hashlib.sha256(json.dumps([owner, kind, name]).encode()).hexdigest()


def version_ids(owner: str) -> tuple[str, str]:
    """Return the ids of the rows that have a user's version, and that of the last write which replaced rows."""
    return row_id(owner, "version", ""), row_id(owner, "version", "replaced")


def version_rows(owner: str, about: Mapping[str, Any], *, added: bool = False) -> list[StoredRow]:
    """Return rows with a version that was never there before, to be written together with what it is the version of.

    The second row is for itself, so that of two writers at once none undoes what the other says of replaced rows.

    Args:
        owner: whose.
        about: the metadata that all rows of the user have.
        added: whether only rows are added whose ids nobody else can have made.
    """
    ids = version_ids(owner)[: 1 if added else 2]
    return [StoredRow(id, {**about, "kind": "version", "version": uuid.uuid4().hex}) for id in ids]


def text_of(metadata: Mapping[str, Any]) -> str | None:
    """The text a row's vector is the embedding of; None means it has none, and its vector is zero."""
    text: str | None = json.loads(metadata["item"])["text"] if "item" in metadata else metadata.get("text")
    return text


def record_to_dict(record: Recorded) -> dict[str, Any]:
    """Return a record as a JSON-able dict."""
    return {
        "event": record.event.to_dict(),
        "sequence": record.sequence,
        "evidence": record.evidence.to_dict(),
        **({} if record.origin is None else {"origin": record.origin}),
    }


def read_record(data: Mapping[str, Any]) -> Recorded:
    """Read what `record_to_dict` wrote.

    Raises:
        InvalidEventError: it has no id or time, so it was never recorded.
        StoreVersionError: the event was written by a newer version.
    """
    event = Feedback.from_dict(data["event"])
    if event.id is None or event.time is None:
        raise InvalidEventError("A recorded event needs its id and time. Pass new events to record() instead.")
    return Recorded(event, int(data["sequence"]), Evidence.from_dict(data["evidence"]), data.get("origin"))
