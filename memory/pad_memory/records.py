"""A user's records as they stand in the store and in the process's memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pad_memory.errors import InvalidEventError
from pad_memory.events import Feedback
from pad_memory.inference import Evidence, Profile, Recorded
from pad_memory.scoring import Scorer

__all__ = ["State", "read_record", "record_to_dict"]


@dataclass
class State:
    """A user's records in memory, in the order they were recorded, and what was concluded from them."""

    records: list[Recorded]
    profile: Profile | None = None
    vectors: dict[str, np.ndarray] = field(default_factory=dict)  # of their own wordings, by text, as stored
    tried: Scorer | None = None  # the scorer that has already been asked for the pending evidence

    @property
    def ids(self) -> set[str]:
        return {record.id for record in self.records}

    def add(self, records: Sequence[Recorded]) -> None:
        """Add records, or replace those with the same id."""
        self.records = list({record.id: record for record in (*self.records, *records)}.values())
        self.profile = None


def record_to_dict(record: Recorded) -> dict[str, Any]:
    """Return a record as a JSON-able dict."""
    return {"event": record.event.to_dict(), "sequence": record.sequence, "evidence": record.evidence.to_dict()}


def read_record(data: Mapping[str, Any]) -> Recorded:
    """Read what `record_to_dict` wrote.

    Raises:
        InvalidEventError: it has no id or time, so it was never recorded.
        StoreVersionError: the event was written by a newer version.
    """
    event = Feedback.from_dict(data["event"])
    if event.id is None or event.time is None:
        raise InvalidEventError("A recorded event needs its id and time. Pass new events to record() instead.")
    return Recorded(event, int(data["sequence"]), Evidence.from_dict(data["evidence"]))
