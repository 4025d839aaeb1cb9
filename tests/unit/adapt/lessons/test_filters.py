"""What is counted in answers, and which of them a head may learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pad_langchain.adapt.config import FilterSettings
from pad_langchain.adapt.lessons.filters import good, leans
from pad_langchain.adapt.lessons.texts import Text, bullets, emojis, fresh, sentences, whole
from pad_langchain.adapt.prompts import Prompt

PROMPT = Prompt("tea/1", "tea", "fact", ({"role": "user", "content": "What is tea?"},))
KEYS = {("emoji", 0): "emoji:emoji", ("emoji", 1): "emoji:no-emoji", ("length", 0): "length:concise"}
FINE = "Tea is a drink that is made from leaves and hot water."


class Topics:
    """An embedder that knows tea."""

    name = "topics"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if "tea" in text.lower() else [0.0, 1.0] for text in texts], np.float32)


def text(said: str, dimension: str = "emoji", side: int = 1, source: str = "told") -> Text:
    return Text("id", PROMPT.id, dimension, side, source, said, True)


def test_what_is_counted() -> None:
    assert sentences("One. Two!  Three?\nFour") == ["One.", "Two!", "Three?", "Four"]
    assert whole("It is so. And then it") == "It is so."
    assert whole('He said "yes." Then') == 'He said "yes."'
    assert whole("no end") == ""
    assert bullets("- one\n* two\n3. three\n4) four\nfive six\n-") == 4
    assert bullets("I am one.\nA cup is two.") == 0
    assert emojis("good 😊 and 🚀!") == 2
    assert emojis("plain: 3 < 4, $5 + 6") == 0
    assert fresh("a b c d e") == 1.0
    assert fresh("a b c a b c a b c a b c") == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (text(FINE), None),
        (text("Tea."), "too short"),
        (text("tea is a drink " * 10), "repeats itself"),
        (text("Coffee is a drink that is made from beans."), "off topic"),
        (text(f"{FINE} 😊"), "does not show its pole"),
        (text(f"{FINE} 😊", side=0), None),
        (text(FINE, side=0), "does not show its pole"),
        (text(FINE, side=0, source="plain"), None),
        (text(" ".join(f"tea{n}" for n in range(60)), "length", 0), "does not show its pole"),
    ],
)
def test_good_answers_are_kept_and_others_counted_by_reason(given: Text, reason: str | None) -> None:
    kept, dropped = good([given], {PROMPT.id: PROMPT}, KEYS, FilterSettings(), Topics())
    assert kept == ([given] if reason is None else [])
    assert dropped == ({} if reason is None else {reason: 1})


def test_no_answers_are_no_error() -> None:
    assert good([], {}, KEYS, FilterSettings(), Topics()) == ([], {})


@pytest.mark.parametrize(
    ("source", "lean", "kept"),
    [("told", 0.1, True), ("told", 0.01, False), ("guided", -0.1, False), ("plain", -1.0, True), ("edited", -1, True)],
)
def test_an_answer_that_was_told_its_pole_has_to_lean_to_it(source: str, lean: float, kept: bool) -> None:
    assert leans(text(FINE, source=source), lean, FilterSettings(least_lean=0.05)) is kept
