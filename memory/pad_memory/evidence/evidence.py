"""What an event says about its user's preferences, and the event with it, as both stand in the store."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pad_memory.events import Feedback
from pad_memory.evidence.features import Features
from pad_memory.language import Reading
from pad_memory.values import Verdict

__all__ = ["Evidence", "Recorded", "next_sequence"]

_YEAR_2020 = 1_577_836_800 * 10**9  # ns


@dataclass(frozen=True)
class Evidence:
    """What an event says about the catalogue, computed once when it is recorded and stored with it.

    Args:
        styles: for each judged response, the preferred one first: dimension → style in [-1, 1], +1 the first pole.
            None means still to be computed.
        margins: the same in the scorer's nats: reward of the first pole minus reward of the second.
        readings: the wishes found in the user's words.
        verdict: why nothing of the event counts, where the floor of values holds it back; None means it counts.
        sensitive: what its words tell of the user that is sensitive, kinds of `values.sensitive.KINDS`.
        consented: the user was asked about that, and agreed.
        features: of a choice or an edit, what its responses are beyond the catalogue. None means that nobody can say,
            or that nothing may be learned from them.
    """

    styles: tuple[dict[str, float], ...] | None = ()
    margins: tuple[dict[str, float], ...] = ()
    readings: tuple[Reading, ...] = ()
    verdict: Verdict | None = None
    sensitive: tuple[str, ...] = ()
    consented: bool = False
    features: Features | None = None

    @property
    def in_own_words(self) -> bool:
        """Whether a wish fits no dimension, so that it is still to be found out which matter it is about."""
        return any(reading.key is None for reading in self.readings)

    @property
    def pending(self) -> bool:
        """Whether the styles wait for a scorer."""
        return self.styles is None

    def to_dict(self) -> dict[str, Any]:
        return {
            "styles": None if self.styles is None else list(self.styles),
            "margins": list(self.margins),
            "readings": [reading.to_dict() for reading in self.readings],
            **({} if self.verdict is None else {"verdict": self.verdict.to_dict()}),
            **({"sensitive": list(self.sensitive)} if self.sensitive else {}),
            **({"consented": True} if self.consented else {}),
            **({} if self.features is None else {"features": self.features.to_dict()}),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Evidence:
        return cls(
            styles=None if data["styles"] is None else tuple(data["styles"]),
            margins=tuple(data["margins"]),
            readings=tuple(Reading(**reading) for reading in data["readings"]),
            verdict=Verdict(**data["verdict"]) if data.get("verdict") else None,
            sensitive=tuple(data.get("sensitive", ())),
            consented=bool(data.get("consented", False)),
            features=Features.from_dict(data["features"]) if data.get("features") else None,
        )


@dataclass(frozen=True)
class Recorded:
    """An event as it stands in the store.

    Args:
        event: with its id and time.
        sequence: above that of every event its writer knew of; see `next_sequence`.
        evidence: what it says.
        origin: the id of the user it was recorded for, where that one was merged into this one. None means this one.
    """

    event: Feedback
    sequence: int
    evidence: Evidence
    origin: str | None = None

    @property
    def id(self) -> str:
        return self.event.id or ""

    @property
    def order(self) -> tuple[float, int, str]:
        """Its place among the user's events by the time it was said. No two have the same."""
        return (self.event.time or 0.0, self.sequence, self.id)

    @property
    def recorded(self) -> tuple[int, float, str]:
        """Its place by when it was recorded, after all that its writer knew of. No two have the same."""
        return (self.sequence, self.event.time or 0.0, self.id)


def next_sequence(records: Iterable[Recorded]) -> int:
    """Return a number above those of all these records. Another process gives it to an event by a rare chance alone.

    It is the time in steps of 64 ns, so that JSON's readers keep it exact until 2038. A clock that is behind what is
    there is not asked: the number is then drawn from the next 2^20 steps, 67 ms.
    """
    last = max((record.sequence for record in records), default=-1)
    now = (time.time_ns() - _YEAR_2020) >> 6
    return now if now > last else last + 1 + secrets.randbelow(1 << 20)
