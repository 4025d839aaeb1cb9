"""`PreferenceMemory`: record feedback, ask for the profile, get the condition of the next generation."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from pad_memory.catalogue import CATALOGUE, Dimension
from pad_memory.embedding import Embedder, SentenceEmbedder, embed
from pad_memory.errors import InvalidEventError, InvalidUserError, StoreClosedError, StoreVersionError
from pad_memory.events import Critique, Feedback, Preference, check_text
from pad_memory.inference import Evidence, Profile, Recorded, fold, text_key
from pad_memory.items import Items
from pad_memory.reading import Reader
from pad_memory.responses import ResponseLog
from pad_memory.scoring import Scorer, judge
from pad_memory.selection import Condition, cosine, select
from pad_memory.store import Row, Store, row_id

__all__ = ["PreferenceMemory"]

EXPORT_VERSION = 1
MAX_USER_BYTES = 1024
CACHED_USERS = 1024

logger = logging.getLogger(__name__)


@dataclass
class _State:
    """A user's records in memory, in the order they were recorded, and what was concluded from them."""

    records: list[Recorded]
    profile: Profile | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)  # of their own wordings, by key, as stored
    tried: Scorer | None = None  # the scorer that has already been asked for the pending evidence

    @property
    def ids(self) -> set[str]:
        return {record.id for record in self.records}

    def add(self, records: Sequence[Recorded]) -> None:
        """Add records, or replace those with the same id."""
        self.records = list({record.id: record for record in (*self.records, *records)}.values())
        self.profile = None


