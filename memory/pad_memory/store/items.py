"""Free items of a user: JSON values by namespace and key, searchable by meaning, forgotten with the user.

They are what an agent notes for itself. They are not feedback: nothing is concluded from them and they never steer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from pad_memory.embedding import embed
from pad_memory.errors import InvalidEventError
from pad_memory.events import check_text
from pad_memory.store.shards import Row, row_id

if TYPE_CHECKING:
    from pad_memory.memory import PreferenceMemory

__all__ = ["Item", "Items"]


@dataclass(frozen=True)
class Item:
    """One item.

    Args:
        namespace: labels below the user.
        key: its name in there.
        value: what was kept.
        created, updated: Unix seconds.
        text: what it is found by; None: it is not found by meaning.
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
    """The items in a memory's store, each user's apart. As thread-safe as the memory.

    Args:
        memory: an open `PreferenceMemory`.
    """

    def __init__(self, memory: PreferenceMemory) -> None:
        self._memory = memory

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
            StoreError: it could not be written.
        """
        owner, now = self._memory._owner(user), time.time()
        text = text if text and text.strip() else None
        with self._memory._mutex:
            before = self.get(user, namespace, key)
            created = now if before is None else before.created
            self._write(owner, user, [Item(tuple(namespace), key, dict(value), created, now, text)])

    def get(self, user: str, namespace: Sequence[str], key: str) -> Item | None:
        """Return an item; None where there is none."""
        owner = self._memory._owner(user)
        with self._memory._mutex:
            found = self._memory._open.get(owner, [_row(owner, _checked(namespace, key), key)])
        return next(self._read(found), None)

    def delete(self, user: str, namespace: Sequence[str], key: str) -> None:
        """Remove an item; one that is not there is no error. Only `memory.forget` removes its bytes from the files."""
        owner = self._memory._owner(user)
        name = _row(owner, _checked(namespace, key), key)
        with self._memory._mutex:
            if self._memory._open.get(owner, [name]):
                # Where nothing else of the user is left, this row tells `forget` that there are bytes to erase.
                mark: Row = (row_id(owner, "mark", ""), {**self._about(owner, user), "kind": "mark"}, None)
                self._memory._open.write(owner, [mark])
                self._memory._open.delete(owner, [name])

    def search(self, user: str, prefix: Sequence[str] = (), query: str | None = None) -> list[Item]:
        """Return the items whose namespace begins with `prefix`.

        With a query, those found by meaning come first, the nearest first, with their score; else the oldest first.
        """
        owner, prefix = self._memory._owner(user), tuple(prefix)
        with self._memory._mutex:
            rows = self._memory._open.read(owner, "item")
        items = [item for item in self._read(dict(enumerate(rows))) if item.namespace[: len(prefix)] == prefix]
        items.sort(key=lambda item: (item.created, item.namespace, item.key))
        if not query or not query.strip() or not items:
            return items
        query_E = embed(self._memory.embedder, [query])[0]
        names = [_row(owner, item.namespace, item.key) for item in items]
        with self._memory._mutex:
            vectors = self._memory._open.vectors(owner, names)
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
        owner, items = self._memory._owner(user), [_parsed(body) for body in data]
        for item in items:
            _body(item)
        with self._memory._mutex:
            new = [item for item in items if self.get(user, item.namespace, item.key) is None]
            self._write(owner, user, new)
        return len(new)

    def _write(self, owner: str, user: str, items: Sequence[Item]) -> None:
        """Write items with their vectors, a zero vector for those not found by meaning. The caller holds the mutex."""
        bodies = [_body(item) for item in items]
        texts = [item.text for item in items if item.text is not None]
        vectors = iter(embed(self._memory.embedder, texts) if texts else ())
        self._memory._ledger.catalogue_vectors()  # the store learns the embeddings' size from them
        rows: list[Row] = [
            (
                _row(owner, item.namespace, item.key),
                {**self._about(owner, user), "item": body},
                None if item.text is None else next(vectors),
            )
            for item, body in zip(items, bodies, strict=True)
        ]
        if rows:
            self._memory._open.write(owner, rows)

    def _about(self, owner: str, user: str) -> dict[str, str]:
        return {"owner": owner, "tenant": self._memory.tenant, "user": user, "kind": "item"}

    @staticmethod
    def _read(rows: Mapping[Any, Mapping[str, Any]]) -> Iterator[Item]:
        for row in rows.values():
            yield _parsed(json.loads(row["item"]))


def _parsed(body: Mapping[str, Any]) -> Item:
    try:
        return Item(**{**body, "namespace": tuple(body["namespace"])})
    except (TypeError, KeyError) as error:
        raise InvalidEventError(f"This is not an exported item: {error!r}.") from None


def _row(owner: str, namespace: Sequence[str], key: str) -> str:
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
