"""`PreferenceMemory`: record feedback, ask for the profile, get the condition of the next generation."""

from __future__ import annotations

import logging
import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pad_memory.aio import AsyncMemory
from pad_memory.catalogue import CATALOGUE, Dimension
from pad_memory.condition.condition import condition_of, found
from pad_memory.condition.select import Condition
from pad_memory.embedding import Embedder, SentenceEmbedder
from pad_memory.errors import InvalidEventError, StoreClosedError, StoreError
from pad_memory.events import Feedback, Retraction, check_text
from pad_memory.evidence.compute import Listener
from pad_memory.evidence.scorer import Scorer
from pad_memory.language.reader import Reader, ReadsWishes
from pad_memory.language.scopes import Relevance
from pad_memory.profile.elicitation import Question, questions
from pad_memory.profile.population import Population
from pad_memory.profile.posterior import HALF_LIFE, Evidence, Profile, Recorded, fold
from pad_memory.profile.preference import Preference
from pad_memory.profile.wishes import retracted, standing
from pad_memory.sources.responses import ResponseLog
from pad_memory.store.forgetting import rows_of_event
from pad_memory.store.ledger import Ledger, State, owner_of
from pad_memory.store.shards import RepairReport, Store
from pad_memory.store.training_pairs import pairs_of
from pad_memory.store.transfer import export_user, import_user
from pad_memory.values.policy import Guard, Values

__all__ = ["PreferenceMemory"]

