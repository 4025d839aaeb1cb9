"""What users said in words, over time: which wishes stand, and which were replaced or ended. Pure.

A wish belongs to a slot: a dimension of the catalogue in one scope, or a matter of the user's own. The newest wish of
a slot stands; the one before it becomes history. "I used to like short answers" ends a wish without another in its
place, and what was judged before it says nothing about that dimension any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pad_memory.catalogue import Dimension
from pad_memory.events import Feedback, Retraction, Statement
from pad_memory.evidence import Recorded
from pad_memory.language import THREAD, Reading, thread_scope
from pad_memory.profile.preference import Preference

__all__ = ["Wish", "Wishes", "own_wishes", "retracted", "signs", "spoken", "standing", "text_key"]


@dataclass
class Wish:
    """A wish in words. Its strength counts the times it was said, a critique half."""

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
            valid_from=self.since,
            valid_to=self.until,
            ended_by=self.ended_by,
            origins=tuple(self.origins),
        )

    def why(self) -> str:
        """One sentence with the user's last words."""
        times = f"{len(self.ids)} times, last " if len(self.ids) > 1 else ""
        return f"You said so {times}in your own words: “{self.quotes[-1]}”."


@dataclass
class Wishes:
    """The wishes that stand by slot, those that are history, and from when on judgements of a dimension count."""

    standing: dict[tuple[str, str | None], Wish] = field(default_factory=dict)
    history: list[Wish] = field(default_factory=list)
    counts_from: dict[str, tuple[float, int, str]] = field(default_factory=dict)

    def _close(self, slot: tuple[str, str | None], record: Recorded) -> None:
        wish = self.standing.pop(slot)
        self.history.append(replace(wish, until=record.event.time, ended_by=record.id))

    def say(self, slot: tuple[str, str | None], key: str, text: str, reading: Reading, record: Recorded) -> None:
        """Take a wish over into its slot: it counts up the one that stands, or replaces it."""
        wish = self.standing.get(slot)
        if wish is not None and (wish.key != key or reading.replaces):
            self._close(slot, record)
            wish = None
        if wish is None:
            wish = self.standing[slot] = Wish(key, text, slot[1], record.event.time or 0.0)
        if text_key(text) != text_key(wish.text):
            wish.text = text
        wish.order = record.order
        wish.strength += 1.0 if isinstance(record.event, Statement) else 0.5
        wish.quotes.append(reading.text)
        wish.ids.append(record.id)
        if record.origin is not None:
            wish.origins[record.origin] = None

    def end(self, name: str, scope: str | None, key: str, record: Recorded) -> None:
        """End the wish `key`; without a scope in every scope, and for judgements as well."""
        for slot in [slot for slot in self.standing if slot[0] == name and scope in (None, slot[1])]:
            if self.standing[slot].key == key:
                self._close(slot, record)
        if scope is None:
            self.counts_from[name] = record.order


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


def spoken(records: Sequence[Recorded], catalogue: Sequence[Dimension]) -> Wishes:
    """Read a user's words, oldest first."""
    texts = {f"{dimension.name}:{pole.name}": pole.text for dimension in catalogue for pole in dimension.poles}
    wishes = Wishes()
    for record in records:
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
    return wishes


def own_wishes(records: Iterable[Recorded], catalogue: Sequence[Dimension]) -> list[Reading]:
    """Return the wishes that stand and fit no dimension, as they were read, each with the key of its matter."""
    wishes = spoken(sorted(standing(records), key=lambda record: record.order), catalogue)
    return [
        Reading(wish.text, wish.key, scope)
        for (name, scope), wish in wishes.standing.items()
        if name.startswith("text:")
    ]


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
