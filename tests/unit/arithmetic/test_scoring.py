"""Equation 13 by hand on four tokens, and properties of the pure functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_langchain.arithmetic.drawing import draw
from pad_langchain.arithmetic.scoring import (
    Shares,
    candidate_rewards,
    combine_rewards,
    guided_scores,
    plausible,
    plausible_candidates,
    score_candidates,
    take_candidates,
)

LOG2, LOG3, LOG4 = math.log(2), math.log(3), math.log(4)
KEEP = torch.ones(1, 4, dtype=torch.bool)
logits = st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=4)


def row(*values: float) -> torch.Tensor:
    return torch.tensor([values])


def test_candidates_are_the_best_k_of_each_row() -> None:
    logits_BV = torch.tensor([[0.0, 3.0, 1.0, 2.0], [5.0, 4.0, 3.0, 2.0]])
    candidates, base, keep = take_candidates(logits_BV, torch.tensor([3, 1]))
    assert candidates.tolist() == [[1, 3, 2], [0, 1, 2]]
    assert base.tolist() == [[3.0, 2.0, 1.0], [5.0, 4.0, 3.0]]
    assert keep.tolist() == [[True, True, True], [True, False, False]]


def test_forbidden_tokens_are_no_candidates() -> None:
    _, _, keep = take_candidates(row(0.0, -math.inf, -math.inf, 1.0), torch.tensor([4]))
    assert keep.tolist() == [[True, True, False, False]]


def test_plausibility_cut_compares_probabilities() -> None:
    # probabilities 8 : 4 : 2 : 1
    base = row(LOG2 * 3, LOG2 * 2, LOG2, 0.0)
    for alpha, kept in ((0.0, 4), (0.12, 4), (0.13, 3), (0.26, 2), (0.51, 1), (1.0, 1)):
        assert int(plausible(base, KEEP, torch.tensor([alpha])).sum()) == kept, alpha


def test_rewards_are_log_ratios_normalised_over_the_candidates() -> None:
    # guide probabilities 4:2:1:1, reference uniform over the four: log ratios log 2, 0, log 1/2, log 1/2
    rewards = candidate_rewards(row(LOG4, LOG2, 0.0, 0.0), row(7.0, 7.0, 7.0, 7.0), KEEP)
    assert rewards[0].tolist() == pytest.approx([LOG2, 0.0, -LOG2, -LOG2], abs=1e-6)


def test_a_dropped_candidate_carries_no_mass() -> None:
    keep = torch.tensor([[True, True, False, False]])
    rewards = candidate_rewards(row(LOG3, 0.0, 99.0, 99.0), row(0.0, 0.0, 0.0, 0.0), keep)
    assert rewards[0].tolist() == pytest.approx([math.log(1.5), math.log(0.5), 0.0, 0.0], abs=1e-6)


def test_guided_scores_by_hand() -> None:
    rewards = row(LOG2, 0.0, -LOG2, -LOG2)
    scores = guided_scores(row(1.0, 2.0, 3.0, 0.0), rewards, torch.tensor([2.0]), KEEP)
    assert scores[0].tolist() == pytest.approx([1 + 2 * LOG2, 2.0, 3 - 2 * LOG2, -2 * LOG2], abs=1e-6)
    # the reward moves the choice from token 2 to token 0
    assert scores.argmax().item() == 0


def test_base_reference_is_the_released_formula() -> None:
    """With ref = z the scores are (1 - beta) z + beta q + const on the candidates."""
    base, guide = row(2.0, 1.0, 0.5, -1.0), row(0.0, 3.0, -2.0, 1.0)
    scores = guided_scores(base, candidate_rewards(guide, base, KEEP), torch.tensor([0.7]), KEEP)
    difference = scores - (0.3 * base + 0.7 * guide)
    assert (difference - difference[:, :1]).abs().max() < 1e-6


def test_preferences_add_up_or_the_best_counts() -> None:
    rewards_GK = torch.tensor([[1.0, 0.0, -1.0], [0.5, 2.0, 0.0], [3.0, 3.0, 3.0]])
    weights, rows = torch.tensor([1.0, -2.0, 1.0]), torch.tensor([0, 0, 2])
    total = combine_rewards(rewards_GK, Shares(weights, rows), 3)
    assert total.tolist() == [[0.0, -4.0, -1.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]]
    best = combine_rewards(rewards_GK, Shares(weights, rows, torch.tensor([True, True, True])), 3)
    assert best.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]]
    first = combine_rewards(rewards_GK, Shares(weights, rows, torch.tensor([True, False, False])), 3)
    assert first.tolist() == [best[0].tolist(), *total[1:].tolist()]


def test_a_guided_step_by_hand() -> None:
    """Of four tokens three are asked for and the cut leaves two: they share the guide's whole mass."""
    logits_BV = row(LOG2 * 3, LOG2 * 2, 0.0, -9.0)  # 8 : 4 : 1 : almost nothing
    found = plausible_candidates(logits_BV, torch.tensor([3]), torch.tensor([0.3]))
    assert found.tokens_BK.tolist() == [[0, 1, 2]]
    assert found.keep_BK.tolist() == [[True, True, False]]
    # base 2/3 : 1/3, guide 1/3 : 2/3: log ratios -log 2, log 2
    guide_GK = row(0.0, LOG2, 99.0)
    one = torch.ones(1)
    scores = score_candidates(found, guide_GK, one)
    assert scores.rewards_BK[0].tolist() == pytest.approx([-LOG2, LOG2, 0.0], abs=1e-6)
    assert scores.scores_BK[0].tolist() == pytest.approx([2 * LOG2, 3 * LOG2, -math.inf], abs=1e-6)
    assert scores.sound_B.tolist() == [True]
    # the same against a uniform reference, twice: once with half its weight turned round, bounded by .1
    twice = Shares(torch.tensor([1.0, -0.5]), torch.tensor([0, 0]))
    told = {"reference_GK": torch.zeros(2, 3), "shares": twice, "clip_B": one / 10}
    clipped = score_candidates(found, guide_GK.expand(2, -1), one, **told)
    assert clipped.rewards_BK[0].tolist() == pytest.approx([-0.1, 0.1, 0.0], abs=1e-6)
    free = score_candidates(found, guide_GK.expand(2, -1), one, **told | {"clip_B": None})
    assert free.rewards_BK[0].tolist() == pytest.approx([0.5 * math.log(2 / 3), 0.5 * math.log(4 / 3), 0.0], abs=1e-6)
    # nobody was asked, or the row is skipped: the base's own scores
    for unguided in (score_candidates(found, None, one), score_candidates(found, guide_GK, one, skip_B=one > 0)):
        assert unguided.scores_BK[0].tolist() == pytest.approx([LOG2 * 3, LOG2 * 2, -math.inf])
    assert score_candidates(found, row(math.nan, 0.0, 0.0), one).sound_B.tolist() == [False]


