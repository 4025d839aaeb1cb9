"""Which rows go when one event is forgotten, or takes the place of an older version."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pad_memory.errors import InvalidEventError
from pad_memory.events import Answered, Retraction
from pad_memory.evidence import Recorded
from pad_memory.profile import text_key
from pad_memory.store.rows import row_id
from pad_memory.users.retractions import retraction

__all__ = ["outdated", "rows_of_event"]


def rows_of_event(owner: str, records: Collection[Recorded], event_id: str) -> list[str]:
    """Return the ids of the rows that exist because of one event: it, what takes it back or counts it, its wordings.

    Raises:
        InvalidEventError: the user has no event with this id.
    """
    if all(record.id != event_id for record in records):
        raise InvalidEventError(f"This user has no event {event_id!r} to forget. Pass an id from events().")
    gone = {event_id}
    for record in sorted(records, key=lambda record: record.recorded):
        if isinstance(record.event, (Answered, Retraction)) and record.event.target in gone:
            gone.add(record.id)
    kept = {key for record in records if record.id not in gone for key in wordings(record)}
    only = {key for record in records if record.id in gone for key in wordings(record)} - kept
    have = {record.id for record in records}
    claims = gone | {str(retraction(id, have).id) for id in gone}  # of retractions that were made, or were to be
    names = [*(("event", id) for id in gone), *(("wording", key) for key in only), *(("claim", id) for id in claims)]
    return [row_id(owner, kind, name) for kind, name in names]


def outdated(known: Mapping[str, Recorded], newer: Collection[Recorded]) -> set[str]:
    """Return the keys of wordings that only the older versions of these records have, among all known by id."""
    older = {record.id: known[record.id] for record in newer if record.id in known}
    kept = [*(record for record in known.values() if record.id not in older), *newer]
    return {key for record in older.values() for key in wordings(record)} - {
        key for record in kept for key in wordings(record)
    }


def wordings(record: Recorded) -> set[str]:
    """Return the keys of the wordings that a record has rows for."""
    return {text_key(reading.text) for reading in record.evidence.readings}
