"""The scorer that needs no PersRM."""

from __future__ import annotations

import numpy as np
import pytest

from fakes import WordEmbedder
from pad_memory import Choice, PreferenceMemory
from pad_memory.catalogue import Dimension, Pole
from pad_memory.errors import ScorerError
from pad_memory.evidence.scorer import EmbeddingScorer

TASTE = Dimension(
    "taste", (Pole("sea", "ships and sails", ("harbour and waves",)), Pole("hill", "rocks and peaks", ()))
)


def test_rewards_are_mean_cosines_in_nats():
    scorer = EmbeddingScorer(WordEmbedder(), {"ships": ("waves",)}, nats=10.0)
    vectors = WordEmbedder().embed(["ships", "waves", "waves high"])
    expected = 10.0 * float(vectors[2] @ (vectors[0] + vectors[1]) / 2.0)
    assert scorer("Tell me.", "waves high", ["ships"]) == pytest.approx([expected], abs=1e-4)
    many = scorer.score_many([("a", "ships"), ("b", "waves high")], ["ships", "rocks"])
    assert many.shape == (2, 2)
    assert many[1, 0] == pytest.approx(expected, abs=1e-4)


def test_a_memory_learns_a_taste_from_choices_with_it():
    scorer = EmbeddingScorer(WordEmbedder(), {pole.text: pole.paraphrases for pole in TASTE.poles})
    with PreferenceMemory(embedder=WordEmbedder(), scorer=scorer, catalogue=[TASTE]) as memory:
        for number in range(4):
            memory.record("ada", Choice("Where to?", f"harbour waves ships {number}", f"rocks peaks {number}"))
        (preference,) = memory.profile("ada").preferences
    assert preference.key == "taste:sea"


@pytest.mark.parametrize("nats", [0.0, -1.0, np.inf, np.nan])
def test_bad_nats(nats):
    with pytest.raises(ScorerError, match="nats"):
        EmbeddingScorer(WordEmbedder(), nats=nats)
