"""`PreferenceMemory`: record feedback, ask for the profile, get the condition of the next generation."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pad_memory.aio import AsyncMemory
from pad_memory.callbacks import Callbacks
from pad_memory.catalogue import CATALOGUE, Dimension
from pad_memory.condition import Chooser, Condition, Request
from pad_memory.embedding import Embedder, default_embedder
from pad_memory.errors import InvalidEventError, PausedError
from pad_memory.events import Feedback, Setting, check_length
from pad_memory.evidence import Evidence, Interpreter, Recorded, Scorer
from pad_memory.fields import check_text
from pad_memory.keeping import Keeping
from pad_memory.language import UTC, Occasion, Reader, ReadsWishes, check_zone, occasion, place
from pad_memory.paths import absolute
from pad_memory.profile import (
    HALF_LIFE,
    Population,
    Preference,
    Profile,
    Question,
    Snapshot,
    chosen,
    fold,
    own_wishes,
    questions,
    retracted,
)
from pad_memory.settings import Settings
from pad_memory.sources import ResponseLog, former_ids
from pad_memory.store import RepairReport, Store
from pad_memory.users import Items, Ledger, retraction
from pad_memory.values import Guard, Values

__all__ = ["PreferenceMemory"]

DAY = 86_400.0  # seconds
logger = logging.getLogger(__name__)


class PreferenceMemory(Keeping):
    """What each user likes, learned from their feedback and kept in Chroma. Safe to share between threads.

    Copies are the same memory; how it is pickled to other processes is in `pad_memory.copies`.

    Args:
        path: the folder to keep it in, made if it is missing; one process at a time. None means a temporary one, gone
            after `close`.
        url: the address of a Chroma server, "http://host:8000"; for more than one process. None means a folder.
        tenant: a namespace; users of different tenants never meet.
        scorer: judges responses, normally the PersRM. Without one, judgements wait until one is attached.
        embedder: turns texts into the vectors that steer; default `SentenceEmbedder("all-MiniLM-L6-v2")`.
        catalogue: the dimensions along which preferences are inferred.
        responses: the log of recent answers, for feedback that names only a response id; None is one with its defaults.
        reader: finds wishes in words, instead of the built-in one, which takes over where it fails.
        population: what other users want, from `survey`, for users and dimensions nothing is known about. None means
            that such a user gets the plain base model.
        values: the operator's floor of universal values: what no wish may ask for, and what always steers.
        half_life: days after which a judgement counts half, above 0; None means judgements never fade. Words never do.
        last_known: how old a condition may be where a server cannot be reached: what was known then steers, and
            `Condition.age` says so. What another process forgot since may steer that long, too. None means that
            `condition` raises StoreError.
        selective: whether wishes are held back that do not belong into what is asked for, such as jokes from a letter.

    Raises:
        InvalidEventError: path and url together, a tenant that is not text, or a time span that is not above 0.
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
        last_known: timedelta | None = None,
        selective: bool = True,
    ) -> None:
        if path is not None and url is not None:
            raise InvalidEventError(f"Pass path or url, not both; got {str(path)!r} and {url!r}.")
        log = ResponseLog() if responses is None else responses
        self._given = Settings(
            url,
            tenant,
            scorer,
            embedder,
            tuple(catalogue),
            log,
            reader,
            population,
            values or Values(),
            half_life,
            last_known,
            selective,
        )
        self._set_up(path)

    def _set_up(self, path: str | Path | None = None, closed: str | None = None) -> None:
        given = self._given
        self.tenant, self.catalogue, self.responses = given.tenant, given.catalogue, given.responses
        self.embedder = given.embedder or default_embedder()
        self.population = given.population
        self._half_life = None if given.half_life is None else given.half_life * DAY
        self._scorer, self._refused_a_scorer = given.scorer, False
        self.guard = guard = Guard(given.values)
        folder = None if path is None else absolute(path)
        self._interpreter = Interpreter(self.catalogue, self.embedder, given.reader, folder, guard)
        self._chooser = Chooser(self.embedder, self.catalogue, guard)
        self._on_forget, self._on_answer = Callbacks(), Callbacks()
        store = Store(folder, given.url, self.embedder) if closed is None else closed
        self._ledger = Ledger(
            store, self.embedder, self.catalogue, tenant=self.tenant, rulebook=guard.rulebook, half_life=self._half_life
        )
        self.items = Items(self._ledger, self.embedder)

    @property
    def scorer(self) -> Scorer | None:
        """The scorer in use. Setting one makes pending evidence count from the next call on."""
        return self._scorer

    @scorer.setter
    def scorer(self, scorer: Scorer | None) -> None:
        self._scorer, self._given = scorer, replace(self._given, scorer=scorer)

    @property
    def reader(self) -> Reader:
        """The built-in reader of wishes, which knows this memory's catalogue."""
        return self._interpreter.reader

    def attach(
        self,
        *,
        scorer: Scorer | None = None,
        on_forget: Callable[[], None] | None = None,
        on_answer: Callable[[str, str], None] | None = None,
    ) -> None:
        """Offer a scorer, and ask to be told of what happens. Attaching the same again does nothing.

        Args:
            scorer: taken where the memory has none. Another one than it has is not used, for their margins have
                scales of their own; a warning says so once. To replace it, set `memory.scorer`.
            on_forget: called after each `forget`. A bound method is held weakly. Where it fails, that is logged.
            on_answer: called with user and response id after each `answered`, and held in the same way. It has to be
                quick: an answer waits for it.
        """
        if on_forget is not None:
            self._on_forget.add(on_forget)
        if on_answer is not None:
            self._on_answer.add(on_answer)
        if self._scorer is None:
            self._scorer = scorer
        elif scorer is not None and scorer is not self._scorer and not self._refused_a_scorer:
            self._refused_a_scorer = True
            logger.warning(
                "This memory's judgements are by %r, so %r is not used: their margins differ in scale. Use one memory "
                "for each, or set memory.scorer.",
                self._scorer,
                scorer,
            )

    # --- what users tell us ---

    def record(self, user: str, event: Feedback, *, consented: bool = False) -> str:
        """Keep an event for good and return its id. An event whose id the user already has is counted once.

        If it says something else than the one they have, and its time is not earlier, it replaces that one: a thumb
        that was turned round, a score that has a comment.

        Args:
            user: the user id.
            event: what they told us. A time in its words ("until Friday") is one of its own time and their time zone.
            consented: they were asked whether something sensitive may be kept, and agreed (`Values.sensitive`).

        Raises:
            InvalidUserError: the user id is empty, over 1,024 bytes or not valid text.
            InvalidEventError: not a Feedback event, or one with words over 20,000 characters or another text over
                1,000,000.
            PausedError: the user paused.
            ConsentNeededError: it tells something sensitive, and the policy is to ask first.
            UnknownResponseError: it names a response id that is not of a recent answer to this user.
            StoreError: it could not be written, or the store did not say so; the message has the id to try again with.
        """
        owner = self._ledger.owner(user)
        if not isinstance(event, Feedback):
            raise InvalidEventError(f"record takes a Feedback event such as Statement('be brief'), but got {event!r}.")
        if event.user not in (None, user):
            raise InvalidEventError(f"This event is of {event.user!r}, not of {user!r}. Record it for its own user.")
        self._ledger.check_open()
        check_length(event)
        if isinstance(event, Setting) and event.name == "time_zone":
            check_zone(event.value)
        if not consented:
            self._check_consent(event)
        ids = () if event.id is None else (event.id, *former_ids(event.id))
        older = self._ledger.find(owner, ids) if ids else None
        if older is not None and not event.supersedes(older.event):
            return older.id
        if event.time is not None and event.time > time.time() + DAY:
            raise InvalidEventError(
                f"time is {event.time!r}, more than a day ahead of this machine's clock; everything else would look "
                "old beside it. Leave it out, or set the clock of whoever sent it."
            )
        told = event.resolved(lambda response_id: self._answer(user, response_id))
        said = time.time() if event.time is None else event.time
        evidence = self._kept(  # takes the scorer's time, so outside the lock
            self._interpreter.evidence(
                told, self._scorer, said, lambda: self._ledger.setting(owner, "time_zone") or UTC
            ),
            consented,
        )

        def decide(records: Mapping[str, Recorded]) -> tuple[Feedback, Evidence] | str:
            if chosen(records.values()).get("paused") == "yes" and not isinstance(event, Setting):
                raise PausedError(user)
            older = next((records[id] for id in ids if id in records), None)
            if older is None:
                return told, self._placed(evidence, records.values())
            if not told.supersedes(older.event):
                return older.id
            others = [record for record in records.values() if record.id != older.id]
            return replace(told, id=older.id), self._placed(evidence, others)

        return self._ledger.append(owner, user, decide)

    def retract(self, user: str, event_id: str) -> str:
        """Take one event back, so that everything is as if it had never been; return the id of the retraction.

        The event stays in the log. Taking it back again changes nothing and returns the same id; taking back that
        retraction makes the event count again. `forget` erases.

        Raises:
            InvalidEventError: the user has no event with this id.
        """

        def decide(records: Mapping[str, Recorded]) -> tuple[Feedback, Evidence] | str:
            return retracted(records.values()).get(event_id) or (retraction(event_id, records), Evidence())

        return self._ledger.append(self._ledger.owner(user), user, decide)

    def undo(self, user: str) -> str:
        """Take back the latest event that still counts; return its id. Two calls at once never take back the same one.

        Raises:
            InvalidEventError: there is none.
        """
        return self._ledger.undo(self._ledger.owner(user), user)

    def events(self, user: str) -> tuple[Feedback, ...]:
        """Return a user's events, the oldest first; empty for a user nothing is known about."""
        return tuple(record.event for record in self._ledger.records(self._ledger.owner(user)))

    # --- what we conclude ---

    def profile(self, user: str, at: float | None = None) -> Profile:
        """Return everything concluded about a user: preferences with weight, confidence, source and evidence.

        Args:
            user: the user id.
            at: Unix seconds: the profile as it was then. None means now.

        Raises:
            InvalidUserError: the user id is empty, over 1,024 bytes or not valid text; so in all calls with one.
            StoreError: the store cannot be read.
        """
        known = self._known(user)
        if at is None:
            return known.profile
        records = [record for record in known.records if record.order[0] <= at]
        return fold(records, self.catalogue, self._half_life, at)

    def history(self, user: str) -> tuple[Preference, ...]:
        """Return every wish in words the user had or will have, the oldest first.

        Those that hold have no valid_to, or one that is to come. One whose time was up is `expired`.
        """
        profile = self.profile(user)
        stated = [item for item in profile.preferences if item.source == "stated"]
        return tuple(sorted((*profile.history, *stated, *profile.later), key=lambda item: item.valid_from or 0.0))

    def search(self, user: str, query: str, limit: int = 5) -> tuple[tuple[Preference, float], ...]:
        """Return at most `limit` (preference, cosine to the query in [-1, 1]), the nearest first, past ones as well."""
        return self._chooser.nearest(self.profile(user), check_text("query", query), limit)

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
        own: int | None = None,
        now: Occasion | None = None,
        selective: bool | None = None,
    ) -> Condition:
        """Return the few weighted preferences for the user's next generation; empty for a user nothing is known about.

        Args:
            user: the user id.
            query: what the user asks now; it brings in wishes for its topic ("for code, be terse"), and where not all
                fit, wishes in the user's own words that are near to it go first.
            thread: the conversation; it brings in wishes for this conversation only.
            budget: preferences at most, 0 or more.
            max_tokens: tokens of all their texts at most, estimated, 0 or more; None means any number.
            own: wishes in the user's own words at most, 0 or more, beside `budget`; None means they count in it.
            now: what is written: an answer to the user, or a text for others, into which wishes about how to talk to
                the user do not belong. None means that the query tells (`pad_memory.language.occasion`).
            selective: whether such wishes are held back; None means as the memory was opened.

        Raises:
            InvalidEventError: a limit is no whole number of at least 0, or the query is not valid text.
            StoreError: the store cannot be read, and nothing is known that is young enough (`last_known`).
        """
        given = self._given
        selective = given.selective if selective is None else selective
        request = Request(budget, max_tokens, own, thread, selective=selective)
        if query and query.strip():
            check_text("query", query)
            now = occasion(query) if now is None else now
        request = request if now is None else replace(request, now=now)
        known = self._known(user, vectors=True, catalogue=self.population is not None, last_known=given.last_known)
        return self._chooser.condition(user, known, request, query, self.population)

    def next_question(self, user: str) -> Question | None:
        """Return the comparison whose answer is expected to teach most about the user; None means they are known."""
        return next(iter(self.questions(user)), None)

    def questions(self, user: str) -> tuple[Question, ...]:
        """Return the comparisons worth asking (a gain above 0.02 nats): about drifts, then the most telling first."""
        known = self.profile(user)
        return questions(known.posterior, self.catalogue, known.drifts)

    # --- the store ---

    def repair(self) -> RepairReport:
        """Look through the database and all vectors, and make those anew that cannot be read.

        Opening a memory and reading from it repairs what it meets, so this is for certainty. It may take minutes.

        Raises:
            StoreError: the database itself is damaged, or the memory is on a server, which its operator repairs.
        """
        return self._ledger.repair()

    @property
    def aio(self) -> AsyncMemory:
        """The same calls as coroutines."""
        return AsyncMemory(self)

    def close(self) -> None:
        """Release the store. More calls to `close` do nothing; any other call raises StoreClosedError."""
        self.responses.clear()
        self._ledger.close()

    def __enter__(self) -> PreferenceMemory:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # --- inside ---

    def _known(
        self, user: str, *, vectors: bool = False, catalogue: bool = False, last_known: timedelta | None = None
    ) -> Snapshot:
        """Read what is known of a user, after judging what waited for a scorer, once for each scorer."""
        owner, scorer = self._ledger.owner(user), self._scorer
        known = self._ledger.read(owner, vectors=vectors, catalogue=catalogue, last_known=last_known)
        if scorer is None or known.age is not None or not known.pending:
            return known
        if not (waiting := self._ledger.unjudged(owner, scorer)):
            return known
        self._ledger.replace(owner, user, self._interpreter.judged(waiting, scorer))
        return self._ledger.read(owner, vectors=vectors, catalogue=catalogue)

    def _placed(self, evidence: Evidence, records: Iterable[Recorded]) -> Evidence:
        """Find which of the user's own matters an event's words are about, given the records before it."""
        if not evidence.in_own_words:
            return evidence
        readings = place(evidence.readings, own_wishes(records, self.catalogue), self.embedder)
        return replace(evidence, readings=readings)
