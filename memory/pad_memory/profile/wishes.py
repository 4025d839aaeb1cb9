"""What users said in words, over time: which wishes hold, which will, and which were replaced, ended or expired. Pure.

A wish belongs to a slot: a dimension of the catalogue in one scope, or a matter of the user's own. The newest wish of
a slot stands; the one before it becomes history. "I used to like short answers" ends a wish without another in its
place, and what was judged before it says nothing about that dimension any more.

A wish with limits ("until Friday", "for the next three answers") covers the one that stands, and lets it hold again
afterwards. "From tomorrow on" replaces what stands when its time has come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pad_memory.catalogue import Dimension
from pad_memory.events import Answered, Feedback, Retraction, Setting, Statement
from pad_memory.evidence import Recorded
from pad_memory.language import THREAD, Reading, thread_scope
from pad_memory.profile.preference import Preference

__all__ = ["Wish", "Wishes", "chosen", "own_wishes", "retracted", "signs", "spoken", "standing", "text_key"]

Slot = tuple[str, str | None]  # what the wish is about, and its scope


@dataclass
class Wish:
    """A wish in words. Its strength counts the times it was said, a critique half.

    `starts`, `stops` (Unix seconds) and `answers` are its limits in the user's words; `given` answers count so far.
    """

    key: str
    text: str
    scope: str | None
    since: float
    order: tuple[float, int, str] = (0.0, 0, "")
    strength: float = 0.0
    quotes: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    origins: dict[str, None] = field(default_factory=dict)  # in their order
    until: float | None = None
    ended_by: str | None = None
    expired: bool = False
    starts: float | None = None
    stops: float | None = None
    answers: int | None = None
    given: int = 0
    sensitive: dict[str, None] = field(default_factory=dict)  # in their order

    @property
    def passes(self) -> bool:
        """Whether it ends by itself."""
        return self.stops is not None or self.answers is not None

    def preference(self) -> Preference:
        """The wish as a preference; one that was said once is 90% sure."""
        return Preference(
            key=self.key if self.scope is None else f"{self.key}@{self.scope}",
            text=self.text,
            weight=1.0,
            confidence=round(1.0 - 0.1 / self.strength, 6),
            source="stated",
            evidence=tuple(self.ids),
            scope=self.scope,
            valid_from=self.since if self.starts is None else self.starts,
            valid_to=self.stops if self.until is None else self.until,
            ended_by=self.ended_by,
            origins=tuple(self.origins),
            expired=self.expired,
            answers_left=None if self.answers is None else max(self.answers - self.given, 0),
            sensitive=tuple(self.sensitive),
        )

    def why(self) -> str:
        """One sentence with the user's last words."""
        times = f"{len(self.ids)} times, last " if len(self.ids) > 1 else ""
        return f"You said so {times}in your own words: “{self.quotes[-1]}”."

    def said(self, text: str, reading: Reading, record: Recorded) -> None:
        """Count that it was said once more."""
        if text != self.text and text_key(text) != text_key(self.text):
            self.text = text
        self.order = record.order
        self.strength += 1.0 if isinstance(record.event, Statement) else 0.5
        self.quotes.append(reading.text)
        self.ids.append(record.id)
        self.sensitive.update(dict.fromkeys(record.evidence.sensitive))
        if record.origin is not None:
            self.origins[record.origin] = None


