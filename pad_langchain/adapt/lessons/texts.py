"""Answers as the stages hand them on: `Text`, kept as lines of JSON; and what is counted in them."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass, fields
from typing import Any

__all__ = ["SOURCES", "Text", "bullets", "emojis", "fresh", "sentences", "whole", "words"]

SOURCES = ("plain", "told", "edited", "planted", "beside", "guided")


@dataclass(frozen=True)
class Text:
    """One answer of the base.

    Args:
        id: unique in a run.
        prompt: id of its prompt.
        dimension, side: what it shows: the name of a dimension, and which of the poles, 0 or 1.
        source: "plain": told nothing. "told": told the pole. "edited", "planted": a plain answer that was changed to
            show the pole. "beside": the plain answer that such a one was made of, as it shows the other pole. "guided":
            guided by an earlier head.
        text: the answer.
        ended: whether it ends by itself.
        twin: id of the text it differs from in the pole alone. "" means there is none.
    """

    id: str
    prompt: str
    dimension: str
    side: int
    source: str
    text: str
    ended: bool
    twin: str = ""

    def to_row(self) -> dict[str, Any]:
        """The text as JSON has it."""
        return asdict(self)

    @classmethod
    def of_row(cls, row: dict[str, Any]) -> Text:
        """Read what `to_row` returned."""
        return cls(**{each.name: row[each.name] for each in fields(cls)})


def words(text: str) -> list[str]:
    """The words of a text."""
    return text.split()


def sentences(text: str) -> list[str]:
    """The sentences of a text of one paragraph; more of them where it has several."""
    return [part for part in re.split(r"(?<=[.!?])\s+|\n+", text.strip()) if part]


def whole(text: str) -> str:
    """The text up to the end of its last whole sentence; "" where there is none."""
    found = re.match(r".*[.!?][\"')\]]*(?=\s|$)", text.strip(), re.DOTALL)
    return found[0] if found else ""


def fresh(text: str) -> float:
    """Share of its word triples that are different ones, in (0, 1]; low in a text that repeats itself."""
    said = text.lower().split()
    triples = [tuple(said[n : n + 3]) for n in range(len(said) - 2)]
    return len(set(triples)) / len(triples) if triples else 1.0


def bullets(text: str) -> int:
    """Lines that begin as an item of a list does: with a sign and a blank, or with a number."""
    return sum(_is_item(line.split(maxsplit=1)[0]) for line in text.splitlines() if len(line.split()) > 1)


def _is_item(first: str) -> bool:
    return first[:-1].isdigit() if first[-1] in ".)" else len(first) == 1 and not first.isalnum()


def emojis(text: str) -> int:
    """Characters that are pictures or other symbols."""
    return sum(unicodedata.category(character) == "So" for character in text)
