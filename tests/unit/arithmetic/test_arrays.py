"""The arithmetic on numpy arrays gives what it gives on tensors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_langchain.arithmetic.arrays import log_softmax, log_sum_exp, take, top
from pad_langchain.arithmetic.drawing import draw
from pad_langchain.arithmetic.scoring import (
    Candidates,
    Shares,
    decided,
    plausible_candidates,
    score_candidates,
    take_candidates,
)

V = 60


def both(values: np.ndarray) -> tuple[np.ndarray, torch.Tensor]:
    return values, torch.from_numpy(values.copy())


@pytest.mark.parametrize("size", [1, 7, 300, 20_000])
@pytest.mark.parametrize("count", [1, 5, 50])
def test_top(size: int, count: int) -> None:
    rng = np.random.default_rng(size)
    for forbidden in (0, size // 2):
        values = rng.permuted(np.tile(np.arange(size, dtype=np.float32), (3, 1)), axis=1)
        values[:, :forbidden] = -np.inf
        count = min(count, size)
        found, places = top(values, count)
        assert found.tolist() == torch.from_numpy(values).topk(count, -1).values.tolist()
        assert np.take_along_axis(values, places, 1).tolist() == found.tolist()


def test_top_puts_the_first_of_equals_first_and_takes_nan() -> None:
    values = np.zeros((1, 20_000), dtype=np.float32)
    assert top(values, 4)[1].tolist() == [[0, 1, 2, 3]]
    values[0, 7] = np.nan
    assert top(values, 4)[1].shape == (1, 4)


def test_log_sum_exp_of_many() -> None:
    values = np.random.default_rng(0).standard_normal((2, 20_001)).astype(np.float32) * 9
    np.testing.assert_allclose(log_sum_exp(values), torch.from_numpy(values).logsumexp(-1), rtol=1e-5)
    np.testing.assert_allclose(log_softmax(values), torch.from_numpy(values).log_softmax(-1), rtol=1e-4, atol=1e-4)


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 10_000))
def test_a_step_is_the_same_on_arrays_and_on_tensors(seed: int) -> None:
    """Rows of every kind: forbidden tokens, cuts, several guide rows, bounds, the best of them, samples."""
    rng = np.random.default_rng(seed)
    rows = int(rng.integers(1, 4))
    logits = (rng.standard_normal((rows, V)) * 3).astype(np.float32)
    logits[rng.random((rows, V)) < 0.2] = -np.inf
    k, beta = rng.integers(1, 12, rows), rng.standard_normal(rows).astype(np.float32)
    alpha = rng.choice(np.float32([0, 0.01, 0.3, 1]), rows)
    owners = np.repeat(np.arange(rows), rng.integers(1, 3, rows))
    weights = rng.standard_normal(len(owners)).astype(np.float32)
    best = rng.random(rows) < 0.3
    guide, reference = (rng.standard_normal((len(owners), V)).astype(np.float32) for _ in range(2))
    clip = rng.choice(np.float32([0.1, 1, np.inf]), rows)
    skip = rng.random(rows) < 0.2
    temperature, top_p = rng.choice(np.float32([0, 0.7, 1.5]), rows), rng.choice(np.float32([0.3, 0.9, 1]), rows)
    uniform = rng.random(rows)
    found = []
    for side in (0, 1):
        z, k_, a, b, o, w, m, g, r, c, s, t, p, u = (
            both(one)[side]
            for one in (
                logits,
                k,
                alpha,
                beta,
                owners,
                weights,
                best,
                guide,
                reference,
                clip,
                skip,
                temperature,
                top_p,
                uniform,
            )
        )
        candidates = plausible_candidates(z, k_, a)
        shares = Shares(w, o, m if seed % 2 else None)
        asked = candidates.tokens_BK[o]
        g, r = take(g, asked), take(r, asked)
        with np.errstate(all="ignore"):
            scores = score_candidates(candidates, g, b, reference_GK=r, shares=shares, clip_B=c, skip_B=s)
            sure = decided(candidates.base_BK, candidates.keep_BK, b, c)
        found.append((candidates, scores, sure, draw(scores.scores_BK, t, p, u)))
    (ours, our_scores, our_sure, our_choice), (theirs, their_scores, their_sure, their_choice) = found
    kept = ours.keep_BK
    width = kept.shape[1]  # arrays come without columns in which nothing counts
    assert theirs.keep_BK[:, :width].tolist() == kept.tolist()
    assert not theirs.keep_BK[:, width:].any()
    for mine, its in zip((*ours[:2], *our_scores[:2]), (*theirs[:2], *their_scores[:2]), strict=True):
        np.testing.assert_allclose(mine[kept], its[:, :width].numpy()[kept], rtol=1e-4, atol=1e-5)
    assert our_scores.sound_B.tolist() == their_scores.sound_B.tolist()
    assert our_sure.tolist() == their_sure.tolist()
    assert our_choice.tolist() == their_choice.tolist()


@pytest.mark.parametrize(("spread", "digits"), [(0.01, 9), (3.0, 1)], ids=["more pass than are sorted", "few, ties"])
def test_a_cut_leaves_the_tokens_that_the_best_k_and_then_the_cut_leave(spread: float, digits: int) -> None:
    rng = np.random.default_rng(0)
    logits = np.round(rng.standard_normal((3, 5000)) * spread, digits).astype(np.float32)
    logits[1, 7] = np.nan
    k, alpha = np.array([50, 20, 3000]), np.float32([0.001, 0.3, 0.9])
    for rows in ([0], [2], [0, 2], [0, 1, 2]):
        found = plausible_candidates(logits[rows], k[rows], alpha[rows])
        for n, row in enumerate(rows):
            likeliest = np.argsort(-np.nan_to_num(logits[row], nan=-np.inf), kind="stable")[: k[row]]
            least = logits[row][likeliest[0]] + np.log(alpha[row])
            expected = [place for place in likeliest.tolist() if logits[row][place] >= least]
            assert found.tokens_BK[n][found.keep_BK[n]].tolist() == expected
            assert found.base_BK[n][found.keep_BK[n]].tolist() == logits[row][expected].tolist()


def test_narrow_drops_columns_that_count_in_no_row() -> None:
    logits = np.log(np.float32([[0.5, 0.3, 0.1, 0.1], [0.9, 0.05, 0.03, 0.02]]))
    found = Candidates(*take_candidates(logits, np.array([2, 1])))
    assert found.narrow().tokens_BK.tolist() == [[0, 1], [0, 1]]
    assert found.narrow().keep_BK.tolist() == [[True, True], [True, False]]
    nobody = plausible_candidates(np.full((1, 4), -np.inf, dtype=np.float32), np.array([3]), np.float32([0.5]))
    assert nobody.tokens_BK.shape == (1, 1)


@pytest.mark.parametrize("side", [0, 1], ids=["arrays", "tensors"])
def test_a_guide_that_is_not_asked_rewards_nothing_though_tokens_are_forbidden(side: int) -> None:
    logits, k, alpha, beta = (
        both(np.array(one))[side]
        for one in (np.float32([[1, -np.inf, -np.inf], [1, 2, 3]]), [3, 3], np.float32([0, 0]), np.float32([2, 2]))
    )
    with np.errstate(divide="ignore"):
        scores = score_candidates(plausible_candidates(logits, k, alpha), None, beta)
    assert scores.rewards_BK.tolist() == [[0, 0, 0]] * 2
    assert scores.sound_B.tolist() == [True] * 2
    assert scores.scores_BK.tolist() == [[1, -np.inf, -np.inf], [3, 2, 1]]
