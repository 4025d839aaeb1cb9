"""Users' records, in the store and at hand. It owns the one lock: taken once for a read, and once for a write.

What it hands out is a snapshot, so that reading, scoring and choosing go on without the lock.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from threading import Lock
from types import MappingProxyType

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder
from pad_memory.errors import InvalidEventError, StoreClosedError, StoreError, StoreForkedError
from pad_memory.events import Feedback, Retraction
from pad_memory.evidence import Evidence, Recorded, Scorer
from pad_memory.language import Reading, embed_wishes
from pad_memory.profile import HALF_LIFE, Profile, Snapshot, fold, text_key
from pad_memory.store.forgetting import rows_of_event, wordings
from pad_memory.store.rows import StoredRow, owner_of, read_record, record_to_dict, row_id
from pad_memory.store.shards import RepairReport, Store

__all__ = ["Decide", "Ledger", "is_new"]

CACHED_USERS = 1024
CLOSED = "This PreferenceMemory was closed. Open a new one on the same path."

# Given a user's records by id: the event to add with its evidence, or the id of the one that says it already.
Decide = Callable[[Mapping[str, Recorded]], tuple[Feedback, Evidence] | str]


@dataclass
class _State:
    """A user's records by id, in the order they were recorded, and what was concluded from them."""

    records: dict[str, Recorded]
    cleared: frozenset[str]  # wishes that were held against today's rules when they were recorded
    own_vectors: dict[str, np.ndarray]  # of their own wordings, by text, as stored
    known: Snapshot | None = None
    tried: Scorer | None = None  # the scorer that has already been asked for the evidence that waits

    def add(self, records: Iterable[Recorded]) -> None:
        """Add records, or replace those with the same id."""
        self.records.update((record.id, record) for record in records)
        self.known = None


