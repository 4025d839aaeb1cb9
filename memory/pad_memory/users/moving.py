"""One user becomes part of another: their events and items are copied, then they are erased.

Every step may be done again. What was copied before is known by its id, so a killed call is finished by the next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder
from pad_memory.errors import InvalidEventError
from pad_memory.events import Answered, Feedback, Retraction
from pad_memory.evidence import Evidence, Recorded, next_sequence
from pad_memory.language import place
from pad_memory.profile import own_wishes
from pad_memory.users.items import Items
from pad_memory.users.ledger import Ledger
from pad_memory.users.states import is_new

__all__ = ["Mover", "moved", "placed_anew"]

MERGED_INTO = "merged into"  # what a user's claim is called: into one user only
MERGED_FROM = "merged from"

Screen = Callable[[Feedback, Evidence], Evidence]


class Mover:
    """Merges users.

    Args:
        ledger, items, catalogue, embedder: the memory's.
        screen: what may come of an event under today's values.
    """

    def __init__(
        self, ledger: Ledger, items: Items, catalogue: Sequence[Dimension], embedder: Embedder, screen: Screen
    ) -> None:
        self._ledger, self._items = ledger, items
        self._catalogue, self._embedder, self._screen = catalogue, embedder, screen

    def merge(self, source: str, into: str) -> int:
        """Make all that is kept of one user another's; return how many events and items were new to that one.

        Raises:
            InvalidEventError: both are the same, nothing is known of `source`, or they are being merged into a third.
        """
        ledger, here, there = self._ledger, self._ledger.owner(source), self._ledger.owner(into)
        if here == there:
            raise InvalidEventError(f"merge needs two different users, but both are {source!r}.")
        if not ledger.records(here) and not self._items.search(source):
            if ledger.claimed(there, f"{MERGED_FROM} {here}") is None:
                raise InvalidEventError(f"Nothing is known of {source!r}, so there is nothing to merge into {into!r}.")
            ledger.leave(here, (), {})
            return 0
        taker = ledger.claim(here, source, MERGED_INTO, by=into)
        if taker != into:
            raise InvalidEventError(
                f"{source!r} is being merged into {taker!r}, so not into {into!r}. Call merge({source!r}, {taker!r}) "
                f"to finish that, then merge({taker!r}, {into!r})."
            )
        ledger.claim(there, into, f"{MERGED_FROM} {here}", by=source)
        count, left = 0, False
        while not left:  # until nothing came in meanwhile
            records = ledger.records(here)
            count += self._copy(records, source, into)
            new, copied = self._items.copy(source, into)
            count += new
            left = ledger.leave(here, records, copied)
        return count

    def _copy(self, records: Sequence[Recorded], source: str, into: str) -> int:
        there = self._ledger.owner(into)
        have = {record.id: record for record in self._ledger.records(there)}
        new = {
            record.id: replace(record, evidence=self._screen(record.event, record.evidence))
            for record in moved(records, have, source, into)
        }
        if not new:
            return 0
        changed = placed_anew({**have, **new}.values(), self._catalogue, self._embedder)
        # Theirs first: as long as something is still to be copied, both steps are done again.
        self._ledger.replace(there, into, [record for id, record in changed.items() if id not in new])
        return self._ledger.extend(there, into, [changed.get(id, record) for id, record in new.items()])


def moved(records: Iterable[Recorded], have: Mapping[str, Recorded], source: str, into: str) -> list[Recorded]:
    """Return the records of one user as another's. Left out is what that one has already, or has a newer version of.

    An id stays unless the other user gave it to something else. In the order of recording, they follow the other's.

    Args:
        records: what the one was recorded.
        have: the other's, by id.
        source, into: the one and the other.
    """
    found: list[Recorded] = []
    names: dict[str, str] = {}
    first = next_sequence(have.values())
    for record in sorted(records, key=lambda record: record.recorded):
        event = replace(record.event, user=into)
        if isinstance(event, (Answered, Retraction)):
            event = replace(event, target=names.get(event.target, event.target))
        if record.id in have and not _same(event, have[record.id].event):
            event = replace(event, id=hashlib.sha256(json.dumps([source, record.id]).encode()).hexdigest()[:32])
        names[record.id] = str(event.id)
        copy = Recorded(event, first + len(found), record.evidence, record.origin or source)
        if is_new(copy, have):
            found.append(copy)
    return found


def placed_anew(records: Iterable[Recorded], catalogue: Sequence[Dimension], embedder: Embedder) -> dict[str, Recorded]:
    """Find again which of the user's own matters their words are about; return the records that say it changed, by id.

    Where two users become one, "call me Max" of the one may replace "call me Sam" of the other.

    Args:
        records: of both.
        catalogue, embedder: the memory's.
    """
    ordered = sorted(records, key=lambda record: record.order)
    if len({record.origin for record in ordered if _in_own_words(record)}) < 2:
        return {}
    before: list[Recorded] = []
    changed: dict[str, Recorded] = {}
    for record in ordered:
        if _in_own_words(record):
            said = record.evidence.readings
            free = [replace(item, key=None, replaces=False) if _own(item.key) else item for item in said]
            readings = place(free, own_wishes(before, catalogue), embedder)
            if readings != said:
                record = replace(record, evidence=replace(record.evidence, readings=readings))
                changed[record.id] = record
        before.append(record)
    return changed


def _same(event: Feedback, other: Feedback) -> bool:
    """Whether two events with one id are versions of one, not two things that were given the same id."""
    if event.kind != other.kind:
        return False
    if isinstance(event, Retraction) and isinstance(other, Retraction):
        return event.target == other.target
    return sorted(event.responses) == sorted(other.responses) if event.responses else event.words == other.words


def _in_own_words(record: Recorded) -> bool:
    return any(_own(reading.key) for reading in record.evidence.readings)


def _own(key: str | None) -> bool:
    return key is None or key.startswith("text:")
