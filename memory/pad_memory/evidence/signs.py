"""A scorer that counts what is written: how long, how many lines of a list, which words; no model.

A head that was learned from what its base does when it is told a wish (`pad-langchain adapt`) tells which wish an
answer was given under, but hardly how long, plain or cautious another answer happens to be, and that is what a user
judges. Words and signs that are counted tell it.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pad_memory.catalogue import CATALOGUE
from pad_memory.evidence.scorer import DEFAULT_SCALE, Calibration, Scorer

__all__ = ["SignScorer", "styles_of"]

SUREST = 0.99  # a style in [-1, 1] is no surer than this

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_ENDS = re.compile(r"[.!?]+(?=\s|$)|\n+")
_ITEM = re.compile(r"(?m)^[ \t]*(?:[-*•+]|\(?\d+[.)]|[a-z][.)])[ \t]+\S")
_TALK = re.compile(r"\b(?:i|you|your|we|us|let)\b|\w'\w")
_EXAMPLE = re.compile(r"\bexamples?\b|\binstance\b|\bsuch as\b|\be\.g\.|\blike when\b|\bimagine\b")
_CAUTION = re.compile(r"\b(?:careful|danger|risk|warn|avoid|safe|caution|harm|injur)\w*|\bnever\b")
_JOKE = re.compile(r"\b(?:jok|funn|laugh)\w+|\bhilarious\b|\bsilly\b|\bpuns?\b|\bha(?:ha)+\b|\bkidding\b")


class SignScorer:
    """Rewards an answer for the poles of the built-in catalogue by what is counted in it, see `styles_of`.

    Args:
        other: scores all other preferences, in nats; None rewards them with 0.
    """

    def __init__(self, other: Scorer | None = None) -> None:
        self._other = other
        calibration = getattr(other, "calibration", None) or Calibration()
        own = {dimension.name for dimension in CATALOGUE}
        center, scale = (
            {name: value for name, value in part.items() if name not in own}
            for part in (calibration.center, calibration.scale)
        )
        self.calibration = Calibration(center, scale)

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        rewards_P: np.ndarray = self.score_many([(prompt, response)], preferences)[0]
        return rewards_P

    def score_many(self, pairs: Sequence[tuple[str, str]], preferences: Sequence[str]) -> np.ndarray:
        """Reward N (prompt, response) pairs under P preferences: [N, P], nats."""
        rewards_NP = np.zeros((len(pairs), len(preferences)))
        places = [_PLACES.get(text) for text in preferences]
        for row, (_, response) in enumerate(pairs):
            found = styles_of(response)
            for column, place in enumerate(places):
                if place is not None:
                    name, sign = place
                    bound = min(max(found[name], -SUREST), SUREST)
                    rewards_NP[row, column] = sign * DEFAULT_SCALE / 2.0 * math.atanh(bound)
        others = [column for column, place in enumerate(places) if place is None]
        if others and self._other is not None:
            texts = [preferences[column] for column in others]
            rewards_NP[:, others] = [self._other(prompt, response, texts) for prompt, response in pairs]
        return rewards_NP


# Text of a pole → its dimension, and +1 for the first pole, −1 for the second.
_PLACES = {
    pole.text: (dimension.name, sign)
    for dimension in CATALOGUE
    for pole, sign in zip(dimension.poles, (1.0, -1.0), strict=True)
}


def styles_of(text: str) -> dict[str, float]:
    """The style of a text in each dimension of the built-in catalogue, in [-1, 1]: +1 is clearly the first pole.

    >>> found = styles_of("- Tea 🙂\\n- Hot!\\n- Nice!")
    >>> [name for name, style in found.items() if style > 0.9]
    ['length', 'format', 'level', 'emoji']
    """
    counted = _Counted(text)
    return {dimension.name: _STYLES[dimension.name](counted) for dimension in CATALOGUE}


class _Counted:
    """What is counted in a text; rates are for a hundred words."""

    def __init__(self, text: str) -> None:
        low = text.lower().replace("’", "'")
        words = _WORD.findall(text)
        self.words = max(1, len(words))
        self.letters = sum(map(len, words)) / self.words
        self.sentence = self.words / max(1, len(_ENDS.findall(text.strip() + "\n")))
        self.items = len(_ITEM.findall(text))
        self.emojis = sum(unicodedata.category(letter) == "So" for letter in text)
        self.exclamations = 100.0 * text.count("!") / self.words
        self.talk = 100.0 * len(_TALK.findall(low)) / self.words
        self.examples, self.cautions, self.jokes = (len(sign.findall(low)) for sign in (_EXAMPLE, _CAUTION, _JOKE))


_STYLES: Mapping[str, Callable[[_Counted], float]] = {
    "length": lambda found: math.tanh(1.6 * math.log(65.0 / found.words)),
    "tone": lambda found: math.tanh(1.2 - 0.45 * found.exclamations - 0.2 * found.talk),
    "humor": lambda found: (-0.8, 0.5)[found.jokes] if found.jokes < 2 else 1.0,
    "format": lambda found: 1.0 if found.items > 2 else 0.3 if found.items else -0.9,
    "level": lambda found: math.tanh((4.75 - found.letters) / 0.45 + (14.0 - found.sentence) / 14.0),
    "examples": lambda found: 0.9 if found.examples else -0.8,
    "warnings": lambda found: (-0.8, 0.5)[found.cautions] if found.cautions < 2 else 0.9,
    "emoji": lambda found: 1.0 if found.emojis else -0.95,
}
