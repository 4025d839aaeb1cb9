"""Styles are counted in what is written; all else is asked of another scorer."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pad_memory import CATALOGUE, Calibration, PreferenceMemory, SignScorer, Thumb
from pad_memory.evidence import judge
from pad_memory.evidence.signs import styles_of

TEXTS = {f"{each.name}:{pole.name}": pole.text for each in CATALOGUE for pole in each.poles}
LONG = " ".join(["The leaves of the plant are gathered and dried in the shade for several weeks."] * 10)


@pytest.mark.parametrize(
    ("dimension", "first", "second"),
    [
        ("length", "Tea is a drink.", LONG),
        ("tone", "Tea is a drink that is made of leaves.", "Hey! You'll love it! Tea's just great!"),
        ("humor", "Why did the tea laugh? It heard a funny joke.", "Tea is a drink."),
        ("format", "- leaves\n- water\n- a cup", "Leaves, water and a cup."),
        ("level", "Tea is a hot drink. You put it in a cup.", "Camellia sinensis undergoes enzymatic oxidation."),
        ("examples", "Some teas, such as mint, are no teas.", "Some teas are no teas."),
        ("warnings", "Be careful: the pot is hot, and you risk a burn.", "The pot is warm."),
        ("emoji", "Tea is a drink. 🍵", "Tea is a drink."),
    ],
)
def test_each_pole_is_counted(dimension, first, second):
    assert styles_of(first)[dimension] > 0.4
    assert styles_of(second)[dimension] < -0.4


def test_a_style_comes_back_from_its_reward():
    _, ((style),) = judge(SignScorer(), [("What is tea?", LONG)], CATALOGUE)
    found = styles_of(LONG)
    assert style == pytest.approx({name: max(-0.99, min(0.99, value)) for name, value in found.items()}, abs=1e-3)


def test_an_empty_answer_has_a_style_and_no_error():
    assert all(math.isfinite(value) for value in styles_of("").values())
    assert SignScorer().score_many([], list(TEXTS.values())).shape == (0, 16)


class Rhymes:
    calibration = Calibration({"rhyme": 1.0, "length": 5.0}, {"rhyme": 2.0, "length": 3.0})

    def __call__(self, prompt, response, preferences):
        assert preferences == ["write in rhymes"]
        return np.array([7.0])


def test_what_is_not_in_the_catalogue_is_asked_of_the_other_scorer():
    scorer = SignScorer(Rhymes())
    ((concise, rhymes),) = scorer.score_many([("q", "Tea.")], [TEXTS["length:concise"], "write in rhymes"])
    assert (round(concise, 1), rhymes) == (13.2, 7.0)
    assert scorer.calibration == Calibration({"rhyme": 1.0}, {"rhyme": 2.0})
    assert SignScorer()("q", "Tea.", ["write in rhymes"]).tolist() == [0.0]


class Head:
    """A scorer that leaves the judging to another one."""

    memory_scorer = SignScorer()

    def __call__(self, prompt, response, preferences):
        raise AssertionError("asked")


def test_a_scorer_may_name_what_judges_for_a_memory():
    with PreferenceMemory(scorer=Head()) as memory:
        for n in range(6):
            memory.record("ada", Thumb(f"What is {n}?", f"- one\n- two {n}\n- three", up=True))
            memory.record("ada", Thumb(f"What is {n}?", f"It is one, two {n} and three.", up=False))
        assert memory.profile("ada").pending == 0
        assert "write the answer as a list" in [item.text for item in memory.condition("ada")]
