"""Users' records as they stand in the store and in the process's memory."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder, embed_wishes
from pad_memory.errors import InvalidEventError, InvalidUserError
from pad_memory.events import Feedback
from pad_memory.evidence.scorer import Scorer
from pad_memory.language.reader import Reading
from pad_memory.profile.posterior import Evidence, Profile, Recorded
from pad_memory.profile.preference import Preference
from pad_memory.profile.wishes import text_key
from pad_memory.store.shards import Row, Store, row_id

__all__ = ["Ledger", "State", "owner_of", "read_record", "record_to_dict"]

CACHED_USERS = 1024
MAX_USER_BYTES = 1024


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


@dataclass
class State:
    """A user's records in memory, in the order they were recorded, and what was concluded from them."""

    records: list[Recorded]
    profile: Profile | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)  # of their own wordings, by text, as stored
    tried: Scorer | None = None  # the scorer that has already been asked for the pending evidence
    cleared: frozenset[str] = frozenset()  # wishes that were held against today's rules when they were recorded

    @property
    def ids(self) -> set[str]:
        return {record.id for record in self.records}

    def add(self, records: Sequence[Recorded]) -> None:
        """Add records, or replace those with the same id."""
        self.records = list({record.id: record for record in (*self.records, *records)}.values())
        self.profile = None


class Ledger:
    """Users' records in the store, with those of recent users in memory. Whoever calls holds the memory's mutex.

    Args:
        store: an open one.
        embedder: turns the users' own wordings into vectors.
        catalogue: the memory's dimensions, whose vectors are kept too.
        tenant: whose users.
        rulebook: stands for the rules of values that new records were held against.
    """

    def __init__(
        self, store: Store, embedder: Embedder, catalogue: Sequence[Dimension], tenant: str, rulebook: str
    ) -> None:
        self.store = store
        self._embedder, self._tenant, self._rulebook = embedder, tenant, rulebook
        self._canonical = [pole.text for dimension in catalogue for pole in dimension.poles]
        self._canonical_vectors: dict[str, np.ndarray] = {}
        self._states: OrderedDict[str, State] = OrderedDict()

    def state(self, owner: str, *, vectors: bool = False) -> State:
        """Load a user's records, or take them from memory; where they are loaded, with `vectors` those in one go."""
        if self.store.shared or owner not in self._states:
            together = vectors and not self.store.shared
            found, known = self.store.read_with_vectors(owner) if together else (self.store.read(owner, "event"), {})
            rows = [(read_record(json.loads(row["record"])), row) for row in found]
            self._states[owner] = State(
                sorted((record for record, _ in rows), key=lambda record: record.sequence),
                vectors=known,
                cleared=frozenset(
                    reading.text
                    for record, row in rows
                    for reading in record.evidence.readings
                    if row.get("rules") == self._rulebook
                ),
            )
        self._states.move_to_end(owner)
        while len(self._states) > CACHED_USERS:
            self._states.popitem(last=False)
        return self._states[owner]

    def drop(self, owner: str) -> None:
        """Forget what is in memory of a user."""
        self._states.pop(owner, None)

    def user_of(self, owner: str) -> str:
        """Return the id of a user who has events."""
        user: str = self.store.read(owner, "event")[0]["user"]
        return user

    def write(self, owner: str, user: str, records: Sequence[Recorded], *, judged: bool = True) -> None:
        """Write events and the user's own wordings with their vectors.

        Args:
            owner, user: whose.
            records: the events.
            judged: whether their words were held against today's rules just now.
        """
        self.catalogue_vectors()  # the store learns the embeddings' size from them
        about = {"owner": owner, "tenant": self._tenant, "user": user}
        rules = {"rules": self._rulebook} if judged else {}
        rows: list[Row] = []
        texts: dict[str, str] = {}
        for record in records:
            line = json.dumps(record_to_dict(record), ensure_ascii=False, allow_nan=False)
            rows.append((row_id(owner, "event", record.id), {**about, **rules, "kind": "event", "record": line}, None))
            texts.update({text_key(item.text): item.text for item in record.evidence.readings if _own(item)})
        vectors_NE = embed_wishes(self._embedder, list(texts.values())) if texts else ()
        for (key, text), vector_E in zip(texts.items(), vectors_NE, strict=True):
            rows.append((row_id(owner, "wording", key), {**about, "kind": "wording", "text": text}, vector_E))
        self.store.write(owner, rows)

    def catalogue_vectors(self) -> dict[str, np.ndarray]:
        """Return the stored vectors of the catalogue's canonical texts, embedded and stored at the first need."""
        if not self._canonical_vectors:
            found = self.store.catalogue_vectors(self._canonical)
            missing = [text for text in self._canonical if text not in found]
            if missing:
                self.store.add_catalogue_vectors(missing, embed_wishes(self._embedder, missing))
                found = self.store.catalogue_vectors(self._canonical)
            self._canonical_vectors = found
        return self._canonical_vectors

    def vectors(self, owner: str, preferences: Sequence[Preference]) -> dict[str, np.ndarray]:
        """Return the stored vectors of some preferences, key → float32 [E]; of a forgotten user's there are none."""
        if not preferences:
            return {}
        canonical, known = self.catalogue_vectors(), self.state(owner).vectors
        ids = {
            row_id(owner, "wording", text_key(item.text)): item.text
            for item in preferences
            if item.text not in canonical and item.text not in known
        }
        known.update((ids[id], vector_E) for id, vector_E in self.store.vectors(owner, list(ids)).items())
        return {
            item.key: vector_E
            for item in preferences
            if (vector_E := canonical.get(item.text, known.get(item.text))) is not None
        }


def _own(reading: Reading) -> bool:
    return not reading.ends and (reading.key is None or reading.key.startswith("text:"))


def record_to_dict(record: Recorded) -> dict[str, Any]:
    """Return a record as a JSON-able dict."""
    return {"event": record.event.to_dict(), "sequence": record.sequence, "evidence": record.evidence.to_dict()}


def read_record(data: Mapping[str, Any]) -> Recorded:
    """Read what `record_to_dict` wrote.

    Raises:
        InvalidEventError: it has no id or time, so it was never recorded.
        StoreVersionError: the event was written by a newer version.
    """
    event = Feedback.from_dict(data["event"])
    if event.id is None or event.time is None:
        raise InvalidEventError("A recorded event needs its id and time. Pass new events to record() instead.")
    return Recorded(event, int(data["sequence"]), Evidence.from_dict(data["evidence"]))
