"""All of a user as a JSON-able dict, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pad_memory.errors import InvalidEventError, StoreVersionError
from pad_memory.events import Feedback, check_length
from pad_memory.evidence import Evidence
from pad_memory.profile import Snapshot
from pad_memory.store.rows import read_record, record_to_dict
from pad_memory.users.items import Items
from pad_memory.users.ledger import Ledger
from pad_memory.users.states import is_new

__all__ = ["export_user", "import_user"]

EXPORT_VERSION = 1


def export_user(tenant: str, user: str, known: Snapshot, items: Items) -> dict[str, Any]:
    """Return all that is kept about a user."""
    return {
        "format": "pad-memory",
        "version": EXPORT_VERSION,
        "tenant": tenant,
        "user": user,
        "events": [record_to_dict(record) for record in known.records],
        "items": items.export(user),
        "profile": known.profile.to_dict(),
    }


def import_user(
    ledger: Ledger, items: Items, data: Mapping[str, Any], screen: Callable[[Feedback, Evidence], Evidence]
) -> int:
    """Add what an export has and its user has not, or has an older version of; return how many were new.

    Args:
        ledger, items: what they are added to.
        data: the export.
        screen: what may come of an event under today's values.

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
    user = data["user"]
    owner = ledger.owner(user)
    try:
        records = [read_record(item) for item in data["events"]]
    except (KeyError, TypeError) as error:
        raise InvalidEventError(f"This export has an event that cannot be read: {error!r}.") from error
    stranger = next((record.event for record in records if record.event.user not in (None, user)), None)
    if stranger is not None:
        raise InvalidEventError(f"This export is of {user!r}, but has an event of {stranger.user!r}.")
    for record in records:
        check_length(record.event)
    have = {record.id: record for record in ledger.records(owner)}
    new = [
        replace(
            record,
            event=replace(record.event, user=user, tenant=ledger.tenant),
            evidence=screen(record.event, record.evidence),  # takes the classifier's time, so outside the lock
        )
        for record in records
        if is_new(record, have)
    ]
    return ledger.extend(owner, user, new) + items.restore(user, data.get("items", ()))
