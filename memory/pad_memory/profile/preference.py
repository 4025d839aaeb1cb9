"""What we conclude from a user's events: one frozen `Preference` each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

from pad_memory.errors import InvalidEventError, StoreVersionError
from pad_memory.events import SCHEMA_VERSION
from pad_memory.fields import check_text
from pad_memory.language import unread

__all__ = ["Preference"]


@dataclass(frozen=True)
class Preference:
    """What a user likes, and why we think so.

    Args:
        key: "length:concise" for a pole of the catalogue, "text:…" for a wish in the user's own words; with a scope
            "length:concise@code".
        text: the wording that steers: the catalogue's canonical one, or the user's own.
        weight: finite; about 1 for a sure one, negative steers away.
        confidence: in [0, 1], the probability that the user does want this.
        source: "stated" in words, "inferred" from judgements, what the "population" wants, for a cold start, or the
            "operator" (`Values.floor`).
        evidence: ids of the events behind it, oldest first.
        scope: what it is limited to, "code", or "thread:…" for one conversation; None means it holds everywhere.
        valid_from: Unix seconds of the first event behind it.
        valid_to: Unix seconds when the user changed their mind or its time was up; of one that holds, when it will end
            by their own words. None means it stands.
        ended_by: id of the event that ended it.
        origins: ids of the users, merged into this one, that events behind it were recorded for.
        expired: it ended by itself: "until Friday", "for the next three answers".
        answers_left: for how many more answers it holds; None means any number.
        sensitive: what it tells of the user that is sensitive: "health", "faith", … see `values.sensitive.KINDS`.
        embedding: sentence embedding of `text`, float32 [E], as the store holds it; None outside a condition.
    """

    key: str
    text: str
    weight: float
    confidence: float
    source: Literal["stated", "inferred", "population", "operator"]
    evidence: tuple[str, ...] = ()
    scope: str | None = None
    valid_from: float | None = None
    valid_to: float | None = None
    ended_by: str | None = None
    origins: tuple[str, ...] = ()
    expired: bool = False
    answers_left: int | None = None
    sensitive: tuple[str, ...] = ()
    embedding: np.ndarray | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_text("Preference.key", self.key)
        check_text("Preference.text", self.text)
        if not math.isfinite(self.weight):
            raise InvalidEventError(f"Preference.weight has to be a finite number, but is {self.weight!r}.")
        if not 0.0 <= self.confidence <= 1.0:
            raise InvalidEventError(f"Preference.confidence has to be in [0, 1], but is {self.confidence!r}.")
        if self.source not in ("stated", "inferred", "population", "operator"):
            raise InvalidEventError(
                f"Preference.source has to be 'stated', 'inferred', 'population' or 'operator', but is {self.source!r}."
            )

    @property
    def unread(self) -> str | None:
        """The language of a wish in the user's own words that was not read, "German": it is told, and never steers."""
        return unread(self.text) if self.key.startswith("text:") else None

    def to_dict(self) -> dict[str, Any]:
        """Return the preference as a JSON-able dict, without its embedding."""
        values = {item.name: getattr(self, item.name) for item in fields(self) if item.name != "embedding"}
        rare = {name: values.pop(name) for name in ("origins", "expired", "answers_left", "sensitive")}
        said = {name: list(value) if isinstance(value, tuple) else value for name, value in rare.items()}
        values["evidence"] = list(self.evidence)
        return {
            "schema_version": SCHEMA_VERSION,
            **values,
            **{name: value for name, value in said.items() if value not in (None, False, [])},
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preference:
        """Read what `to_dict` wrote.

        Raises:
            StoreVersionError: written by a newer version.
        """
        values = dict(data)
        version = values.pop("schema_version", SCHEMA_VERSION)
        if version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"This preference has schema_version {version!r}; upgrade pad-langchain to read it."
            )
        lists = {name: tuple(values.get(name, ())) for name in ("evidence", "origins", "sensitive")}
        return cls(**{**values, **lists})
