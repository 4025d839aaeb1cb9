"""What a scorer says of answers beyond the catalogue, from the event to the condition; and what teaches nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from fakes import PoleScorer, WordEmbedder
from pad_memory import Choice, Edit, EmbeddingScorer, PreferenceMemory, Statement, Thumb, Values
from pad_memory.errors import InvalidEventError

R = 6
QUESTION = "What is rain?"
LETTER = "Write a letter to my landlord about the heating."


class Telling(PoleScorer):
    """φ counts six words; a user who likes "blue" has a taste that no catalogue names."""

    WORDS = ("blue", "red", "tea", "sea", "moon", "fern")

    def __init__(self, maker: str | None = "head:a") -> None:
        super().__init__()
        self.features_maker = maker

    def features(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        return np.array([[text.split().count(word) for word in self.WORDS] for _, text in pairs], dtype=float)


@pytest.fixture
def memory() -> Iterator[PreferenceMemory]:
    values = Values(classifier=False, refuse=("flogging",))
    with PreferenceMemory(embedder=WordEmbedder(), scorer=Telling(), values=values) as memory:
        yield memory


def teach(memory: PreferenceMemory, user: str = "ada", count: int = 16, end: str = "") -> list[str]:
    """Choices for "blue", whatever else the answers say."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(count):
        words = [" ".join(rng.choice(Telling.WORDS[1:], 3)) for _ in range(2)]
        choice = Choice(f"q{number}", f"blue {words[0]} {number}{end}", f"{words[1]} {number}")
        made.append(memory.record(user, choice))
    return made


def test_choices_become_a_taste_that_steers_answers_to_the_user(memory: PreferenceMemory) -> None:
    ids = teach(memory)
    taste = memory.profile("ada").taste
    assert taste.gate_R.argmax() == 0
    assert taste.evidence == tuple(ids)
    condition = memory.condition("ada", QUESTION)
    assert condition.taste == taste
    assert not condition.items
    assert f"more like this: “{taste.like[0][1]}”" in condition.explain()
    assert memory.condition("ada", LETTER).taste is None
    assert memory.condition("ada", LETTER, selective=False).taste == taste
    assert memory.condition("ada", QUESTION, budget=0).taste is None
    assert memory.condition("bob", QUESTION).taste is None


def test_undo_and_forget_take_it_back(memory: PreferenceMemory) -> None:
    ids = teach(memory, count=15)
    before = memory.profile("ada").taste
    last = memory.record("ada", Choice("q", "blue sea", "red tea"))
    assert memory.profile("ada").taste.evidence == (*ids, last)
    assert memory.undo("ada") == last
    assert memory.profile("ada").taste == before
    memory.forget("ada", ids[0])
    after = memory.profile("ada").taste
    assert ids[0] not in after.evidence
    assert ids[0] not in {id for id, _ in after.like}
    memory.forget("ada")
    assert memory.profile("ada").taste is None


def test_it_moves_with_its_user(memory: PreferenceMemory) -> None:
    teach(memory)
    data = memory.export("ada")
    with PreferenceMemory(embedder=WordEmbedder(), values=Values(classifier=False)) as other:
        other.import_(data)
        assert other.profile("ada").taste == memory.profile("ada").taste
    row = next(each for each in data["events"] if "features" in each["evidence"])
    row["evidence"]["features"]["rows"] = ["AAA=", "no base64"]
    with (
        PreferenceMemory(embedder=WordEmbedder(), values=Values(classifier=False)) as other,
        pytest.raises(InvalidEventError, match="base64"),
    ):
        other.import_(data)


def test_hostile_answers_teach_nothing_not_even_by_an_import(memory: PreferenceMemory) -> None:
    teach(memory, end=" flogging")
    assert memory.profile("ada").taste is None
    assert all("features" not in each["evidence"] for each in memory.export("ada")["events"])
    with PreferenceMemory(embedder=WordEmbedder(), scorer=Telling(), values=Values(classifier=False)) as mild:
        teach(mild, end=" flogging")
        assert mild.profile("ada").taste is not None
        memory.import_({**mild.export("ada"), "user": "eve"} | {"events": _of("eve", mild.export("ada")["events"])})
    assert memory.profile("eve").taste is None


def _of(user: str, events: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "event": {**each["event"], "user": user}} for each in events]


def test_ties_thumbs_and_words_have_no_features(memory: PreferenceMemory) -> None:
    memory.record("ada", Choice("q", "blue", "red", tie=True))
    memory.record("ada", Thumb(prompt="q", response="blue", up=True))
    memory.record("ada", Statement("be concise and brief"))
    memory.record("ada", Choice("q", "blue", "red", tie=False))
    memory.record("ada", Edit(prompt="q", response="red", edited="blue"))
    found = ["features" in each["evidence"] for each in memory.export("ada")["events"]]
    assert found == [False, False, False, True, True]


def test_choices_that_waited_for_a_scorer_teach_when_it_comes() -> None:
    with PreferenceMemory(embedder=WordEmbedder(), values=Values(classifier=False)) as memory:
        teach(memory)
        assert memory.profile("ada").taste is None
        memory.attach(scorer=Telling())
        assert memory.profile("ada").taste.gate_R.argmax() == 0


@pytest.mark.parametrize("scorer", [PoleScorer(), Telling(maker=None)], ids=["without features", "takes no taste"])
def test_a_scorer_without_features_has_no_tastes(scorer: Any) -> None:
    with PreferenceMemory(embedder=WordEmbedder(), scorer=scorer, values=Values(classifier=False)) as memory:
        teach(memory)
        profile = memory.profile("ada")
        assert profile.taste is None
        assert profile.pending == 0


def test_features_that_fail_cost_nothing_else(memory: PreferenceMemory, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Telling):
        def features(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
            raise RuntimeError("no")

    memory.scorer = Broken()
    with caplog.at_level(logging.WARNING):
        memory.record("ada", Choice("q", "length:concise", "length:detailed"))
    assert "teach no taste" in caplog.text
    assert memory.profile("ada").posterior.mean_D[0] > 0.1


def test_another_scorer_begins_anew(memory: PreferenceMemory) -> None:
    teach(memory)
    memory.scorer = Telling(maker="head:b")
    ids = teach(memory, count=16)
    taste = memory.profile("ada").taste
    assert taste.maker == "head:b"
    assert taste.evidence == tuple(ids)


def test_an_embedding_scorer_teaches_no_taste_as_no_head_could_steer_by_it() -> None:
    embedder = WordEmbedder()
    with PreferenceMemory(
        embedder=embedder, scorer=EmbeddingScorer(embedder, {}), values=Values(classifier=False)
    ) as memory:
        teach(memory, count=24)
        assert memory.profile("ada").taste is None