DAY = 86_400.0  # seconds
logger = logging.getLogger(__name__)


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
        reader: finds wishes in words, instead of the built-in one, which takes over where it fails.
        population: what other users want, from `survey`, for users and dimensions nothing is known about; None: such
            a user gets the plain base model.
        values: the operator's floor of universal values: what no wish may ask for, and what always steers.
        half_life: days after which a judgement counts half, above 0; None: judgements never fade. Words never do.

    Raises:
        InvalidEventError: path and url together, a tenant that is not text, or a half-life that is not above 0.
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
        reader: ReadsWishes | None = None,
        population: Population | None = None,
        values: Values | None = None,
        half_life: float | None = HALF_LIFE / DAY,
    ) -> None:
        if path is not None and url is not None:
            raise InvalidEventError(f"Pass path or url, not both; got {str(path)!r} and {url!r}.")
        if half_life is not None and not half_life > 0:
            raise InvalidEventError(f"half_life has to be a number of days above 0, or None, but is {half_life!r}.")
        self.tenant = check_text("tenant", tenant)
        self.catalogue = tuple(catalogue)
        self.embedder = embedder or _default_embedder()
        self.responses = ResponseLog() if responses is None else responses
        self.population = population
        self._half_life = None if half_life is None else half_life * DAY
        self._scorer = scorer
        self._listener = Listener(self.catalogue, self.embedder, reader, None if path is None else Path(path))
        self._guard = Guard(values or Values(), self.embedder, self.catalogue)
        self._relevance = Relevance(self.embedder)
        self._mutex = threading.RLock()
        # What they keep of prompts goes when somebody is forgotten.
        self.engines: weakref.WeakSet[Any] = weakref.WeakSet()
        self._on_forget: set[weakref.WeakMethod[Any]] = set()
        self._warned = False
        store = Store(path, url, self.embedder)
        self._books: Ledger | None = Ledger(store, self.embedder, catalogue, self.tenant, self._guard.rulebook)

    @property
    def scorer(self) -> Scorer | None:
        """The scorer in use. Setting one makes pending evidence count from the next call on."""
        return self._scorer

    @scorer.setter
    def scorer(self, scorer: Scorer | None) -> None:
        self._scorer = scorer

    def attach(self, *, scorer: Scorer | None = None, on_forget: Callable[[], object] | None = None) -> None:
        """Let an engine work with this memory; the same again changes nothing.

        Args:
            scorer: judges responses if the memory has no scorer yet. A second, different one is not used.
            on_forget: called after `forget`; a bound method is held weakly.
        """
        with self._mutex:
            if self._scorer is None:
                self._scorer = scorer
            elif scorer is not None and scorer is not self._scorer and not self._warned:
                self._warned = True
                logger.warning("This memory has a scorer already; its margins keep one scale, so another is not used.")
            if on_forget is not None:
                self._on_forget.add(weakref.WeakMethod(on_forget))

    @property
    def reader(self) -> Reader:
        """The built-in reader of wishes, which knows this memory's catalogue."""
        return self._listener.reader

    # --- what users tell us ---

    def record(self, user: str, event: Feedback) -> str:
        """Keep an event for good and return its id. An event whose id the user already has is counted once.

        Raises:
            InvalidUserError: the user id is empty, over 1,024 bytes or not valid text.
            InvalidEventError: not a Feedback event.
            UnknownResponseError: it names a response id that is not of a recent answer to this user.
            StoreError: it could not be written, or the store did not say so; the message has the id to try again with.
        """
        owner = self._owner(user)
        if not isinstance(event, Feedback):
            raise InvalidEventError(f"record takes a Feedback event such as Statement('be brief'), but got {event!r}.")
        if event.user not in (None, user):
            raise InvalidEventError(f"This event is of {event.user!r}, not of {user!r}. Record it for its own user.")
        with self._mutex:
            if event.id is not None and event.id in self._ledger.state(owner).ids:
                return event.id
        if event.time is not None and event.time > time.time() + DAY:
            raise InvalidEventError(
                f"time is {event.time!r}, more than a day ahead of this machine's clock; everything else would look "
                "old beside it. Leave it out, or set the clock of whoever sent it."
            )
        event = event.resolved(lambda response_id: self.responses.find(user, response_id))
        evidence = self._listener.evidence(event, self._scorer)  # takes the scorer's time, so outside the lock
        evidence = self._under_floor(event, evidence)
        with self._mutex:
            state = self._ledger.state(owner)
            if event.id is not None and event.id in state.ids:
                return event.id
            if isinstance(event, Retraction) and event.target not in state.ids:
                raise InvalidEventError(f"This user has no event {event.target!r} to take back. Pass an id of theirs.")
            evidence = self._listener.placed(evidence, state.records)
            # A clock that goes backwards must not make the newest word the older one.
            last = max((record.event.time or 0.0 for record in state.records), default=0.0)
            event = event.stamped(id=uuid.uuid4().hex, time=max(time.time(), last), user=user, tenant=self.tenant)
            record = Recorded(event, 1 + max((item.sequence for item in state.records), default=-1), evidence)
            try:
                self._ledger.write(owner, user, [record])
            except StoreError as error:
                self._ledger.drop(owner)  # the store knows how far it got
                again = f"Record it again with id={record.id!r}: however far it got, it will count once."
                raise StoreError(f"{error} {again}") from error
            state.add([record])
        return record.id

    def retract(self, user: str, event_id: str) -> str:
        """Take one event back, so that everything is as if it had never been; return the id of the retraction.

        The event stays in the log. Taking it back again changes nothing and returns the same id; taking back that
        retraction makes the event count again. `forget` erases.

        Raises:
            InvalidEventError: the user has no event with this id.
        """
        with self._mutex:
            done = retracted(self._ledger.state(self._owner(user)).records)
            return done[event_id] if event_id in done else self.record(user, Retraction(event_id))

    def undo(self, user: str) -> str:
        """Take back the event that was recorded last and still counts; return its id.

        Raises:
            InvalidEventError: there is none.
        """
        with self._mutex:
            counting = standing(self._ledger.state(self._owner(user)).records)
            if not counting:
                raise InvalidEventError(f"There is nothing to undo: no event of {user!r} counts.")
            last = max(counting, key=lambda record: record.sequence).id
            self.retract(user, last)
        return last

    def events(self, user: str) -> tuple[Feedback, ...]:
        """Return a user's events, oldest first."""
        return tuple(record.event for record in self._records(self._owner(user)))

    def users(self) -> list[str]:
        """Return the ids of all users of this tenant, sorted."""
        with self._mutex:
            return self._open.users(self.tenant)

    # --- what we conclude ---

    def profile(self, user: str, at: float | None = None) -> Profile:
        """Return everything concluded about a user: preferences with weight, confidence, source and evidence.

        Args:
            user: the user id.
            at: Unix seconds; as it was then. None: now.
        """
        owner = self._owner(user)
        if at is None:
            return self._profile(owner)
        records = [record for record in self._settled(owner).records if record.order[0] <= at]
        return fold(records, self.catalogue, self._half_life)

    def history(self, user: str) -> tuple[Preference, ...]:
        """Return every wish in words the user had, the oldest first; those that stand have no valid_to."""
        profile = self.profile(user)
        stated = [item for item in profile.preferences if item.source == "stated"]
        return tuple(sorted((*profile.history, *stated), key=lambda item: item.valid_from or 0.0))

    def search(self, user: str, query: str, limit: int = 5) -> tuple[tuple[Preference, float], ...]:
        """Return at most `limit` preferences, past ones as well, by their cosine to a query, the nearest first."""
        return found(self, user, check_text("query", query), limit)

    def survey(self) -> Population:
        """Count what this tenant's users want, for `population=`; below 20 users it says nothing. Reads all of them."""
        return Population.of(self.profile(user) for user in self.users())

    def condition(
        self,
        user: str,
        query: str | None = None,
        thread: str | None = None,
        budget: int = 5,
        max_tokens: int | None = None,
    ) -> Condition:
        """Return the few weighted preferences for the user's next generation; empty for a user nothing is known about.

        Args:
            user: the user id.
            query: what the user asks now; it brings in wishes for its topic ("for code, be terse"), and where not all
                fit, wishes in the user's own words that are near to it go first.
            thread: the conversation; it brings in wishes for this conversation only.
            budget: preferences at most, 0 or more.
            max_tokens: tokens of all their texts at most, estimated, 0 or more; None: any number.
        """
        return condition_of(self, user, query, thread, budget, max_tokens)

    def next_question(self, user: str) -> Question | None:
        """Return the comparison whose answer is expected to teach most about the user; None where they are known."""
        return next(iter(self.questions(user)), None)

    def questions(self, user: str) -> tuple[Question, ...]:
        """Return the comparisons worth asking about, the most telling first."""
        return questions(self.profile(user).posterior, self.catalogue)

    # --- leaving ---

    def forget(self, user: str, event_id: str | None = None) -> int:
        """Erase a user, or one of their events, from every file; return the number of rows that were erased.

        When this returns, no id, text or vector of it is in a file of the folder, nor will any be: what Chroma leaves
        of old memory in new files is blanked by the call that makes them. Copies, backups and the disk's own are
        yours. On a server (`url=`) the rows are deleted, but only its operator can erase the bytes: `chroma vacuum`.
        Engines that decoded with this memory drop all the prompts that they keep.

        Args:
            user: the user id.
            event_id: only this event, what took it back, and wordings that no other event has. None: everything.

        Raises:
            InvalidEventError: the user has no event with this id.
            StoreError: it failed; call it again. Where it failed half-way, the next opening finishes it too.
        """
        owner = self._owner(user)
        with self._mutex:
            rows = None if event_id is None else rows_of_event(owner, self._ledger.state(owner).records, event_id)
            self.responses.forget(user)
            self._ledger.drop(owner)
            erased = self._open.erase(owner, rows)
        for engine in list(self.engines):
            engine.forget_prefixes()
        for method in list(self._on_forget):
            if (call := method()) is not None:
                call()
        return erased

    def repair(self) -> RepairReport:
        """Look through the database and all vectors, and make those anew that cannot be read.

        Opening a memory and reading from it repairs what it meets, so this is for certainty. It may take minutes.

        Raises:
            StoreError: the database itself is damaged, or the memory is on a server, which its operator repairs.
        """
        with self._mutex:
            return self._open.repair()

    @property
    def aio(self) -> AsyncMemory:
        """The same calls as coroutines."""
        return AsyncMemory(self)

    def export(self, user: str) -> dict[str, Any]:
        """Return all that is kept about a user as a JSON-able dict, for the user or for `import_`."""
        return export_user(self, user)

    def export_pairs(self, user: str | None = None) -> Iterator[dict[str, str]]:
        """Yield {prompt, preference, chosen, rejected} from choices and edits, to train a reward model on.

        They hold what users wrote and were answered, word for word: have their consent, and forget them there too.

        Args:
            user: the user id; None: all users of this tenant.
        """
        for name in self.users() if user is None else [user]:
            yield from pairs_of(self, name)

    def import_(self, data: Mapping[str, Any]) -> int:
        """Add the events and items of an export to its user and return how many were new.

        All events are checked before one is written, and so are all items.

        Raises:
            InvalidEventError: not an export.
            StoreVersionError: an export of a newer version.
        """
        return import_user(self, data)

    def close(self) -> None:
        """Release the store. More calls to `close` do nothing; any other call raises StoreClosedError."""
        self.responses.clear()
        with self._mutex:
            if self._books is not None:
                self._books.store.close()
            self._books = None

    def __enter__(self) -> PreferenceMemory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- inside ---

    @property
    def _ledger(self) -> Ledger:
        if self._books is None:
            raise StoreClosedError("This PreferenceMemory was closed. Open a new one on the same path.")
        return self._books

    @property
    def _open(self) -> Store:
        return self._ledger.store

    def _owner(self, user: object) -> str:
        return owner_of(self.tenant, user)

    def _records(self, owner: str) -> list[Recorded]:
        with self._mutex:
            return sorted(self._ledger.state(owner).records, key=lambda record: record.order)

    def _profile(self, owner: str) -> Profile:
        state = self._settled(owner)
        with self._mutex:
            if state.profile is None:
                state.profile = fold(state.records, self.catalogue, self._half_life)
            return state.profile

    def _under_floor(self, event: Feedback, evidence: Evidence) -> Evidence:
        """Let nothing come of words that ask for what the operator's values forbid; the event itself is kept."""
        if event.words is None:
            return evidence
        verdict = self._guard.check_all([event.words, *(reading.text for reading in evidence.readings)])
        return evidence if verdict.allowed else Evidence(verdict=verdict)

    def _settled(self, owner: str) -> State:
        """Load a user and compute the evidence that waited for a scorer, once for each scorer."""
        scorer = self._scorer
        with self._mutex:
            state = self._ledger.state(owner)
            pending = [record for record in state.records if record.evidence.pending]
            if scorer is None or not pending or state.tried is scorer:
                return state
            state.tried = scorer
            user = self._ledger.user_of(owner)
        scored = self._listener.scored([record.event for record in pending], scorer)
        settled = [
            replace(record, evidence=replace(evidence, readings=record.evidence.readings))
            for record, evidence in zip(pending, scored, strict=True)
            if not evidence.pending
        ]
        with self._mutex:
            state = self._ledger.state(owner)
            settled = [record for record in settled if record.id in state.ids]  # the user may be forgotten by now
            if settled:
                self._ledger.write(owner, user, settled, judged=False)
                state.add(settled)
        return state


@lru_cache(maxsize=1)
def _default_embedder() -> SentenceEmbedder:
    """One for the process: the model and its cache are shared by all memories."""
    return SentenceEmbedder()
