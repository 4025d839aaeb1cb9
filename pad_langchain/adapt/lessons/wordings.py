"""In which words the head is told its wishes: those of its dimensions' poles, and texts that wish for nothing.

A wish of a dimension that the head did not learn, and a text about no style, is read as no pole. It steers nothing.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch

from pad_langchain.adapt.poles import Dimension
from pad_langchain.training.reader import Lessons
from pad_langchain.training.wordings import Worded
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import Embedder
from pad_memory.language import embed_wishes, wanted

__all__ = ["PoleWordings"]


class PoleWordings:
    """Words poles in all their ways; a `training.wordings.Wordings`.

    Args:
        embedder: embeds wishes.
        dimensions: those the head learns. Its prototypes are their poles, in their order, and one for no pole.
        shown: for each example of the training its dimension and the side it shows.
        beside: texts that are about no style, such as the prompts and what users say of themselves.
    """

    def __init__(
        self,
        embedder: Embedder,
        dimensions: Sequence[Dimension],
        shown: Sequence[tuple[str, int]],
        beside: Sequence[str] = (),
    ) -> None:
        self.embedder = embedder.name
        self._shown = shown
        self._poles = [(dimension.name, side) for dimension in dimensions for side in (0, 1)]
        said = [(pole, text) for pole, text in zip(self._poles, _texts(dimensions), strict=True)]
        self._place = {text: n for n, (_, texts) in enumerate(said) for text in texts}
        others = {text for each in CATALOGUE for pole in each.poles for text in (pole.text, *pole.paraphrases)}
        self._texts = sorted({*self._place, *others, *beside})
        self.known_NE = torch.from_numpy(embed_wishes(embedder, self._texts))
        row = {text: n for n, text in enumerate(self._texts)}
        self._rows = {pole: [row[text] for text in texts] for pole, texts in said}

    def draw(self, pairs: Sequence[int], rng: random.Random) -> list[Worded]:
        """Word the pole that each example shows, and its opposite."""
        shown = [self._shown[n] for n in pairs]
        return [Worded([self.one((name, side), rng)], [self.one((name, 1 - side), rng)]) for name, side in shown]

    def one(self, pole: tuple[str, int], rng: random.Random) -> torch.Tensor:
        """The embedding [E] of one of a pole's wordings."""
        return self.known_NE[rng.choice(self._rows[pole])]

    def lessons(self) -> Lessons:
        """Every text with the pole it is about. What a text turns away is its opposite: "no lists" is about lists."""
        none = len(self._poles)
        poles_NQ, signs_N = torch.zeros(len(self._texts), none + 1), torch.ones(len(self._texts))
        for row, text in enumerate(self._texts):
            _, sign = wanted(text)
            signs_N[row] = sign
            place = none if text not in self._place else self._place[text] ^ (sign < 0)
            poles_NQ[row, place] = 1.0
        return Lessons(self.known_NE * signs_N[:, None], poles_NQ)


def _texts(dimensions: Sequence[Dimension]) -> list[tuple[str, ...]]:
    return [pole.texts for dimension in dimensions for pole in dimension.poles]
