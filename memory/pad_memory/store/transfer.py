"""All of a user as a JSON-able dict, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pad_memory.errors import InvalidEventError, StoreVersionError
from pad_memory.store.items import Items
from pad_memory.store.ledger import read_record, record_to_dict

if TYPE_CHECKING:
    from pad_memory.memory import PreferenceMemory

__all__ = ["export_user", "import_user"]

EXPORT_VERSION = 1


def export_user(memory: PreferenceMemory, user: str) -> dict[str, Any]:
    """Return all that is kept about a user."""
    owner = memory._owner(user)
    return {
        "format": "pad-memory",
        "version": EXPORT_VERSION,
        "tenant": memory.tenant,
        "user": user,
        "events": [record_to_dict(record) for record in memory._records(owner)],
        "items": Items(memory).export(user),
        "profile": memory._profile(owner).to_dict(),
    }


def import_user(memory: PreferenceMemory, data: Mapping[str, Any]) -> int:
    """Add what an export has and its user has not, and return how many events and items were new.

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
    owner = memory._owner(data["user"])
    try:
        records = [read_record(item) for item in data["events"]]
    except (KeyError, TypeError) as error:
        raise InvalidEventError(f"This export has an event that cannot be read: {error!r}.") from error
    stranger = next((record.event for record in records if record.event.user not in (None, data["user"])), None)
    if stranger is not None:
        raise InvalidEventError(f"This export is of {data['user']!r}, but has an event of {stranger.user!r}.")
    with memory._mutex:
        state = memory._ledger.state(owner)
        new = [
            replace(
                record,
                event=replace(record.event, user=data["user"], tenant=memory.tenant),
                evidence=memory._under_floor(record.event, record.evidence),
            )
            for record in records
            if record.id not in state.ids
        ]
        if new:
            memory._ledger.write(owner, data["user"], new)
            state.add(new)
    return len(new) + Items(memory).restore(data["user"], data.get("items", ()))