@dataclass
class Wishes:
    """The wishes by slot, those that are history, and from when on judgements of a dimension count.

    Args:
        standing: those without an end; after `settle` those that hold.
        limited: those that begin later or end by themselves, oldest first.
        later: those that do not hold now, but will; `settle` finds them.
        history: those that ended.
        counts_from: dimension → from which record on judgements count.
        changes: Unix seconds at which something begins or ends.
    """

    standing: dict[Slot, Wish] = field(default_factory=dict)
    limited: list[tuple[Slot, Wish]] = field(default_factory=list)
    later: list[Wish] = field(default_factory=list)
    history: list[Wish] = field(default_factory=list)
    counts_from: dict[str, tuple[float, int, str]] = field(default_factory=dict)
    changes: list[float] = field(default_factory=list)

    def _close(self, wish: Wish, time: float, by: str) -> None:
        """Make a wish history that something ended; one whose time was up before that expired."""
        if wish.stops is not None and wish.stops <= time:
            self._expire(wish, wish.stops)
        else:
            self.history.append(replace(wish, until=time, ended_by=by))

    def _expire(self, wish: Wish, time: float) -> None:
        self.history.append(replace(wish, until=time, expired=True))

    def _close_limited(self, slots: Iterable[Slot], record: Recorded, key: str | None = None) -> None:
        """End what begins later or ends by itself in some slots; with `key` such wishes only."""
        kept: list[tuple[Slot, Wish]] = []
        slots = set(slots)
        for slot, wish in self.limited:
            if slot in slots and key in (None, wish.key):
                self._close(wish, record.event.time or 0.0, record.id)
            else:
                kept.append((slot, wish))
        self.limited = kept

    def say(self, slot: Slot, key: str, text: str, reading: Reading, record: Recorded) -> None:
        """Take a wish over into its slot: it counts up the one that stands, replaces it, or covers it for a time."""
        if (reading.since, reading.until, reading.answers) != (None, None, None):
            self._say_limited(slot, key, text, reading, record)
            return
        self._close_limited([slot], record)
        wish = self.standing.get(slot)
        if wish is not None and (wish.key != key or reading.replaces):
            self._close(self.standing.pop(slot), record.event.time or 0.0, record.id)
            wish = None
        if wish is None:
            wish = self.standing[slot] = Wish(key, text, slot[1], record.event.time or 0.0)
        wish.said(text, reading, record)

    def _say_limited(self, slot: Slot, key: str, text: str, reading: Reading, record: Recorded) -> None:
        same = [wish for where, wish in self.limited if where == slot and wish.key == key and not reading.replaces]
        wish = same[-1] if same else Wish(key, text, slot[1], record.event.time or 0.0)
        self.limited = [item for item in self.limited if item[1] is not wish] + [(slot, wish)]
        wish.starts, wish.stops, wish.answers, wish.given = reading.since, reading.until, reading.answers, 0
        wish.said(text, reading, record)

    def end(self, name: str, scope: str | None, key: str, record: Recorded) -> None:
        """End the wish `key`; without a scope in every scope, and for judgements as well."""
        slots = {*self.standing, *(slot for slot, _ in self.limited)}
        slots = {slot for slot in slots if slot[0] == name and scope in (None, slot[1])}
        for slot in [slot for slot in self.standing if slot in slots and self.standing[slot].key == key]:
            self._close(self.standing.pop(slot), record.event.time or 0.0, record.id)
        self._close_limited(slots, record, key)
        if scope is None:
            self.counts_from[name] = record.order

    def answered(self, event_id: str, record: Recorded) -> None:
        """Count an answer for the wishes of an event that hold for a number of answers."""
        kept: list[tuple[Slot, Wish]] = []
        for slot, wish in self.limited:
            if wish.answers is not None and wish.ids[-1] == event_id:
                wish.given += 1
            if wish.answers is not None and wish.given >= wish.answers:
                self._expire(wish, record.event.time or 0.0)
            else:
                kept.append((slot, wish))
        self.limited = kept

    def settle(self, at: float) -> None:
        """Find what holds at a time, in Unix seconds: it is in `standing` afterwards, and what waits in `later`."""
        self.changes = sorted({time for _, wish in self.limited for time in (wish.starts, wish.stops) if time})
        for _, wish in self.limited:
            if wish.stops is not None and wish.stops <= at:
                self._expire(wish, wish.stops)
        open_ = [item for item in self.limited if item[1].stops is None or item[1].stops > at]
        begun = [item for item in open_ if item[1].starts is None or item[1].starts <= at]
        self.later = [wish for _, wish in open_ if wish.starts is not None and wish.starts > at]
        for slot, wish in sorted(begun, key=lambda item: item[1].starts or 0.0):
            if not wish.passes:  # from now on it is the one that stands
                self._take_over(slot, wish, begun)
        holding = dict(self.standing)
        for slot, wish in begun:  # the latest word that holds covers the others
            if wish.passes and wish.until is None:
                if slot in holding:
                    self.later.append(holding[slot])
                holding[slot] = wish
        self.standing, self.limited = holding, []
        self.history.sort(key=lambda wish: wish.until or 0.0)

    def _take_over(self, slot: Slot, wish: Wish, begun: Sequence[tuple[Slot, Wish]]) -> None:
        time, by = wish.starts or 0.0, wish.ids[-1]
        earlier = [other for where, other in begun if where == slot and other.passes and other.order < wish.order]
        for other in earlier:
            if other.until is None:
                other.until, other.ended_by = time, by
                self.history.append(other)
        if slot in self.standing:
            self._close(self.standing[slot], time, by)
        self.standing[slot] = wish


