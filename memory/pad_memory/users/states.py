"""What is at hand of recent users: their records, and what was concluded from them.

On a server others write, too. Whoever does changes a row of the user, their version, in the same call as the events. So
one row says whether what is at hand is all there is. The call is one transaction of Chroma's: whoever dies, it is done
or it is not. A second row changes only where rows were replaced. While it does not, what was added is found by the ids
of the user's rows, and nothing else is read. Where a row is gone, or there is no version, everything is read anew.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np

from pad_memory.evidence import Recorded, Scorer
from pad_memory.language import Reading
from pad_memory.profile import Snapshot
from pad_memory.store.rows import read_record, version_ids
from pad_memory.store.shards import Store

__all__ = ["State", "States", "is_new", "own_words"]

CACHED_USERS = 1024


@dataclass
class State:
    """A user's records by id, in the order they were recorded, and what was concluded from them.

    Args:
        records: by id.
        cleared: wishes that were held against today's rules when they were recorded.
        own_vectors: text of a wording of their own → embedding [E], as stored.
        parsed: line of a row → its record, so that only what is new has to be parsed. Empty in a folder.
        version: the version that all of this is of. None means others, or we, may have written since.
        replaced: the version of the last write that replaced rows. None means there was none.
        rows: the ids of the rows that this was read of, on a server.
        versioned: whether the user has a version, which whoever writes has to change.
        read: when it was known to be all there is, in monotonic seconds.
        known: the conclusion. None means none is drawn yet.
        tried: the scorer that has already been asked for the evidence that waits.
        chosen: what the user set, by name. None means it was not looked for yet.
    """

    records: dict[str, Recorded]
    cleared: frozenset[str]
    own_vectors: dict[str, np.ndarray]
    parsed: Mapping[str, Recorded] = field(default_factory=dict)
    version: str | None = None
    replaced: str | None = None
    rows: frozenset[str] = frozenset()
    versioned: bool = False
    read: float = 0.0
    known: Snapshot | None = None
    tried: Scorer | None = None
    chosen: dict[str, str] | None = None

    def add(self, records: Iterable[Recorded]) -> None:
        """Add records, or replace those with the same id."""
        records = list(records)
        if not all(record.event.versioned for record in records):
            self.chosen = None
        self.records.update((record.id, record) for record in records)
        self.known = self.version = None

    @property
    def by_time(self) -> tuple[Recorded, ...]:
        """The records, the oldest first."""
        return tuple(sorted(self.records.values(), key=lambda record: record.order))

    @property
    def waiting(self) -> list[Recorded]:
        """The records whose evidence waits for a scorer."""
        return [record for record in self.records.values() if record.evidence.pending]


class States:
    """The states of the users that were asked for last, at most `CACHED_USERS`. Not thread-safe.

    Args:
        rulebook: stands for the rules of values that new records are held against.
    """

    def __init__(self, rulebook: str) -> None:
        self._rulebook = rulebook
        self._states: OrderedDict[str, State] = OrderedDict()

    def of(self, store: Store, owner: str, *, vectors: bool = False) -> State:
        """Return all there is of a user: what is at hand if it is that, else what the store has.

        Args:
            store: an open one.
            owner: whose.
            vectors: with their own wordings' vectors where these are read in the same go: from a folder.
        """
        state = self._states.get(owner)
        if store.shared:
            # Before the events: what is read after it is at least as new.
            told = store.get(owner, version_ids(owner))
            version, replaced = (told.get(id, {}).get("version") for id in version_ids(owner))
            if state is None or version is None or state.version != version:
                alike = state is not None and version is not None and state.replaced == replaced
                newer = self._newer(store, owner, state) if state is not None and alike else None
                state = newer or self._read(store, owner, state)
                state.version, state.replaced = version, replaced
        elif state is None:
            state = self._read(store, owner, None, vectors=vectors)
        state.read = time.monotonic()
        self._states[owner] = state
        self._states.move_to_end(owner)
        while len(self._states) > CACHED_USERS:
            self._states.popitem(last=False)
        return state

    def last(self, owner: str, most: timedelta) -> State | None:
        """Return what was known of a user last, without asking the store. None means nothing, or nothing so young."""
        state = self._states.get(owner)
        return None if state is None or time.monotonic() - state.read > most.total_seconds() else state

    def drop(self, owner: str) -> None:
        """Keep nothing of a user at hand."""
        self._states.pop(owner, None)

    def _read(self, store: Store, owner: str, before: State | None, *, vectors: bool = False) -> State:
        if store.shared:
            found, own_vectors = store.rows_of(owner), dict[str, np.ndarray]()
            ids, rows = frozenset(found), list(found.values())
        else:
            rows, own_vectors = store.load(owner, vectors=vectors)
            ids = frozenset()
        read = _events(rows, {} if before is None else before.parsed)
        state = State({record.id: record for record, _ in read}, self._cleared(read), own_vectors, rows=ids)
        state.versioned = store.shared or any(row["kind"] == "version" for row in rows)
        if store.shared:
            state.parsed = {row["record"]: record for record, row in read}
        if before is not None:
            _take_over(state, before)
        return state

    def _newer(self, store: Store, owner: str, before: State) -> State | None:
        """What is at hand and what was added to it. None means that a row is gone, or that nothing was read yet."""
        ids = store.ids_of(owner)
        if not before.rows or not before.rows <= ids:
            return None
        read = _events(store.get(owner, sorted(ids - before.rows)).values(), before.parsed)
        together = {**before.records, **{record.id: record for record, _ in read}}
        records = sorted(together.values(), key=lambda record: record.recorded)
        state = State({record.id: record for record in records}, before.cleared | self._cleared(read), {})
        state.rows, state.versioned = frozenset(ids), True
        state.parsed = {**before.parsed, **{row["record"]: record for record, row in read}}
        _take_over(state, before)
        return state

    def _cleared(self, read: Iterable[tuple[Recorded, Mapping[str, Any]]]) -> frozenset[str]:
        """The wishes of events that were held against today's rules when they were recorded."""
        return frozenset(
            reading.text
            for record, row in read
            for reading in record.evidence.readings
            if row.get("rules") == self._rulebook
        )


def is_new(record: Recorded, known: Mapping[str, Recorded]) -> bool:
    """Whether a user who has the known records, by id, has not this one or an older version of it."""
    older = known.get(record.id)
    return older is None or record.event.supersedes(older.event)


def own_words(reading: Reading) -> bool:
    """Whether a reading is a wish in the user's own words, which has a vector of its own."""
    return not reading.ends and (reading.key is None or reading.key.startswith("text:"))


def _events(
    rows: Iterable[Mapping[str, Any]], parsed: Mapping[str, Recorded]
) -> list[tuple[Recorded, Mapping[str, Any]]]:
    """The events among rows, each with its row, in the order they were recorded."""
    lines = [(row["record"], row) for row in rows if row["kind"] == "event"]
    read = [(parsed.get(line) or read_record(json.loads(line)), row) for line, row in lines]
    return sorted(read, key=lambda item: item[0].recorded)


def _take_over(state: State, before: State) -> None:
    """Keep what is as true of the newer records: their wordings' vectors, the conclusion, and who was asked."""
    texts = {reading.text for record in state.records.values() for reading in record.evidence.readings}
    state.own_vectors = {text: vector_E for text, vector_E in before.own_vectors.items() if text in texts}
    if (state.records, state.cleared) == (before.records, before.cleared):
        state.known = before.known
    if all(record.id in before.records for record in state.waiting):
        state.tried = before.tried
