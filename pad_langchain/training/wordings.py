"""Where a head's trainer gets its words from: how the wishes of pairs are said in a step, and what wordings mean.

`CatalogueWordings` is the source of `train kind: head`. A preference is read as its wishes (parts between ";"), each
embedded alone and their gates summed. A wish that the catalogue knows is worded in all its ways, and its pairs are
trained together with their mirror: the opposite wish, the sides swapped.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from pad_langchain.training.reader import Lessons
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import Embedder
from pad_memory.language import embed_wishes, wanted

__all__ = ["OPPOSITES", "SAME", "CatalogueWordings", "Worded", "Wordings", "wishes_of"]

POLES = [(dimension, side) for dimension in CATALOGUE for side in (0, 1)]
# Wording → its pole's place in POLES, the wordings of the same pole, and those of its opposite.
PLACE = {
    wording: place
    for place, (dimension, side) in enumerate(POLES)
    for wording in (dimension.poles[side].text, *dimension.poles[side].paraphrases)
}
SAME, OPPOSITES = (
    {
        wording: (dimension.poles[other].text, *dimension.poles[other].paraphrases)
        for wording, place in PLACE.items()
        for dimension, side in [POLES[place]]
        for other in [1 - side if flipped else side]
    }
    for flipped in (False, True)
)


@dataclass(frozen=True, eq=False)
class Worded:
    """How one step words the wish of a pair.

    Args:
        wanted: embeddings [E] that ask for the chosen answer; their gates are summed.
        opposite: those that ask for the rejected one; None where the opposite is unknown.
        beside: the texts are about no style, so neither answer is the better one.
    """

    wanted: Sequence[torch.Tensor]
    opposite: Sequence[torch.Tensor] | None = None
    beside: bool = False


class Wordings(Protocol):
    """A source of wordings for the pairs of a training.

    Attributes:
        embedder: name of the sentence embedder.
        known_NE: embeddings [N, E] by which f's input is standardised.
    """

    embedder: str
    known_NE: torch.Tensor

    def draw(self, pairs: Sequence[int], rng: random.Random) -> list[Worded]:
        """Word the wishes of some pairs, by their places in the training."""
        ...

    def lessons(self) -> Lessons:
        """What a reader can learn; asked for where `HeadSettings.readers` is not 0."""
        ...


def wishes_of(preference: str) -> list[str]:
    """The wishes of a preference text, such as `export_pairs` joins them."""
    return [part.strip() for part in preference.split(";") if part.strip()]


class CatalogueWordings:
    """Words pairs as their preferences say, or as the catalogue does where it knows a wish.

    Args:
        embedder: embeds wishes.
        preferences: of the training's pairs, in their order.
        others: preferences whose wishes are embedded as well, such as those of held-out pairs.
    """

    def __init__(self, embedder: Embedder, preferences: Sequence[str], others: Sequence[str] = ()) -> None:
        self.embedder = embedder.name
        self._wishes = [wishes_of(preference) for preference in preferences]
        told = {wish for preference in (*preferences, *others) for wish in wishes_of(preference)}
        self._texts = sorted({*SAME, *told})
        self.known_NE = torch.from_numpy(embed_wishes(embedder, self._texts))
        self._vectors = dict(zip(self._texts, self.known_NE, strict=True))

    def draw(self, pairs: Sequence[int], rng: random.Random) -> list[Worded]:
        """Each wish in one of its wordings; the opposite where the catalogue knows that of every wish."""
        wishes = [self._wishes[n] for n in pairs]
        asked = [[self._vectors[rng.choice(SAME.get(each, (each,)))] for each in wish] for wish in wishes]
        turned = [
            [self._vectors[rng.choice(OPPOSITES[each])] for each in wish]
            if all(each in OPPOSITES for each in wish) else None
            for wish in wishes
        ]  # fmt: skip
        return [Worded(*both) for both in zip(asked, turned, strict=True)]

    def vectors(self, preference: str) -> list[torch.Tensor]:
        """The embeddings [E] of a preference's wishes, as they are worded."""
        return [self._vectors[wish] for wish in wishes_of(preference)]

    def lessons(self) -> Lessons:
        """Every text with the pole it is about; a wish that the catalogue does not know is a pole of its own."""
        split = [wanted(text) for text in self._texts]
        new = sorted({about for text, (about, _) in zip(self._texts, split, strict=True) if text not in PLACE})
        poles_NQ = torch.zeros(len(split), len(POLES) + len(new) + 1)
        for row, (text, (about, sign)) in enumerate(zip(self._texts, split, strict=True)):
            # What a text turns away is its opposite: "no emojis" is about emojis. Both poles are neighbours.
            place = PLACE[text] ^ (sign < 0) if text in PLACE else len(POLES) + new.index(about)
            poles_NQ[row, place] = 1.0
        signs_N = torch.tensor([sign for _, sign in split])
        return Lessons(self.known_NE * signs_N[:, None], poles_NQ)
