"""What is at hand of recent users: their records, and what was concluded from them.

On a server others write, too. Whoever does changes a row of the user, their version, in the same call as the events. So
one row says whether what is at hand is all there is. The call is one transaction of Chroma's: whoever dies, it is done
or it is not. Where there is no version, everything is read anew.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from pad_memory.evidence import Recorded, Scorer
from pad_memory.profile import Snapshot
from pad_memory.store.rows import read_record, version_id
from pad_memory.store.shards import Store

__all__ = ["State", "States"]

CACHED_USERS = 1024


@dataclass
class State:
    """A user's records by id, in the order they were recorded, and what was concluded from them.

    Args:
        records: by id.
        cleared: wishes that were held against today's rules when they were recorded.
        own_vectors: text of a wording of their own → embedding [E], as stored.
        parsed: line of a row → its record, so that only what is new has to be parsed. Empty in a folder.
        version: the version that all of this is of. None means it has to be read anew where others may write.
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
            version = store.get(owner, [version_id(owner)]).get(version_id(owner), {}).get("version")
            if state is None or version is None or state.version != version:
                state = self._read(store, owner, state)
                state.version = version
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
        rows, own_vectors = store.load(owner, vectors=vectors)
        events = [row for row in rows if row["kind"] == "event"]
        known = {} if before is None else before.parsed
        read = [(known.get(row["record"]) or read_record(json.loads(row["record"])), row) for row in events]
        read.sort(key=lambda item: item[0].recorded)
        cleared = frozenset(
            reading.text
            for record, row in read
            for reading in record.evidence.readings
            if row.get("rules") == self._rulebook
        )
        state = State({record.id: record for record, _ in read}, cleared, own_vectors)
        state.versioned = store.shared or any(row["kind"] == "version" for row in rows)
        if store.shared:
            state.parsed = {row["record"]: record for record, row in read}
        if before is not None:
            _take_over(state, before)
        return state


def _take_over(state: State, before: State) -> None:
    """Keep what is as true of the newer records: their wordings' vectors, the conclusion, and who was asked."""
    texts = {reading.text for record in state.records.values() for reading in record.evidence.readings}
    state.own_vectors = {text: vector_E for text, vector_E in before.own_vectors.items() if text in texts}
    if (state.records, state.cleared) == (before.records, before.cleared):
        state.known = before.known
    if all(record.id in before.records for record in state.waiting):
        state.tried = before.tried