class PreferenceMemory:
    """What each user likes, learned from their feedback and kept in Chroma. Safe to share between threads.

    Args:
        path: the folder to keep it in, made if it is missing; one process at a time. None: a temporary one, gone
            after `close`.
        url: a Chroma server instead, "http://host:8000"; for more than one process.
        tenant: a namespace; users of different tenants never meet.
        scorer: judges responses, normally the PersRM. Without one, judgements wait until `memory.scorer` is set.
        embedder: turns texts into the vectors that steer; default `SentenceEmbedder("all-MiniLM-L6-v2")`.
        catalogue: the dimensions along which preferences are inferred.
        responses: the log of recent answers, for feedback that names only a response id; None is one with its defaults.

    Raises:
        InvalidEventError: path and url together, or a tenant that is not text.
        StoreLockedError, StoreVersionError, StoreError: the store cannot be opened; see `pad_memory.errors`.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        *,
        url: str | None = None,
        tenant: str = "default",
        scorer: Scorer | None = None,
        embedder: Embedder | None = None,
        catalogue: Sequence[Dimension] = CATALOGUE,
        responses: ResponseLog | None = None,
    ) -> None:
        if path is not None and url is not None:
            raise InvalidEventError(f"Pass path or url, not both; got {str(path)!r} and {url!r}.")
        self.tenant = check_text("tenant", tenant)
        self.catalogue = tuple(catalogue)
        self.embedder = embedder or _default_embedder()
        self.responses = ResponseLog() if responses is None else responses
        self._scorer = scorer
        self._reader = Reader(self.catalogue, self.embedder)
        self._mutex = threading.RLock()
        self._states: OrderedDict[str, _State] = OrderedDict()
        self._cached = url is None  # a server may have other writers
        self._canonical: dict[str, np.ndarray] = {}
        self._store: Store | None = Store(path, url, self.embedder.name)

    @property
    def scorer(self) -> Scorer | None:
        """The scorer in use. Setting one makes pending evidence count from the next call on."""
        return self._scorer

    @scorer.setter
    def scorer(self, scorer: Scorer | None) -> None:
        self._scorer = scorer

    # --- what users tell us ---

    def record(self, user: str, event: Feedback) -> str:
        """Keep an event for good and return its id. An event whose id the user already has is counted once.

        Raises:
            InvalidUserError: the user id is empty, over 1,024 bytes or not valid text.
            InvalidEventError: not a Feedback event.
            UnknownResponseError: it names a response id that is not of a recent answer to this user.
            StoreError: it could not be written; then nothing of it is kept.
        """
        owner = self._owner(user)
        if not isinstance(event, Feedback):
            raise InvalidEventError(f"record takes a Feedback event such as Statement('be brief'), but got {event!r}.")
        with self._mutex:
            if event.id is not None and event.id in self._state(owner).ids:
                return event.id
        event = event.resolved(lambda response_id: self.responses.find(user, response_id))
        evidence = self._evidence(event)  # takes the scorer's time, so outside the lock
        with self._mutex:
            state = self._state(owner)
            if event.id is not None and event.id in state.ids:
                return event.id
            # A clock that goes backwards must not make the newest word the older one.
            last = max((record.event.time or 0.0 for record in state.records), default=0.0)
            event = event.stamped(id=uuid.uuid4().hex, time=max(time.time(), last))
            record = Recorded(event, 1 + max((item.sequence for item in state.records), default=-1), evidence)
            self._write(owner, user, [record])
            state.add([record])
        return record.id

    def events(self, user: str) -> tuple[Feedback, ...]:
        """Return a user's events, oldest first."""
        return tuple(record.event for record in self._records(self._owner(user)))

    def users(self) -> list[str]:
        """Return the ids of all users of this tenant, sorted."""
        with self._mutex:
            return self._open.users(self.tenant)

    # --- what we conclude ---

    def profile(self, user: str) -> Profile:
        """Return everything concluded about a user: preferences with weight, confidence, source and evidence."""
        return self._profile(self._owner(user))

    def condition(self, user: str, query: str | None = None, thread: str | None = None, budget: int = 5) -> Condition:
        """Return the few weighted preferences for the user's next generation; empty for a user nothing is known about.

        Args:
            user: the user id.
            query: what the user asks now; where not all fit, wishes in the user's own words that are near to it go
                first.
            thread: the conversation. It makes no difference yet.
            budget: preferences at most, 0 or more.
        """
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < 0:
            raise InvalidEventError(f"budget has to be a number of preferences, 0 or more, but is {budget!r}.")
        owner = self._owner(user)
        profile = self._profile(owner)
        vectors = self._vectors(owner, profile.preferences)
        own = [item for item in profile.preferences if item.key.startswith("text:")]
        similarity = None
        if query and query.strip() and own and len(profile.preferences) > budget:
            query_E = embed(self.embedder, [query])[0]
            similarity = {item.key: cosine(vectors[item.key], query_E) for item in own}
        chosen, left_out = select(profile, budget, similarity)
        return Condition(user, tuple(replace(item, embedding=vectors[item.key]) for item in chosen), left_out)

    # --- leaving ---

    def forget(self, user: str) -> int:
        """Erase everything about a user from every file; return the number of rows that were erased.

        Until `close`, Chroma may still write old memory of this process into the unused part of a new index file;
        closing blanks it.

        On a server (`url=`) the rows are deleted, but only its operator can erase the bytes: `chroma vacuum`.
        """
        owner = self._owner(user)
        self.responses.forget(user)
        with self._mutex:
            self._states.pop(owner, None)
            return self._open.erase(owner)

    def export(self, user: str) -> dict[str, Any]:
        """Return all that is kept about a user as a JSON-able dict, for the user or for `import_`."""
        owner = self._owner(user)
        records = self._records(owner)
        return {
            "format": "pad-memory",
            "version": EXPORT_VERSION,
            "tenant": self.tenant,
            "user": user,
            "events": [_record_to_dict(record) for record in records],
            "items": Items(self).export(user),
            "profile": self._profile(owner).to_dict(),
        }

    def import_(self, data: Mapping[str, Any]) -> int:
        """Add the events and items of an export to its user and return how many were new.

        All events are checked before one is written, and so are all items.

        Raises:
            InvalidEventError: not an export.
            StoreVersionError: an export of a newer version.
        """
        if not isinstance(data, Mapping) or data.get("format") != "pad-memory" or "user" not in data:
            raise InvalidEventError("import_ takes what export returned: a dict with the format 'pad-memory'.")
        if not isinstance(data.get("version"), int) or data["version"] > EXPORT_VERSION:
            raise StoreVersionError(
                f"This export has version {data.get('version')!r}, written by a newer version; this one reads up to "
                f"{EXPORT_VERSION}. Upgrade pad-langchain."
            )
        owner = self._owner(data["user"])
        try:
            records = [_read_record(item) for item in data["events"]]
        except (KeyError, TypeError) as error:
            raise InvalidEventError(f"This export has an event that cannot be read: {error!r}.") from error
        with self._mutex:
            state = self._state(owner)
            new = [record for record in records if record.id not in state.ids]
            if new:
                self._write(owner, data["user"], new)
                state.add(new)
        return len(new) + Items(self).restore(data["user"], data.get("items", ()))

    def close(self) -> None:
        """Release the store. More calls to `close` do nothing; any other call raises StoreClosedError."""
        self.responses.clear()
        with self._mutex:
            if self._store is not None:
                self._store.close()
            self._store = None
            self._states.clear()

    def __enter__(self) -> PreferenceMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    # --- inside ---

    @property
    def _open(self) -> Store:
        if self._store is None:
            raise StoreClosedError("This PreferenceMemory was closed. Open a new one on the same path.")
        return self._store

    def _owner(self, user: object) -> str:
        """The hash that stands for (tenant, user) in every row: no id can be taken for a pattern or for another id."""
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
        return hashlib.sha256(json.dumps([self.tenant, user]).encode()).hexdigest()

    def _state(self, owner: str) -> _State:
        """Load a user's records, or take them from the cache. The caller holds the mutex."""
        store = self._open
        if not self._cached or owner not in self._states:
            records = [_read_record(json.loads(row["record"])) for row in store.read(owner, "event")]
            self._states[owner] = _State(sorted(records, key=lambda record: record.sequence))
        self._states.move_to_end(owner)
        while len(self._states) > CACHED_USERS:
            self._states.popitem(last=False)
        return self._states[owner]

    def _records(self, owner: str) -> list[Recorded]:
        with self._mutex:
            return sorted(self._state(owner).records, key=lambda record: record.order)

    def _profile(self, owner: str) -> Profile:
        state = self._settled(owner)
        with self._mutex:
            if state.profile is None:
                state.profile = fold(state.records, self.catalogue)
            return state.profile

    def _evidence(self, event: Feedback) -> Evidence:
        words = event.words
        # A critique is about one response, so only what it says of the catalogue's dimensions is a lasting wish.
        readings = self._reader.read(words, keep_rest=not isinstance(event, Critique)) if words else ()
        return replace(self._scored([event])[0], readings=readings)

    def _scored(self, events: Sequence[Feedback]) -> list[Evidence]:
        """Judge the responses of events in one call of the scorer; pending where there is none or it fails."""
        pairs = [pair for event in events for pair in event.responses]
        waiting = [Evidence(styles=None if event.responses else ()) for event in events]
        if not pairs or self._scorer is None:
            return waiting
        try:
            margins, styles = judge(self._scorer, pairs, self.catalogue)
        except Exception:
            logger.warning("The scorer failed; the evidence of %d events stays pending.", len(events), exc_info=True)
            return waiting
        found, start = [], 0
        for event in events:
            stop = start + len(event.responses)
            found.append(Evidence(styles=styles[start:stop], margins=margins[start:stop]))
            start = stop
        return found

    def _settled(self, owner: str) -> _State:
        """Load a user and compute the evidence that waited for a scorer, once for each scorer."""
        scorer = self._scorer
        with self._mutex:
            state = self._state(owner)
            pending = [record for record in state.records if record.evidence.pending]
            if scorer is None or not pending or state.tried is scorer:
                return state
            state.tried = scorer
            user = self._user_of(owner)
        scored = self._scored([record.event for record in pending])
        settled = [
            replace(record, evidence=replace(evidence, readings=record.evidence.readings))
            for record, evidence in zip(pending, scored, strict=True)
            if not evidence.pending
        ]
        with self._mutex:
            state = self._state(owner)
            settled = [record for record in settled if record.id in state.ids]  # the user may be forgotten by now
            if settled:
                self._write(owner, user, settled)
                state.add(settled)
        return state

    def _user_of(self, owner: str) -> str:
        user: str = self._open.read(owner, "event")[0]["user"]
        return user

    def _write(self, owner: str, user: str, records: Sequence[Recorded]) -> None:
        """Write events and the user's own wordings with their vectors. The caller holds the mutex."""
        self._catalogue_vectors()
        about = {"owner": owner, "tenant": self.tenant, "user": user}
        rows: list[Row] = []
        texts: dict[str, str] = {}
        for record in records:
            line = json.dumps(_record_to_dict(record), ensure_ascii=False, allow_nan=False)
            rows.append((row_id(owner, "event", record.id), {**about, "kind": "event", "record": line}, None))
            texts.update({text_key(item.text): item.text for item in record.evidence.readings if item.key is None})
        rows += self._wording_rows(owner, about, texts)
        self._open.write(owner, rows)

    def _wording_rows(self, owner: str, about: dict[str, str], texts: Mapping[str, str]) -> list[Row]:
        vectors_NE = embed(self.embedder, list(texts.values())) if texts else ()
        return [
            (row_id(owner, "wording", key), {**about, "kind": "wording", "text": text}, vector_E)
            for (key, text), vector_E in zip(texts.items(), vectors_NE, strict=True)
        ]

    def _catalogue_vectors(self) -> dict[str, np.ndarray]:
        """The stored vectors of the catalogue's canonical texts, embedded and stored at the first need."""
        if not self._canonical:
            texts = [pole.text for dimension in self.catalogue for pole in dimension.poles]
            found = self._open.catalogue_vectors(texts)
            missing = [text for text in texts if text not in found]
            if missing:
                self._open.add_catalogue_vectors(missing, embed(self.embedder, missing))
                found = self._open.catalogue_vectors(texts)
            self._canonical = found
        return self._canonical

    def _vectors(self, owner: str, preferences: Sequence[Preference]) -> dict[str, np.ndarray]:
        """The stored vectors of some preferences, key → float32 [E]."""
        if not preferences:
            return {}
        with self._mutex:
            canonical = self._catalogue_vectors()
            known = self._state(owner).vectors
            ids = {
                row_id(owner, "wording", item.key): item.key
                for item in preferences
                if item.text not in canonical and item.key not in known
            }
            known.update((ids[id], vector_E) for id, vector_E in self._open.vectors(owner, list(ids)).items())
        return {item.key: canonical[item.text] if item.text in canonical else known[item.key] for item in preferences}


@lru_cache(maxsize=1)
def _default_embedder() -> SentenceEmbedder:
    """One for the process: the model and its cache are shared by all memories."""
    return SentenceEmbedder()


def _record_to_dict(record: Recorded) -> dict[str, Any]:
    return {"event": record.event.to_dict(), "sequence": record.sequence, "evidence": record.evidence.to_dict()}


def _read_record(data: Mapping[str, Any]) -> Recorded:
    event = Feedback.from_dict(data["event"])
    if event.id is None or event.time is None:
        raise InvalidEventError("A recorded event needs its id and time. Pass new events to record() instead.")
    return Recorded(event, int(data["sequence"]), Evidence.from_dict(data["evidence"]))
