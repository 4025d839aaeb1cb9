"""Free items of a user: JSON values by namespace and key, searchable by meaning, forgotten with the user.

They are what an agent notes for itself. They are not feedback: nothing is concluded from them and they never steer.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from pad_memory.embedding import Embedder, embed
from pad_memory.errors import InvalidEventError, PausedError
from pad_memory.fields import check_text
from pad_memory.store.rows import StoredRow, row_id
from pad_memory.users.ledger import Ledger

__all__ = ["Item", "Items"]


@dataclass(frozen=True)
class Item:
    """One item.

    Args:
        namespace: labels below the user.
        key: its name in there.
        value: what was kept.
        created, updated: Unix seconds.
        text: what it is found by; None means it is not found by meaning.
        score: the cosine of `text` to the query; None where there was no query or no text.
    """

    namespace: tuple[str, ...]
    key: str
    value: dict[str, Any]
    created: float
    updated: float
    text: str | None = None
    score: float | None = None


class Items:
    """The items in a ledger's store, each user's apart. Thread-safe.

    Args:
        ledger: an open one.
        embedder: turns what items are found by into vectors.
    """

    def __init__(self, ledger: Ledger, embedder: Embedder) -> None:
        self._ledger, self._embedder = ledger, embedder

    def put(
        self, user: str, namespace: Sequence[str], key: str, value: Mapping[str, Any], text: str | None = None
    ) -> None:
        """Keep `value`, or replace the one that is there.

        Args:
            user: the user id.
            namespace: labels below the user; may be empty.
            key: its name in there.
            value: anything JSON can hold, with string keys.
            text: what it is found by; None or blank: it is not found by meaning.

        Raises:
            InvalidUserError, InvalidEventError: a user id, label, key or value outside what is allowed.
            PausedError: the user paused.
            StoreError: it could not be written.
        """
        owner, now = self._ledger.owner(user), time.time()
        if self._ledger.setting(owner, "paused") == "yes":
            raise PausedError(user)
        text = text if text and text.strip() else None
        item = Item(_checked(namespace, key), key, dict(value), now, now, text)
        (row,) = self._rows(owner, user, [item])
        with self._ledger.store(to_write=True) as store:
            for before in store.get(owner, [row.id]).values():
                body = _body(replace(item, created=_read(before).created))
                row = StoredRow(row.id, {**row.metadata, "item": body}, row.vector_E)
            store.write(owner, [row])

    def get(self, user: str, namespace: Sequence[str], key: str) -> Item | None:
        """Return an item; None where there is none."""
        owner = self._ledger.owner(user)
        name = _name(owner, _checked(namespace, key), key)
        with self._ledger.store() as store:
            found = store.get(owner, [name])
        return _read(found[name]) if name in found else None

    def delete(self, user: str, namespace: Sequence[str], key: str) -> None:
        """Remove an item; one that is not there is no error. Only `memory.forget` removes its bytes from the files."""
        owner = self._ledger.owner(user)
        name = _name(owner, _checked(namespace, key), key)
        with self._ledger.store() as store:
            if store.get(owner, [name]):
                # Where nothing else of the user is left, this row tells `forget` that there are bytes to erase.
                mark = StoredRow(row_id(owner, "mark", ""), {**self._about(owner, user), "kind": "mark"})
                store.write(owner, [mark])
                store.delete(owner, [name])

    def search(self, user: str, prefix: Sequence[str] = (), query: str | None = None) -> list[Item]:
        """Return the items whose namespace begins with `prefix`.

        With a query, those found by meaning come first, the nearest first, with their score; else the oldest first.
        """
        owner, prefix = self._ledger.owner(user), tuple(prefix)
        with self._ledger.store() as store:
            found = store.read(owner, "item")
        items = [item for item in map(_read, found) if item.namespace[: len(prefix)] == prefix]
        items.sort(key=lambda item: (item.created, item.namespace, item.key))
        if not query or not query.strip() or not items:
            return items
        query_E = embed(self._embedder, [query])[0]
        names = [_name(owner, item.namespace, item.key) for item in items]
        with self._ledger.store() as store:
            vectors = store.vectors(owner, names)
        scored = [
            item if item.text is None else replace(item, score=float(vectors[name] @ query_E))
            for item, name in zip(items, names, strict=True)
            if item.text is None or name in vectors  # another thread may have deleted it by now
        ]
        return sorted(scored, key=lambda item: (item.score is None, -(item.score or 0.0)))

    def export(self, user: str) -> list[dict[str, Any]]:
        """Return a user's items as JSON-able dicts, for `restore`."""
        return [{**asdict(item), "namespace": list(item.namespace)} for item in self.search(user)]

    def restore(self, user: str, data: Sequence[Mapping[str, Any]]) -> int:
        """Add exported items where none has their namespace and key, and return how many were new.

        Raises:
            InvalidEventError: one is not an exported item; then none is written.
        """
        owner, items = self._ledger.owner(user), [_parsed(body) for body in data]
        for item in items:
            _body(item)
        names = [_name(owner, item.namespace, item.key) for item in items]
        with self._ledger.store() as store:
            have = store.get(owner, names)
        rows = self._rows(owner, user, [item for item, name in zip(items, names, strict=True) if name not in have])
        if not rows:
            return 0
        with self._ledger.store(to_write=True) as store:
            have = store.get(owner, [row.id for row in rows])  # another thread may have put some by now
            rows = [row for row in rows if row.id not in have]
            store.write(owner, rows)
        return len(rows)

    def copy(self, user: str, into: str) -> tuple[int, dict[str, str]]:
        """Give another user copies of a user's items, in the place of older ones of the same namespace and key.

        Returns:
            How many were new to the other user, and what was read: id of an item's row → its body.
        """
        owner, other = self._ledger.owner(user), self._ledger.owner(into)
        with self._ledger.store() as store:
            read = {id: row["item"] for id, row in store.rows_of(owner).items() if row["kind"] == "item"}
        items = [_parsed(json.loads(body)) for body in read.values()]
        rows = self._rows(other, into, items)
        with self._ledger.store(to_write=True) as store:
            have = {id: _read(row).updated for id, row in store.get(other, [row.id for row in rows]).items()}
            new = [row for row, item in zip(rows, items, strict=True) if have.get(row.id, -math.inf) < item.updated]
            if new:
                store.write(other, new)
        return len(new), read

    def _rows(self, owner: str, user: str, items: Sequence[Item]) -> list[StoredRow]:
        """The rows of items, with vectors for those found by meaning. It takes the embedder's time."""
        bodies = [_body(item) for item in items]
        texts = [item.text for item in items if item.text is not None]
        vectors = iter(embed(self._embedder, texts) if texts else ())
        rows = []
        for item, body in zip(items, bodies, strict=True):
            vector_E: np.ndarray | None = None if item.text is None else next(vectors)
            name = _name(owner, item.namespace, item.key)
            rows.append(StoredRow(name, {**self._about(owner, user), "item": body}, vector_E))
        return rows

    def _about(self, owner: str, user: str) -> dict[str, str]:
        return {"owner": owner, "tenant": self._ledger.tenant, "user": user, "kind": "item"}


def _read(metadata: Mapping[str, Any]) -> Item:
    return _parsed(json.loads(metadata["item"]))


def _parsed(body: Mapping[str, Any]) -> Item:
    try:
        return Item(**{**body, "namespace": tuple(body["namespace"])})
    except (TypeError, KeyError) as error:
        raise InvalidEventError(f"This is not an exported item: {error!r}.") from None


def _name(owner: str, namespace: Sequence[str], key: str) -> str:
    """The id of an item's row."""
    return row_id(owner, "item", json.dumps([*namespace, key]))


def _checked(namespace: Sequence[str], key: str) -> tuple[str, ...]:
    for label in namespace:
        check_text("A label of a namespace", label)
    check_text("The key of an item", key)
    return tuple(namespace)


def _body(item: Item) -> str:
    """The item as its row holds it.

    Raises:
        InvalidEventError: a label, key or value outside what is allowed.
    """
    _checked(item.namespace, item.key)
    try:
        text = json.dumps({**asdict(item), "score": None}, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidEventError(f"The value of an item has to be what JSON can hold, but: {error}.") from None
    if json.loads(text)["value"] != item.value:
        raise InvalidEventError("The value of an item has to be what JSON can hold: string keys, lists, no tuples.")
    return text
