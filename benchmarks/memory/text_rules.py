"""Rules that no wish of the catalogue names: how much of each an answer has, counted in its text."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

__all__ = ["RULES"]

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def _rate(pattern: str, flags: int = re.IGNORECASE) -> Callable[[str], float]:
    """How often a pattern is found, for a hundred words."""
    found = re.compile(pattern, flags)
    return lambda text: 100.0 * len(found.findall(text)) / max(len(_WORD.findall(text)), 1)


def _fewer(rate: Callable[[str], float]) -> Callable[[str], float]:
    return lambda text: -rate(text)


def _mean_word(text: str) -> float:
    words = _WORD.findall(text)
    return sum(map(len, words)) / max(len(words), 1)


RULES: Mapping[str, Callable[[str], float]] = {
    "numbers": _rate(r"\d+(?:[.,]\d+)*"),
    "no numbers": _fewer(_rate(r"\d+(?:[.,]\d+)*")),
    "speaks to the reader": _rate(r"\b(?:you|your|yours|yourself)\b"),
    "never speaks to the reader": _fewer(_rate(r"\b(?:you|your|yours|yourself)\b")),
    "speaks of itself": _rate(r"\b(?:i|me|my|i'm|i'll|i've)\b"),
    "says we": _rate(r"\b(?:we|us|our|let's)\b"),
    "no adverbs": _fewer(_rate(r"\b\w{3,}ly\b")),
    "may and might": _rate(r"\b(?:may|might|could|perhaps|possibly|often|usually|sometimes|tends?)\b"),
    "must and should": _rate(r"\b(?:must|should|need|needs|have to|make sure|ensure|important)\b"),
    "asks": _rate(r"\?"),
    "in the past": _rate(r"\b(?:was|were|had|did|\w{2,}ed)\b"),
    "names": _rate(r"(?<=[a-z,] )[A-Z][a-z]+", 0),
    "but": _rate(r"\b(?:but|however|although|while|though|instead|yet)\b"),
    "because": _rate(r"\b(?:because|since|therefore|so that|due to|as a result|which means)\b"),
    "steps in time": _rate(r"\b(?:first|second|then|next|after|before|finally|once|until)\b"),
    "few commas": _fewer(_rate(",")),
}