class Ledger:
    """Users' records in a store, with those of recent users at hand. Thread-safe.

    Args:
        store: an open one, which is the ledger's from now on; or why there is none, which all calls then say.
        embedder: turns the users' own wordings into vectors.
        catalogue: the memory's dimensions, whose vectors are kept too.
        tenant: whose users.
        rulebook: stands for the rules of values that new records were held against.
        half_life: seconds after which a judgement counts half; None means judgements never fade.
    """

    def __init__(
        self,
        store: Store | str,
        embedder: Embedder,
        catalogue: Sequence[Dimension],
        *,
        tenant: str,
        rulebook: str,
        half_life: float | None = HALF_LIFE,
    ) -> None:
        self.tenant = tenant
        self._lock, self._process = Lock(), os.getpid()
        self._store = None if isinstance(store, str) else store
        self._why = store if isinstance(store, str) else CLOSED
        self._embedder, self._catalogue = embedder, tuple(catalogue)
        self._rulebook, self._half_life = rulebook, half_life
        self._canonical = [pole.text for dimension in catalogue for pole in dimension.poles]
        self._canonical_vectors: dict[str, np.ndarray] = {}
        self._states: OrderedDict[str, _State] = OrderedDict()

    def owner(self, user: object) -> str:
        """Return the hash that stands for a user of this tenant in every row.

        Raises:
            InvalidUserError: the user id is empty, over 1,024 bytes or not valid text.
        """
        return owner_of(self.tenant, user)

    # --- reading ---

    def read(self, owner: str, *, vectors: bool = False, catalogue: bool = False) -> Snapshot:
        """Return what is known of a user now.

        Args:
            owner: whose.
            vectors: with the vectors of their preferences; of a user without one there are none.
            catalogue: with those of the catalogue's texts even then.
        """
        with self._held():
            state = self._state(owner, vectors=vectors)
            if state.known is None:
                records = _by_time(state)
                state.known = Snapshot(records, fold(records, self._catalogue, self._half_life), state.cleared)
            if vectors and not state.known.vectors and (catalogue or state.known.profile.preferences):
                state.known = replace(state.known, vectors=self._vectors(owner, state, state.known.profile))
            return state.known

    def records(self, owner: str) -> tuple[Recorded, ...]:
        """Return a user's records, oldest first, without concluding anything from them."""
        with self._held():
            return _by_time(self._state(owner))

    def find(self, owner: str, event_ids: Iterable[str]) -> Recorded | None:
        """Return the first of these events that a user has; None means they have none of them."""
        with self._held():
            records = self._state(owner).records
            return next((records[event_id] for event_id in event_ids if event_id in records), None)

    def users(self) -> list[str]:
        """Return the ids of all users of this tenant, sorted."""
        with self.store() as store:
            return store.users(self.tenant)

    # --- writing ---

    def append(self, owner: str, user: str, decide: Decide) -> str:
        """Add one event to a user's, or put it in the place of the one with its id, and return its id.

        Args:
            owner, user: whose.
            decide: says which, given the records before it. It holds up everybody else, so it has to be quick.

        Raises:
            InvalidEventError: it takes back an event that the user has not.
            StoreError: it could not be written, or the store did not say so; the message has the id to try again with.
        """
        with self._held():
            state = self._state(owner)
            decided = decide(state.records)
            if isinstance(decided, str):
                return decided
            event, evidence = decided
            if isinstance(event, Retraction) and event.target not in state.records:
                raise InvalidEventError(f"This user has no event {event.target!r} to take back. Pass an id of theirs.")
            # A clock that goes backwards must not make the newest word the older one.
            last = max((record.event.time or 0.0 for record in state.records.values()), default=0.0)
            event = event.stamped(id=uuid.uuid4().hex, time=max(time.time(), last), user=user, tenant=self.tenant)
            sequence = 1 + max((record.sequence for record in state.records.values()), default=-1)
            record = Recorded(event, sequence, evidence)
            try:
                self._write(owner, user, [record])
                if record.id in state.records:
                    self._drop_wordings(owner, state, [record])
            except StoreError as error:
                self._states.pop(owner, None)  # the store knows how far it got
                again = f"Record it again with id={record.id!r}: however far it got, it will count once."
                raise StoreError(f"{error} {again}") from error
            state.add([record])
            return record.id

    def extend(self, owner: str, user: str, records: Sequence[Recorded]) -> int:
        """Add those records that the user has not, or has an older version of, as they are, and return how many."""
        with self._held():
            state = self._state(owner)
            new = [record for record in records if is_new(record, state.records)]
            if new:
                self._write(owner, user, new)
                self._drop_wordings(owner, state, new)
                state.add(new)
            return len(new)

    def claim(self, owner: str, scorer: Scorer) -> list[Recorded]:
        """Return the records whose evidence waits, to be judged by whoever asks first for this scorer."""
        with self._held():
            state = self._state(owner)
            pending = [record for record in state.records.values() if record.evidence.pending]
            if not pending or state.tried is scorer:
                return []
            state.tried = scorer
            return pending

    def replace(self, owner: str, user: str, records: Sequence[Recorded]) -> None:
        """Write records with new evidence over those with their id; what was forgotten by now stays so."""
        with self._held():
            state = self._state(owner)
            there = [record for record in records if record.id in state.records]
            if there:
                self._write(owner, user, there, judged=False)
                state.add(there)

    def erase(self, owner: str, event_id: str | None = None) -> int:
        """Erase a user, or one of their events, from every file; return the number of rows that were erased.

        Raises:
            InvalidEventError: the user has no event with this id.
            StoreError: it failed; call it again.
        """
        with self._held():
            rows = None
            if event_id is not None:
                rows = rows_of_event(owner, self._state(owner).records.values(), event_id)
            self._states.pop(owner, None)
            return self._open.erase(owner, rows)

    # --- the store ---

    @contextmanager
    def store(self, *, to_write: bool = False) -> Iterator[Store]:
        """Lend the store for a few calls that belong together; nobody else reads or writes meanwhile.

        Args:
            to_write: rows are to be added. The store has to know the embeddings' size for that.
        """
        with self._held():
            if to_write:
                self._catalogue_vectors()
            yield self._open

    def repair(self) -> RepairReport:
        """Look through the database and all vectors, and make those anew that cannot be read."""
        with self.store() as store:
            return store.repair()

    def close(self) -> None:
        """Release the store. More calls to `close` do nothing; any other call raises StoreClosedError.

        In a forked child it does nothing either: the store is its parent's.
        """
        if self._process != os.getpid():
            return
        with self._held():
            if self._store is not None:
                self._store.close()
            self._store = None

    def check_open(self) -> None:
        """Raise StoreClosedError after `close`, and StoreForkedError in a forked child. It takes no lock."""
        if self._process != os.getpid():
            raise StoreForkedError(
                f"This memory was opened in process {self._process} before it forked this one, {os.getpid()}, "
                "and works only there: what was recorded here would be lost. Open the first one after the fork "
                "(gunicorn: in post_fork, or without preload_app), one process at a time for a folder; for more, "
                "use a Chroma server with url=."
            )
        if self._store is None:
            raise StoreClosedError(self._why)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the lock; in a forked child, where a thread of the parent may hold it for ever, raise instead."""
        if self._process != os.getpid():
            self.check_open()
        with self._lock:
            yield

    # --- inside; whoever calls holds the lock ---

    @property
    def _open(self) -> Store:
        self.check_open()
        assert self._store is not None
        return self._store

    def _state(self, owner: str, *, vectors: bool = False) -> _State:
        """Load a user's records, or take those at hand; where they are loaded, with `vectors` those in one go."""
        store = self._open
        if store.shared or owner not in self._states:
            together = vectors and not store.shared
            found, own_vectors = store.read_with_vectors(owner) if together else (store.read(owner, "event"), {})
            rows = [(read_record(json.loads(row["record"])), row) for row in found]
            rows.sort(key=lambda item: item[0].sequence)
            cleared = frozenset(
                reading.text
                for record, row in rows
                for reading in record.evidence.readings
                if row.get("rules") == self._rulebook
            )
            self._states[owner] = _State({record.id: record for record, _ in rows}, cleared, own_vectors)
        self._states.move_to_end(owner)
        while len(self._states) > CACHED_USERS:
            self._states.popitem(last=False)
        return self._states[owner]

    def _write(self, owner: str, user: str, records: Sequence[Recorded], *, judged: bool = True) -> None:
        """Write events and the user's own wordings with their vectors.

        Args:
            owner, user: whose.
            records: the events.
            judged: whether their words were held against today's rules just now.
        """
        self._catalogue_vectors()  # the store learns the embeddings' size from them
        about = {"owner": owner, "tenant": self.tenant, "user": user}
        rules = {"rules": self._rulebook} if judged else {}
        rows: list[StoredRow] = []
        texts: dict[str, str] = {}
        for record in records:
            line = json.dumps(record_to_dict(record), ensure_ascii=False, allow_nan=False)
            rows.append(
                StoredRow(row_id(owner, "event", record.id), {**about, **rules, "kind": "event", "record": line})
            )
            texts.update({text_key(item.text): item.text for item in record.evidence.readings if _own(item)})
        vectors_NE = embed_wishes(self._embedder, list(texts.values())) if texts else ()
        for (key, text), vector_E in zip(texts.items(), vectors_NE, strict=True):
            rows.append(StoredRow(row_id(owner, "wording", key), {**about, "kind": "wording", "text": text}, vector_E))
        self._open.write(owner, rows)

    def _drop_wordings(self, owner: str, state: _State, newer: Sequence[Recorded]) -> None:
        """Remove the wordings that only older versions of these records have."""
        older = {record.id: state.records[record.id] for record in newer if record.id in state.records}
        kept = [record for record in state.records.values() if record.id not in older] + list(newer)
        stale = {key for record in older.values() for key in wordings(record)}
        stale -= {key for record in kept for key in wordings(record)}
        if stale:
            self._open.delete(owner, [row_id(owner, "wording", key) for key in sorted(stale)])

    def _catalogue_vectors(self) -> dict[str, np.ndarray]:
        """The stored vectors of the catalogue's canonical texts, embedded and stored at the first need."""
        if not self._canonical_vectors:
            found = self._open.catalogue.read(self._canonical)
            missing = [text for text in self._canonical if text not in found]
            if missing:
                self._open.catalogue.add(missing, embed_wishes(self._embedder, missing))
                found = self._open.catalogue.read(self._canonical)
            self._canonical_vectors = found
        return self._canonical_vectors

    def _vectors(self, owner: str, state: _State, profile: Profile) -> Mapping[str, np.ndarray]:
        """The stored vectors of the catalogue's texts and of a profile's preferences, by text."""
        canonical = self._catalogue_vectors()
        texts = [item.text for item in profile.preferences]
        ids = {
            row_id(owner, "wording", text_key(text)): text
            for text in texts
            if text not in canonical and text not in state.own_vectors
        }
        if ids:
            found = self._open.vectors(owner, list(ids))
            state.own_vectors.update((ids[id], vector_E) for id, vector_E in found.items())
        own = {text: state.own_vectors[text] for text in texts if text in state.own_vectors}
        return MappingProxyType({**own, **canonical})


def is_new(record: Recorded, known: Mapping[str, Recorded]) -> bool:
    """Whether a user who has the known records, by id, has not this one or an older version of it."""
    older = known.get(record.id)
    return older is None or record.event.supersedes(older.event)


def _by_time(state: _State) -> tuple[Recorded, ...]:
    return tuple(sorted(state.records.values(), key=lambda record: record.order))


def _own(reading: Reading) -> bool:
    return not reading.ends and (reading.key is None or reading.key.startswith("text:"))
