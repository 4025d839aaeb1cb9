"""Users' records, in the store and at hand. Its one lock is taken once for a read, and once for a write.

What it hands out is a snapshot, so that reading, scoring and choosing go on without the lock.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder, check_same
from pad_memory.errors import InvalidEventError, StoreError
from pad_memory.events import Feedback, Retraction
from pad_memory.evidence import Evidence, Recorded, Scorer, next_sequence
from pad_memory.language import embed_wishes
from pad_memory.profile import HALF_LIFE, Profile, Snapshot, chosen, fold, retracted, standing, text_key
from pad_memory.store.chroma import BATCH
from pad_memory.store.rows import StoredRow, owner_of, record_to_dict, row_id, version_rows
from pad_memory.store.shards import Store
from pad_memory.users.forgetting import outdated, rows_of_event
from pad_memory.users.opened import OpenStore
from pad_memory.users.retractions import retraction
from pad_memory.users.states import State, States, is_new, own_words

__all__ = ["Decide", "Ledger"]

# Given a user's records by id: the event to add with its evidence, or the id of the one that says it already.
Decide = Callable[[Mapping[str, Recorded]], tuple[Feedback, Evidence] | str]


class Ledger(OpenStore):
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
        super().__init__(store)
        self.tenant, self._name = tenant, uuid.uuid4().hex
        self._embedder, self._catalogue = embedder, tuple(catalogue)
        self._rulebook, self._half_life = rulebook, half_life
        self._canonical = [pole.text for dimension in catalogue for pole in dimension.poles]
        self._canonical_vectors: dict[str, np.ndarray] = {}
        self._states = States(rulebook)

    def owner(self, user: object) -> str:
        """Return the hash that stands for a user of this tenant in every row.

        Raises:
            InvalidUserError: the user id is empty, over 1,024 bytes or not valid text.
        """
        return owner_of(self.tenant, user)

    # --- reading ---

    def read(
        self,
        owner: str,
        *,
        vectors: bool = False,
        catalogue: bool = False,
        last_known: timedelta | None = None,
        young: timedelta | None = None,
    ) -> Snapshot:
        """Return what is known of a user now.

        Args:
            owner: whose.
            vectors: with the vectors of their preferences; of a user without one there are none.
            catalogue: with those of the catalogue's texts even then.
            last_known: where the store cannot be read, return what was known then, if it is no older; it has an age.
            young: return what is at hand, without vectors, if it is no older; the store is not asked then.
        """
        with self._held():
            if young is not None and (recent := self._states.last(owner, young)) is not None:
                return self._concluded(recent)
            last = None if last_known is None else self._states.last(owner, last_known)
            try:
                with nullcontext() if last is None else self._open.hurried():
                    state = self._state(owner, vectors=vectors)
                    known = self._concluded(state)
                    if vectors and not known.vectors and (catalogue or known.profile.preferences):
                        state.known = known = replace(known, vectors=self._vectors(owner, state, known.profile))
                    return known
            except StoreError:
                if last is None:
                    raise
                known, at_hand = self._concluded(last), {**last.own_vectors, **self._canonical_vectors}
                if any(item.text not in at_hand for item in known.profile.preferences):
                    raise
                return replace(known, vectors=at_hand, age=time.monotonic() - last.read)

    def setting(self, owner: str, name: str) -> str | None:
        """Return what a user set; None means nothing."""
        with self._held():
            state = self._state(owner)
            if state.chosen is None:
                state.chosen = chosen(state.records.values())
            return state.chosen.get(name)

    def records(self, owner: str) -> tuple[Recorded, ...]:
        """Return a user's records, oldest first, without concluding anything from them."""
        with self._held():
            return self._state(owner).by_time

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
            return decided if isinstance(decided, str) else self._append(owner, user, state, *decided)

    def undo(self, owner: str, user: str) -> str:
        """Take back a user's latest event that counts, and return its id.

        Of several processes that do so at once, one has the event and the others go on to the next. Who has it is
        written down before it is taken back. So one that dies in between has it taken back by the next.

        Raises:
            InvalidEventError: there is none.
        """
        with self._held():
            while True:
                state = self._state(owner)
                counting = [record for record in standing(state.records.values()) if record.event.versioned]
                if not counting:
                    raise InvalidEventError(f"There is nothing to undo: no event of {user!r} counts.")
                last = max(counting, key=lambda record: record.order).id
                event = retraction(last, state.records)
                mine = self._claim(owner, user, str(event.id))
                state = self._state(owner)  # with what others did until then
                if last in state.records and event.id not in state.records:
                    self._append(owner, user, state, event, Evidence())
                if mine and retracted(state.records.values()).get(last) == event.id:
                    return last

    def extend(self, owner: str, user: str, records: Sequence[Recorded]) -> int:
        """Add those records that the user has not, or has an older version of, as they are, and return how many."""
        with self._held():
            state = self._state(owner)
            new = [record for record in records if is_new(record, state.records)]
            if new:
                self._write(owner, user, state, new)
                self._drop_wordings(owner, state, new)
                state.add(new)
            return len(new)

    def unjudged(self, owner: str, scorer: Scorer) -> list[Recorded]:
        """Return the records whose evidence waits, to be judged by whoever asks first for this scorer."""
        with self._held():
            state = self._state(owner)
            if not state.waiting or state.tried is scorer:
                return []
            state.tried = scorer
            return state.waiting

    def replace(self, owner: str, user: str, records: Sequence[Recorded]) -> None:
        """Write records with new evidence over those they are of; what was forgotten or replaced by now stays so."""
        with self._held():
            state = self._state(owner)
            have = {id: record.event for id, record in state.records.items()}
            there = [record for record in records if have.get(record.id) == record.event]
            if there:
                self._write(owner, user, state, there, judged=False)
                state.add(there)

    def erase(self, owner: str, user: str, event_id: str | None = None) -> int:
        """Erase a user, or one of their events, from every file; return the number of rows that were erased.

        Raises:
            InvalidEventError: the user has no event with this id.
            StoreError: it failed; call it again.
        """
        with self._held():
            if event_id is None:
                self._states.drop(owner)
                return self._open.erase(owner)
            records = self._state(owner).records.values()
            rows = rows_of_event(owner, records, event_id)
            self._states.drop(owner)
            erased = self._open.erase(owner, rows)
            if self._open.shared and self._state(owner).records:  # the version went with the event
                self._open.write(owner, version_rows(owner, self._about(owner, user)))
            return erased

    def claim(self, owner: str, user: str, name: str, by: str) -> str:
        """Claim something of a user's for `by` unless somebody has it, and return who has it. It is for ever."""
        with self._held():
            return self._held_by(owner, user, name, by)

    def claimed(self, owner: str, name: str) -> str | None:
        """Return who has claimed something of a user's. None means nobody."""
        with self._held():
            return self._open.get(owner, [id := row_id(owner, "claim", name)]).get(id, {}).get("by")

    def leave(self, owner: str, records: Iterable[Recorded], items: Mapping[str, str]) -> bool:
        """Erase a user all of whose events and items are elsewhere by now; say whether that was done.

        Args:
            owner: whose.
            records, items: what is elsewhere: the events, and the items by the id of their row. If the user has
                something else by now, nothing is erased.
        """
        with self._held():
            state, rows = self._state(owner), self._open.rows_of(owner)
            have = {id: row["item"] for id, row in rows.items() if row["kind"] == "item"}
            events = {id for id, row in rows.items() if row["kind"] == "event"}
            known = {record.id: record for record in records}
            if state.records != known or events != {row_id(owner, "event", id) for id in known} or have != items:
                return False
            self._states.drop(owner)
            self._open.erase(owner, list(rows))
            return True

    def drop(self, owners: Iterable[str]) -> None:
        """Keep nothing of users at hand whose rows were erased. The caller has the store."""
        for owner in owners:
            self._states.drop(owner)

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

    # --- inside; whoever calls holds the lock ---

    def _state(self, owner: str, *, vectors: bool = False) -> State:
        """All there is of a user."""
        return self._states.of(self._open, owner, vectors=vectors)

    def _concluded(self, state: State) -> Snapshot:
        now = time.time()
        if state.known is None or not state.known.holds(now):
            profile = fold(state.by_time, self._catalogue, self._half_life, now)
            state.known = Snapshot(state.by_time, profile, state.cleared)
        return state.known

    def _append(self, owner: str, user: str, state: State, event: Feedback, evidence: Evidence) -> str:
        """Write an event that is not yet there in this version; return its id."""
        if isinstance(event, Retraction) and event.target not in state.records:
            raise InvalidEventError(f"This user has no event {event.target!r} to take back. Pass an id of theirs.")
        # A clock that goes backwards must not make the newest word the older one.
        last = max((record.event.time or 0.0 for record in state.records.values()), default=0.0)
        stamped = event.stamped(id=uuid.uuid4().hex, time=max(time.time(), last), user=user, tenant=self.tenant)
        record = Recorded(stamped, next_sequence(state.records.values()), evidence)
        try:
            self._write(owner, user, state, [record], added=event.id is None)  # else others may be told it
            if record.id in state.records:
                self._drop_wordings(owner, state, [record])
        except StoreError as error:
            self._states.drop(owner)  # the store knows how far it got
            again = f"Record it again with id={record.id!r}: however far it got, it will count once."
            raise StoreError(f"{error} {again}") from error
        state.add([record])
        return record.id

    def _claim(self, owner: str, user: str, name: str) -> bool:
        """Whether something that only one may do is this ledger's to do; from the first call on, for ever."""
        return not self._open.shared or self._held_by(owner, user, name, self._name) == self._name

    def _held_by(self, owner: str, user: str, name: str, by: str) -> str:
        """Claim something for `by` unless somebody has it, and return who has it."""
        self._catalogue_vectors()  # the store learns the embeddings' size from them
        row = StoredRow(row_id(owner, "claim", name), {**self._about(owner, user), "kind": "claim", "by": by})
        return str(self._open.claim(owner, row)["by"])

    def _about(self, owner: str, user: str) -> dict[str, str]:
        return {"owner": owner, "tenant": self.tenant, "user": user}

    def _write(
        self,
        owner: str,
        user: str,
        state: State,
        records: Sequence[Recorded],
        *,
        judged: bool = True,
        added: bool = False,
    ) -> None:
        """Write events, the user's own wordings with their vectors, and where others read, a new version.

        Args:
            owner, user, state: whose, and what they had.
            records: the events.
            judged: whether their words were held against today's rules just now.
            added: whether their ids were made just now, so that nobody else has them.
        """
        self._catalogue_vectors()  # the store learns the embeddings' size from them
        about = self._about(owner, user)
        rules = {"rules": self._rulebook} if judged else {}
        rows: list[StoredRow] = []
        texts: dict[str, str] = {}
        for record in records:
            line = json.dumps(record_to_dict(record), ensure_ascii=False, allow_nan=False)
            rows.append(
                StoredRow(row_id(owner, "event", record.id), {**about, **rules, "kind": "event", "record": line})
            )
            texts.update({text_key(item.text): item.text for item in record.evidence.readings if own_words(item)})
        vectors_NE = self._embedded(list(texts.values())) if texts else ()
        for (key, text), vector_E in zip(texts.items(), vectors_NE, strict=True):
            rows.append(StoredRow(row_id(owner, "wording", key), {**about, "kind": "wording", "text": text}, vector_E))
            state.own_vectors[text] = vector_E
        if not state.versioned:
            return self._open.write(owner, rows)
        size = BATCH - 2 if self._open.shared else len(rows)
        for start in range(0, len(rows), size):  # a call is all or nothing, so each has a version of its own
            self._open.write(owner, [*rows[start : start + size], *version_rows(owner, about, added=added)])
        return None

    def _embedded(self, texts: Sequence[str]) -> np.ndarray:
        """Embed wordings, after a look at whether the embedder still makes the vectors that the store holds."""
        *vectors_NE, again_E = embed_wishes(self._embedder, [*texts, self._canonical[0]])
        check_same(self._embedder, self._catalogue_vectors()[self._canonical[0]], again_E)
        return np.stack(vectors_NE)

    def _drop_wordings(self, owner: str, state: State, newer: Sequence[Recorded]) -> None:
        """Remove the wordings that only older versions of these records have."""
        if stale := outdated(state.records, newer):
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

    def _vectors(self, owner: str, state: State, profile: Profile) -> Mapping[str, np.ndarray]:
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
