"""The paper's arithmetic as pure functions on tensors: candidates, rewards, guided scores, and the draw.

Axes: B rows, G guide rows (one a preference, or one for a whole condition), V vocabulary, K candidates. Everything is
float32 and in nats. Where rows ask for different k, K is the largest and `keep_BK` says which candidates count.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

__all__ = [
    "Candidates",
    "Scores",
    "Shares",
    "candidate_rewards",
    "clip_rewards",
    "combine_rewards",
    "decided",
    "draw",
    "guided_scores",
    "plausible",
    "plausible_candidates",
    "score_candidates",
    "take_candidates",
]

NEVER = float("-inf")
ROUNDING = 1e-3  # nats: more than float32 loses when a reward is added to a logit


class Candidates(NamedTuple):
    """What one step chooses among: token ids, base logits float32, and which of them count, [B, K] each."""

    tokens_BK: torch.Tensor
    base_BK: torch.Tensor
    keep_BK: torch.Tensor

    def of(self, row_G: torch.Tensor) -> Candidates:
        """The candidates of these rows, once for each guide row: [G, K]."""
        return Candidates(*(part_BK[row_G] for part_BK in self))


@dataclass(frozen=True)
class Shares:
    """How guide rows add up to rewards of rows.

    Args:
        weight_G: signed weight of each guide row.
        row_G: the row it belongs to; a row may have none (its reward is 0).
        best_B: True takes max_i w_i r_i, False sums w_i r_i; None sums in every row.
    """

    weight_G: torch.Tensor
    row_G: torch.Tensor
    best_B: torch.Tensor | None = None


class Scores(NamedTuple):
    """What one step weighed: scores and rewards [B, K], and whether all rewards of a row are finite numbers [B]."""

    scores_BK: torch.Tensor
    rewards_BK: torch.Tensor
    sound_B: torch.Tensor


def plausible_candidates(
    logits_BV: torch.Tensor,
    k_B: torch.Tensor,
    alpha_B: torch.Tensor,
    most: int | None = None,
    exact: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> Candidates:
    """The first half of a guided step: C_K of Eq. 13, then the plausibility cut.

    Args:
        logits_BV, k_B, most: see `take_candidates`; alpha_B: see `plausible`.
        exact: token ids [B, K] → their base logits in float32, where `logits_BV` are rounded: a reward is a difference,
            and both of its sides must be as exact as the guide's.
    """
    tokens_BK, base_BK, keep_BK = take_candidates(logits_BV, k_B, most)
    if exact is not None:
        base_BK = exact(tokens_BK)
    return Candidates(tokens_BK, base_BK, plausible(base_BK, keep_BK, alpha_B))


def score_candidates(
    found: Candidates,
    guide_GK: torch.Tensor | None,
    beta_B: torch.Tensor,
    *,
    reference_GK: torch.Tensor | None = None,
    shares: Shares | None = None,
    clip_B: torch.Tensor | None = None,
    skip_B: torch.Tensor | None = None,
) -> Scores:
    """The second half of a guided step: rewards of every guide row, brought together for each row, and Eq. 13.

    Args:
        guide_GK: the guide's logits of the candidates; None: it was not asked, and all rewards are 0.
        reference_GK: what they are compared with; None: the base's logits.
        shares: None: one guide row a row, with weight 1.
        clip_B: bound of each row's reward in nats, inf for none; None bounds no row.
        skip_B: rows whose reward is 0 whatever the guide says.
    """
    if guide_GK is None:
        rewards_BK = torch.zeros_like(found.base_BK)
    else:
        asked = found if shares is None else found.of(shares.row_G)
        rewards_BK = candidate_rewards(guide_GK, asked.base_BK if reference_GK is None else reference_GK, asked.keep_BK)
        if shares is not None:
            rewards_BK = combine_rewards(rewards_BK, shares, len(beta_B))
    if skip_B is not None:
        rewards_BK = rewards_BK.masked_fill(skip_B[:, None], 0.0)
    sound_B = torch.isfinite(rewards_BK).all(-1)
    if clip_B is not None:
        rewards_BK = clip_rewards(rewards_BK, clip_B)
    return Scores(guided_scores(found.base_BK, rewards_BK, beta_B, found.keep_BK), rewards_BK, sound_B)


def take_candidates(
    logits_BV: torch.Tensor, k_B: torch.Tensor, most: int | None = None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """C_K of Eq. 13: the k most likely tokens of each row under the base.

    Args:
        logits_BV: base logits; -inf marks a token that a grammar forbids.
        k_B: candidates wanted in each row, 1 to V.
        most: the largest of `k_B`, where it is known: it need not be read back from the device.

    Returns:
        token ids [B, K], their logits [B, K] float32, best first, and `keep_BK`: False beyond a row's own k and for
        forbidden tokens.
    """
    base_BK, candidates_BK = logits_BV.float().topk(int(k_B.max()) if most is None else most, dim=-1)
    rank_K = torch.arange(base_BK.shape[1], device=base_BK.device)
    return candidates_BK, base_BK, (rank_K < k_B[:, None]) & (base_BK > NEVER)


def plausible(base_BK: torch.Tensor, keep_BK: torch.Tensor, alpha_B: torch.Tensor) -> torch.Tensor:
    """The plausibility cut: keep a candidate while p(a) >= alpha * max p. alpha = 0 keeps all, alpha = 1 the likeliest
    alone.

    Returns:
        a narrower `keep_BK`; the cut comes before the rewards are normalised, so dropped candidates carry no mass.
    """
    best_B1 = base_BK.masked_fill(~keep_BK, NEVER).amax(-1, keepdim=True)
    return keep_BK & (base_BK >= best_B1 + alpha_B.float().log()[:, None])


def candidate_rewards(guide_GK: torch.Tensor, reference_GK: torch.Tensor, keep_GK: torch.Tensor) -> torch.Tensor:
    """r(a) = log_softmax_C(q)[a] - log_softmax_C(ref)[a]: normalised over the kept candidates only.

    Returns:
        rewards [G, K] in nats; 0 outside the kept candidates.
    """
    guide_GK = guide_GK.float().masked_fill(~keep_GK, NEVER).log_softmax(-1)
    reference_GK = reference_GK.float().masked_fill(~keep_GK, NEVER).log_softmax(-1)
    return (guide_GK - reference_GK).masked_fill(~keep_GK, 0.0)


def combine_rewards(rewards_GK: torch.Tensor, shares: Shares, rows: int) -> torch.Tensor:
    """Bring each row's weighted preferences together: their sum, or the best (generalised policy improvement).

    Returns:
        rewards [B, K] of so many rows.
    """
    weighted_GK = rewards_GK * shares.weight_G[:, None]
    zeros_BK = weighted_GK.new_zeros(rows, weighted_GK.shape[1])
    total_BK = zeros_BK.index_add(0, shares.row_G, weighted_GK)
    if shares.best_B is None:
        return total_BK
    row_GK = shares.row_G[:, None].expand_as(weighted_GK)
    most_BK = zeros_BK.scatter_reduce(0, row_GK, weighted_GK, "amax", include_self=False)
    return torch.where(shares.best_B[:, None], most_BK, total_BK)


def clip_rewards(rewards_BK: torch.Tensor, clip_B: torch.Tensor) -> torch.Tensor:
    """Rewards within [-c, c] nats, each row with its own c; inf leaves them as they are."""
    return torch.minimum(torch.maximum(rewards_BK, -clip_B[:, None]), clip_B[:, None])


def decided(base_BK: torch.Tensor, keep_BK: torch.Tensor, beta_B: torch.Tensor, clip_B: torch.Tensor) -> torch.Tensor:
    """Whether no rewards within ±c can change the best candidate: its base margin exceeds 2 |beta| c.

    Args:
        clip_B: c of each row in nats; inf: decided only where one candidate is left.

    Returns:
        booleans [B]; False where logits are NaN.
    """
    lonely_B = keep_BK.sum(-1) <= 1
    if base_BK.shape[1] == 1:
        return lonely_B
    best_B2 = base_BK.masked_fill(~keep_BK, NEVER).topk(2, dim=-1).values
    return lonely_B | (best_B2[:, 0] - best_B2[:, 1] > 2 * beta_B.abs() * clip_B + ROUNDING)


def guided_scores(
    base_BK: torch.Tensor, rewards_BK: torch.Tensor, beta_B: torch.Tensor, keep_BK: torch.Tensor
) -> torch.Tensor:
    """Eq. 13: score(a) = z[a] + beta * r(a) on the kept candidates, -inf elsewhere. beta = 0: the base logits."""
    return (base_BK.float() + beta_B.float()[:, None] * rewards_BK).masked_fill(~keep_BK, NEVER)


def draw(
    scores_BN: torch.Tensor, temperature_B: torch.Tensor, top_p_B: torch.Tensor, uniform_B: torch.Tensor
) -> torch.Tensor:
    """Choose one column a row: the best at temperature 0, else a sample from the nucleus of softmax(score /
    temperature).

    The nucleus is the smallest set of best tokens that holds `top_p` of the probability. Sampling inverts the
    cumulative distribution at `uniform_B` in [0, 1), so a row's choice depends on its own number and scores alone,
    never on who shares the batch.

    Returns:
        column indices [B].
    """
    best_B = scores_BN.argmax(-1)
    sampled_B = temperature_B > 0
    if not bool(sampled_B.any()):
        return best_B
    scaled_BN = scores_BN.double() / torch.where(sampled_B, temperature_B, 1.0).double()[:, None]
    ordered_BN, order_BN = scaled_BN.softmax(-1).sort(dim=-1, descending=True, stable=True)
    before_BN = ordered_BN.cumsum(-1) - ordered_BN
    ordered_BN = ordered_BN.masked_fill(before_BN >= top_p_B.double()[:, None], 0.0)
    cumulative_BN = ordered_BN.cumsum(-1)
    target_B1 = uniform_B.double()[:, None] * cumulative_BN[:, -1:]
    place_B1 = torch.searchsorted(cumulative_BN, target_B1, right=True)
    # A target that rounds up to the total must not land on a token of probability zero.
    place_B1 = torch.minimum(place_B1, ((ordered_BN > 0).sum(-1, keepdim=True) - 1).clamp_min(0))
    return torch.where(sampled_B, order_BN.gather(1, place_B1)[:, 0], best_B)
