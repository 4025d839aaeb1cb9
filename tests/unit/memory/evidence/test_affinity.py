"""What bends embeddings towards the question a wish bears on and the answer that pleases it."""

from __future__ import annotations

import numpy as np
import pytest

from fakes import WordEmbedder
from pad_memory import PreferenceMemory, SentenceEmbedder, Statement
from pad_memory.evidence.affinity import WEIGHTS, bent, sides
from pad_memory.evidence.scorer import EmbeddingScorer, embed_answers


@pytest.fixture(scope="module")
def sentences() -> SentenceEmbedder:
    return SentenceEmbedder()


def test_vectors_lose_their_mean_and_are_stretched():
    rows_NE = np.array([[2.0, 1.0], [0.0, 1.0]], np.float32)
    found_NE = bent(rows_NE, np.array([1.0, 0.0]), np.array([[0.0], [1.0]]), np.array([[2.0, 0.0]]))
    assert found_NE == pytest.approx(np.array([[3.0, 1.0], [1.0, 1.0]]) / np.sqrt([[10.0], [2.0]]))


def test_the_mean_itself_has_no_direction():
    assert not bent(np.ones((1, 2)), np.ones(2), np.zeros((2, 1)), np.zeros((1, 2))).any()


@pytest.mark.parametrize("kind", ["question", "answer"])
def test_only_the_default_embedder_is_bent(kind, sentences):
    rows_NE = sentences.embed(["I never eat meat", "Where shall we dine?"])
    for side in sides(kind, sentences):
        assert np.linalg.norm(side(rows_NE), axis=1) == pytest.approx(np.ones(2), abs=1e-5)
        assert abs(side(rows_NE) - rows_NE).max() > 0.01
    for side in sides(kind, WordEmbedder()):
        assert side(rows_NE) is rows_NE


def test_the_weights_are_small():
    assert WEIGHTS.stat().st_size < 600_000


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("I have a week off in October. Where should I go?", "I never travel by plane"),
        ("What could I cook with a pumpkin?", "Never suggest dishes with garlic"),
        ("My phone is broken. Which one should I get?", "I only buy used electronics"),
        ("What shall I read on the beach?", "I can't bear stories with sad endings"),
    ],
)
def test_the_wish_that_bears_on_the_query_steers(query, expected, sentences, stated):
    assert [item.text for item in stated.condition("ada", query=query, budget=1)] == [expected]


@pytest.fixture(scope="module")
def stated(sentences):
    with PreferenceMemory(embedder=sentences) as memory:
        for text in (
            "I never travel by plane",
            "Never suggest dishes with garlic",
            "I only buy used electronics",
            "I can't bear stories with sad endings",
        ):
            memory.record("ada", Statement(text))
        yield memory


def test_an_answer_is_the_mean_of_its_sentences():
    words = WordEmbedder()
    found_NE = embed_answers(words, ["ships sail far. Yes!\nrocks stand still", "Yes!", ""])
    mean_E = words.embed(["ships sail far.", "rocks stand still"]).mean(axis=0)
    assert found_NE[0] == pytest.approx(mean_E / np.linalg.norm(mean_E), abs=1e-6)
    assert found_NE[1] == pytest.approx(words.embed(["Yes!"])[0], abs=1e-6)
    assert np.isfinite(found_NE).all()


def test_only_the_first_sentences_of_a_long_answer_are_read():
    words = WordEmbedder()
    short = "ships sail far. " * 64
    assert embed_answers(words, [short + "rocks stand still. " * 900])[0] == pytest.approx(
        embed_answers(words, [short])[0], abs=1e-6
    )


def test_a_taste_is_told_from_the_sentences_of_an_answer(sentences):
    scorer = EmbeddingScorer(sentences)
    tastes = ["Write like a poet, full of images.", "Give me sober figures and returns, as for an investor."]
    answers = [
        "The river carries the light of the morning. Like an old song it hums under the bridge.",
        "Volumes on the river rose by 4%. The port returns 9% a year after tax.",
    ]
    rewards_NP = scorer.score_many([("Tell me about the river.", answer) for answer in answers], tastes)
    assert rewards_NP[0, 0] - rewards_NP[1, 0] > 10.0
    assert rewards_NP[1, 1] - rewards_NP[0, 1] > 10.0
