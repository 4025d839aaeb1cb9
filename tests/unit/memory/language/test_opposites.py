"""What asks for the opposite of a wish: the other pole, in whatever words the wish came."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pad_memory.catalogue import CATALOGUE, Dimension, Pole
from pad_memory.language import Reader

DETAILED, HUMOROUS = "be detailed and thorough", "be humorous and add a joke"


class Unloadable:
    name = "unloadable"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        raise AssertionError(f"embedded {len(texts)} texts")


@pytest.mark.parametrize("dimension", CATALOGUE, ids=lambda dimension: str(dimension.name))
def test_every_wording_of_the_catalogue_has_the_other_pole_without_an_embedder(dimension: Dimension) -> None:
    reader = Reader(CATALOGUE, Unloadable())
    one, other = dimension.poles
    for pole, opposite in ((one, other), (other, one)):
        for wording in (pole.text, *pole.paraphrases):
            assert reader.opposites(wording) == (opposite.text,), wording


@pytest.mark.parametrize(
    ("wish", "opposites"),
    [
        ("Kindly make your replies a lot shorter", (DETAILED,)),
        ("be brief and no jokes please", (DETAILED, HUMOROUS)),
        ("for code, be terse", (f"{DETAILED} for code",)),
        ("in this conversation, be brief", (DETAILED,)),
        ("always mention Mount Fuji", (None,)),
        ("I used to like short answers", (None,)),
    ],
)
def test_the_opposites_of_other_words(reader: Reader, wish: str, opposites: tuple[str | None, ...]) -> None:
    assert reader.opposites(wish) == opposites


def test_a_catalogue_of_ones_own() -> None:
    speed = Dimension("speed", (Pole("fast", "speak fast", ()), Pole("slow", "speak slowly", ())))
    assert Reader([speed], Unloadable()).opposites("speak fast") == ("speak slowly",)