def test_rounded_logits_only_find_the_candidates() -> None:
    exact = {0: 2.5, 1: 1.25, 2: 0.5}

    def look(tokens_BK: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[exact[token] for token in tokens] for tokens in tokens_BK.tolist()])

    found = plausible_candidates(row(2.0, 1.0, 0.0), torch.tensor([2]), torch.zeros(1), 2, look)
    assert found.base_BK.tolist() == [[2.5, 1.25]]


def test_draw_inverts_the_distribution() -> None:
    scores = torch.tensor([[LOG3, 0.0]]).log_softmax(-1)  # .75, .25
    one = torch.ones(1)
    for uniform, column in ((0.0, 0), (0.74, 0), (0.76, 1), (0.999999, 1)):
        assert draw(scores, one, one, torch.tensor([uniform])).item() == column
    # at half the temperature: .9, .1
    assert draw(scores, one / 2, one, torch.tensor([0.89])).item() == 0
    # the nucleus of .7 holds the first alone
    assert draw(scores, one, one * 0.7, torch.tensor([0.99])).item() == 0
    assert draw(scores, one * 0, one, torch.tensor([0.99])).item() == 0


@given(logits, logits, st.floats(-2, 2))
def test_reward_is_zero_where_guide_and_reference_agree(base: list[float], guide: list[float], shift: float) -> None:
    same = candidate_rewards(row(*guide), row(*guide) + shift, KEEP)
    assert same.abs().max() < 1e-4
    scores = guided_scores(row(*base), same, torch.tensor([1.0]), KEEP)
    assert torch.allclose(scores, row(*base), atol=1e-4)


