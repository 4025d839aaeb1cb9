"""Taking events back: the one retraction that follows from what a user has, whoever makes it."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Container

from pad_memory.events import Retraction

__all__ = ["retraction"]


def retraction(event_id: str, have: Container[str]) -> Retraction:
    """Return what takes an event back. Two writers who know the same make the same one, so it counts once.

    Args:
        event_id: the event.
        have: ids of the user's events. Earlier retractions of the event are among them; the new one is not.
    """
    ids = (hashlib.sha256(json.dumps([event_id, n]).encode()).hexdigest()[:32] for n in itertools.count())
    return Retraction(event_id, id=next(id for id in ids if id not in have))