def text_key(text: str) -> str:
    """The key of a wish that fits no dimension: the same for the same words, whatever their case and spacing."""
    return "text:" + hashlib.sha256(" ".join(text.lower().split()).encode()).hexdigest()[:12]


def retracted(records: Iterable[Recorded]) -> dict[str, str]:
    """Return what was taken back: event id → id of the retraction that stands."""
    gone: dict[str, str] = {}
    for record in sorted(records, key=lambda record: record.recorded, reverse=True):
        if isinstance(record.event, Retraction) and record.id not in gone:
            gone[record.event.target] = record.id
    return gone


def standing(records: Iterable[Recorded]) -> list[Recorded]:
    """Return the records that count: without those taken back, and without the retractions themselves."""
    records = list(records)
    gone = retracted(records)
    return [record for record in records if record.id not in gone and not isinstance(record.event, Retraction)]


def chosen(records: Iterable[Recorded]) -> dict[str, str]:
    """Return what a user set, by name: the latest of each."""
    records = list(records)
    if not any(isinstance(record.event, Setting) for record in records):  # most set nothing
        return {}
    found: dict[str, str] = {}
    for record in sorted(standing(records), key=lambda record: record.order):
        if isinstance(record.event, Setting):
            found[record.event.name] = record.event.value
    return found


def spoken(records: Sequence[Recorded], catalogue: Sequence[Dimension], at: float | None = None) -> Wishes:
    """Read a user's words, oldest first; what holds is what does at `at`, in Unix seconds, None: at the newest one."""
    texts = {f"{dimension.name}:{pole.name}": pole.text for dimension in catalogue for pole in dimension.poles}
    wishes = Wishes()
    for record in records:
        if isinstance(record.event, Answered):
            wishes.answered(record.event.target, record)
        for reading in record.evidence.readings:
            key = reading.key or text_key(reading.text)
            if not key.startswith("text:") and key not in texts:  # read with another catalogue
                continue
            name = key if key.startswith("text:") else key.partition(":")[0]
            scope = _scope(reading, record.event)
            if reading.ends:
                wishes.end(name, scope, key, record)
            else:
                wishes.say((name, scope), key, texts.get(key, reading.text), reading, record)
    wishes.settle(max((record.event.time or 0.0 for record in records), default=0.0) if at is None else at)
    return wishes


def own_wishes(records: Iterable[Recorded], catalogue: Sequence[Dimension]) -> list[Reading]:
    """Return the wishes that stand and fit no dimension, as they were read, each with the key of its matter."""
    wishes = spoken(sorted(standing(records), key=lambda record: record.order), catalogue)
    held = [*wishes.standing.values(), *wishes.later]
    return [Reading(wish.text, wish.key, wish.scope) for wish in held if wish.key.startswith("text:")]


def signs(wishes: Wishes, catalogue: Sequence[Dimension]) -> Mapping[str, int]:
    """The weights that words fix everywhere: dimension → +1 for its first pole, −1 for its second."""
    first = {f"{dimension.name}:{dimension.poles[0].name}" for dimension in catalogue}
    return {
        name: 1 if wish.key in first else -1
        for (name, scope), wish in wishes.standing.items()
        if scope is None and not name.startswith("text:")
    }


def _scope(reading: Reading, event: Feedback) -> str | None:
    return thread_scope(event.thread) if reading.scope == THREAD else reading.scope