@given(logits, logits)
def test_swapping_guide_and_reference_turns_the_sign(guide: list[float], reference: list[float]) -> None:
    there = candidate_rewards(row(*guide), row(*reference), KEEP)
    back = candidate_rewards(row(*reference), row(*guide), KEEP)
    assert torch.allclose(there, -back, atol=1e-5)


@given(logits, logits, st.integers(1, 4), st.floats(0, 1))
def test_beta_zero_keeps_the_base(base: list[float], guide: list[float], k: int, alpha: float) -> None:
    logits_BV = row(*base)
    candidates, base_BK, keep = take_candidates(logits_BV, torch.tensor([k]))
    keep = plausible(base_BK, keep, torch.tensor([alpha]))
    rewards = candidate_rewards(row(*guide)[:, :k], base_BK, keep)
    scores = guided_scores(base_BK, rewards, torch.tensor([0.0]), keep)
    chosen = candidates[0, scores.argmax()]
    assert logits_BV[0, chosen] == logits_BV.max()


@given(st.lists(logits, min_size=2, max_size=5), st.integers(0, 2**32 - 1), st.floats(0.1, 3), st.floats(0.05, 1))
@settings(max_examples=60)
def test_a_row_draws_alone_as_in_company(rows: list[list[float]], seed: int, temperature: float, top_p: float) -> None:
    scores = torch.tensor(rows)
    uniform = torch.rand(len(rows), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    temperatures, top_ps = torch.full((len(rows),), temperature), torch.full((len(rows),), top_p)
    together = draw(scores, temperatures, top_ps, uniform)
    for index in range(len(rows)):
        at = slice(index, index + 1)
        assert draw(scores[at], temperatures[at], top_ps[at], uniform[at]).item() == together[index].item()


def drawn_by_sorting(scores_N: torch.Tensor, temperature: float, top_p: float, uniform: float) -> int:
    """The draw as it is defined, on the whole vocabulary."""
    probability_N, order_N = (scores_N.double() / temperature).softmax(-1).sort(descending=True, stable=True)
    nucleus_N = probability_N.masked_fill(probability_N.cumsum(-1) - probability_N >= top_p, 0.0)
    total = float(nucleus_N.sum()) if top_p < 1 else 1.0
    place = int((nucleus_N.cumsum(-1) <= uniform * total).sum())
    return int(order_N[min(place, int((nucleus_N > 0).sum()) - 1)])


@pytest.mark.parametrize("kind", [torch.Tensor, np.ndarray])
@pytest.mark.parametrize(("spread", "rounded"), [(0.1, False), (1.0, True), (3.0, False), (6.0, True)])
def test_most_of_a_wide_vocabulary_need_not_be_sorted(kind: type, spread: float, rounded: bool) -> None:
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(8, 3001, generator=generator) * spread
    scores = scores.round() if rounded else scores  # equals
    scores[::2, ::3] = -math.inf
    temperatures, top_ps = torch.tensor([0.5, 1.0] * 4), torch.tensor([0.3, 0.9, 0.999, 1.0] * 2)
    uniform = torch.tensor([0.0, 0.2, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.999999], dtype=torch.float64)
    given = [values if kind is torch.Tensor else values.numpy() for values in (scores, temperatures, top_ps, uniform)]
    expected = [
        drawn_by_sorting(*values)
        for values in zip(scores, temperatures.tolist(), top_ps.tolist(), uniform.tolist(), strict=True)
    ]
    assert draw(*given).tolist() == expected
    assert [draw(*(values[n : n + 1] for values in given)).item() for n in range(8)] == expected


@given(logits, st.floats(0, 1, exclude_max=True), st.floats(0.05, 1))
def test_draw_stays_in_the_nucleus(values: list[float], uniform: float, top_p: float) -> None:
    scores = row(*values)
    chosen = draw(scores, torch.ones(1), torch.tensor([top_p]), torch.tensor([uniform], dtype=torch.float64)).item()
    probabilities = scores[0].double().softmax(-1)
    better = probabilities[probabilities > probabilities[chosen]].sum().item()
    assert better < top_p + 1e-6
