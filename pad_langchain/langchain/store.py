"""`PreferenceStore`: a `PreferenceMemory` as LangGraph's long-term store, each user in namespaces of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from pad_langchain.errors import InvalidRequestError, MissingDependencyError

try:
    from langgraph.store.base import (
        NOT_PROVIDED,
        BaseStore,
        GetOp,
        Item,
        ListNamespacesOp,
        MatchCondition,
        NamespacePath,
        NotProvided,
        Op,
        PutOp,
        Result,
        SearchItem,
        SearchOp,
    )
    from langgraph.store.base.embed import get_text_at_path
except ImportError as error:
    raise MissingDependencyError(
        f'LangGraph is not installed ({error}). Install it: pip install "pad-langchain[agents]"'
    ) from error

from pad_memory import PreferenceMemory
from pad_memory.embedding import embed
from pad_memory.users import Item as MemoryItem

__all__ = ["PreferenceStore"]

PROFILE = ("profile",)


class PreferenceStore(BaseStore):
    """A LangGraph `BaseStore` over a `PreferenceMemory`.

    One label of every namespace is the user id; the others are free. What is put is kept in the memory's Chroma, found
    by meaning with the memory's embedder, and forgotten with `memory.forget(user)`. It does not steer: notes of an
    agent are not the user's words. The namespace `(user, "profile")` is read-only and shows the user's current
    preferences.

    No operation reaches over users: a search or listing has to name its user, and no user id is taken for a pattern.
    Unlike in other stores, labels may contain periods, because user ids such as e-mail addresses do.

    Args:
        memory: an open memory; closing it is yours.
        user_at: where in a namespace the user id is: 0 for `("ada", "notes")`, 1 for `("notes", "ada")`.

    Example:
        >>> from pad_langchain.testing import HashEmbedder
        >>> with PreferenceMemory(embedder=HashEmbedder()) as memory:
        ...     store = PreferenceStore(memory)
        ...     store.put(("ada", "notes"), "dog", {"name": "Rex"})
        ...     store.get(("ada", "notes"), "dog").value
        {'name': 'Rex'}
    """

    __slots__ = ("_at", "_items", "memory")

    def __init__(self, memory: PreferenceMemory, *, user_at: int = 0) -> None:
        if isinstance(user_at, bool) or not isinstance(user_at, int) or user_at < 0:
            raise InvalidRequestError(f"user_at has to be 0 or more, but is {user_at!r}.")
        self.memory = memory
        self._at = user_at
        self._items = memory.items

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), user_at=self._at), (self.memory,)

    # ---- what every store has to do

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations in their order: one sees what those before it wrote.

        Raises:
            InvalidRequestError: a namespace without its user, or a write to the profile.
            pad_memory.PadMemoryError: an invalid user id, label, key or value; the store cannot be read or written.
        """
        return [self._execute(op) for op in ops]

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Execute operations in a thread, so that the event loop goes on."""
        return await asyncio.to_thread(self.batch, list(ops))

    def _execute(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            return self._get(op)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._list(op)
        if isinstance(op, PutOp):
            self._put(op)
            return None
        raise InvalidRequestError(f"op has to be a GetOp, SearchOp, PutOp or ListNamespacesOp, but is {op!r}.")

    def _get(self, op: GetOp) -> Item | None:
        user, rest = self._split(op.namespace)
        if rest == PROFILE:
            return next((self._item(user, item) for item in self._profile(user) if item.key == op.key), None)
        found = self._items.get(user, rest, op.key)
        return None if found is None else self._item(user, found)

    def _put(self, op: PutOp) -> None:
        user, rest = self._split(op.namespace)
        if rest == PROFILE:
            raise InvalidRequestError(
                f"{op.namespace!r} is read-only: it shows what the memory concluded. To state a preference, use "
                "memory.record(user, Statement(…))."
            )
        if op.ttl is not None:
            raise NotImplementedError("PreferenceStore keeps items until they are deleted; put them without a ttl.")
        if op.value is None:
            self._items.delete(user, rest, op.key)
        else:
            self._items.put(user, rest, op.key, op.value, _text(op.value, op.index))

    def _search(self, op: SearchOp) -> list[SearchItem]:
        user, rest = self._split(op.namespace_prefix)
        # With the user further back, the labels before it are a whole prefix of what is left when it is taken out.
        items = self._items.search(user, rest, op.query)
        if PROFILE[: len(rest)] == rest:
            items += self._profile(user, op.query)
        if op.query:
            items.sort(key=lambda item: (item.score is None, -(item.score or 0.0)))
        matching = [item for item in items if _matches(item.value, op.filter or {})]
        return [
            SearchItem(
                self._namespace(user, item.namespace),
                item.key,
                item.value,
                _datetime(item.created),
                _datetime(item.updated),
                item.score,
            )
            for item in matching[op.offset : op.offset + op.limit]
        ]

    def _list(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        conditions = op.match_conditions or ()
        paths = [each.path for each in conditions if each.match_type == "prefix" and len(each.path) > self._at]
        if not paths:
            raise self._without_user(paths)
        user, _ = self._split(paths[0])
        kept = {item.namespace for item in self._items.search(user)} | ({PROFILE} if self._profile(user) else set())
        namespaces = [
            namespace
            for namespace in (self._namespace(user, labels) for labels in kept)
            if all(_fits(condition, namespace) for condition in conditions)
        ]
        cut = sorted({namespace[: op.max_depth] for namespace in namespaces})
        return cut[op.offset : op.offset + op.limit]

    # ---- inside

    def _split(self, namespace: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        """Part a namespace into its user and the other labels."""
        if len(namespace) <= self._at:
            raise self._without_user(namespace)
        return namespace[self._at], (*namespace[: self._at], *namespace[self._at + 1 :])

    def _without_user(self, got: object) -> InvalidRequestError:
        return InvalidRequestError(
            f"A namespace has to name its user at position {self._at}, but is {got!r}. Nothing reaches over users; "
            "memory.users() lists them."
        )

    def _namespace(self, user: str, rest: tuple[str, ...]) -> tuple[str, ...]:
        return (*rest[: self._at], user, *rest[self._at :])

    def _item(self, user: str, item: MemoryItem) -> Item:
        return Item(
            namespace=self._namespace(user, item.namespace),
            key=item.key,
            value=item.value,
            created_at=_datetime(item.created),
            updated_at=_datetime(item.updated),
        )

    def _profile(self, user: str, query: str | None = None) -> list[MemoryItem]:
        """The user's preferences as items, in the profile's order."""
        profile = self.memory.profile(user)
        if not profile.preferences:
            return []
        times = {event.id: event.time or 0.0 for event in self.memory.events(user)}
        scores_P: list[float | None] = [None] * len(profile.preferences)
        if query and query.strip():
            vectors_NE = embed(self.memory.embedder, [query, *(item.text for item in profile.preferences)])
            scores_P = (vectors_NE[1:] @ vectors_NE[0]).tolist()
        items = []
        for preference, score in zip(profile.preferences, scores_P, strict=True):
            value = {
                "text": preference.text,
                "weight": preference.weight,
                "confidence": preference.confidence,
                "source": preference.source,
                "why": profile.why(preference.key),
            }
            when = [times[id] for id in preference.evidence if id in times] or [0.0]
            items.append(MemoryItem(PROFILE, preference.key, value, min(when), max(when), score=score))
        return items

    # ---- BaseStore's own methods refuse periods in labels, which user ids have, so the calls are made here

    def get(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        return self._get(GetOp(namespace, str(key)))

    def search(
        self,
        namespace_prefix: tuple[str, ...],
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        return self._search(SearchOp(namespace_prefix, filter, limit, offset, query))

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        self._put(PutOp(namespace, str(key), value, index, None if isinstance(ttl, NotProvided) else ttl))

    def delete(self, namespace: tuple[str, ...], key: str) -> None:
        self._put(PutOp(namespace, str(key), None))

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:
        conditions = (
            *([MatchCondition("prefix", prefix)] if prefix else ()),
            *([MatchCondition("suffix", suffix)] if suffix else ()),
        )
        return self._list(ListNamespacesOp(conditions, max_depth, limit, offset))

    async def aget(self, *args: Any, **kwargs: Any) -> Item | None:
        return await asyncio.to_thread(self.get, *args, **kwargs)

    async def asearch(self, *args: Any, **kwargs: Any) -> list[SearchItem]:
        return await asyncio.to_thread(self.search, *args, **kwargs)

    async def aput(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self.put, *args, **kwargs)

    async def adelete(self, *args: Any, **kwargs: Any) -> None:
        await asyncio.to_thread(self.delete, *args, **kwargs)

    async def alist_namespaces(self, **kwargs: Any) -> list[tuple[str, ...]]:
        return await asyncio.to_thread(self.list_namespaces, **kwargs)


def _datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _text(value: Mapping[str, Any], index: Literal[False] | list[str] | None) -> str | None:
    """What an item is found by: the texts at the paths of `index`, or all of the value's; None means not at all."""
    if index is False:
        return None
    if index is None:
        return "\n".join(_strings(value))
    return "\n".join(text for path in index for text in get_text_at_path(value, path))


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _strings(part)


def _fits(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = condition.path
    if len(path) > len(namespace):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in (label, "*") for label, wanted in zip(part, path, strict=True))


_COMPARE = {
    "$eq": lambda one, other: one == other,
    "$ne": lambda one, other: one != other,
    "$gt": lambda one, other: one > other,
    "$gte": lambda one, other: one >= other,
    "$lt": lambda one, other: one < other,
    "$lte": lambda one, other: one <= other,
}


def _matches(value: Mapping[str, Any], filter: Mapping[str, Any]) -> bool:
    return all(_satisfies(value.get(name), wanted) for name, wanted in filter.items())


def _satisfies(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping) or not any(str(name).startswith("$") for name in wanted):
        return bool(value == wanted)
    for name, bound in wanted.items():
        if name not in _COMPARE:
            raise InvalidRequestError(f"A filter has the operators {sorted(_COMPARE)}, but got {name!r}.")
        try:
            if not _COMPARE[name](value, bound):
                return False
        except TypeError:  # a missing or differently typed value is neither more nor less
            return False
    return True
