"""The paper's arithmetic as pure functions on tensors or numpy arrays: candidates, rewards, guided scores.

Axes: B rows, G guide rows (one per preference, or one per condition), V vocabulary, K candidates. Everything is float32
and in nats. Where rows ask for different k, K is the largest and `keep_BK` says which candidates count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from .arrays import Array, fill, floats, log_softmax, pick, top, zeros

__all__ = [
    "Candidates",
    "Cuts",
    "Scores",
    "Shares",
    "candidate_rewards",
    "clip_rewards",
    "combine_rewards",
    "decided",
    "guided_scores",
    "penalised",
    "plausible",
    "plausible_candidates",
    "score_candidates",
    "take_candidates",
]

NEVER = float("-inf")
_MANY = 1000  # tokens that are not sorted to find the best of them
ROUNDING = 1e-3  # nats: more than float32 loses when a reward is added to a logit


class Candidates(NamedTuple):
    """What one step chooses among, [B, K] each: token ids, base logits in float32, and which candidates count."""

    tokens_BK: Array
    base_BK: Array
    keep_BK: Array

    def of(self, row_G: Array) -> Candidates:
        """Return the candidates of the row of each guide row: [B, K] and row indices [G] → [G, K]."""
        return Candidates(*(part_BK[row_G] for part_BK in self))

    def narrow(self) -> Candidates:
        """Drop the last columns, in which no candidate of any row counts. At least one column stays. Arrays only."""
        counts = np.flatnonzero(self.keep_BK.any(0))
        width = int(counts[-1]) + 1 if len(counts) else 1
        return Candidates(*(part_BK[:, :width] for part_BK in self))


@dataclass(frozen=True)
class Cuts:
    """How many candidates rows take, and how far below the likeliest, as numbers of Python.

    Args:
        ks: candidates wanted per row.
        logs: log α per row, in float32. -inf cuts nothing.
        everywhere: whether every row has a cut.
    """

    ks: tuple[int, ...]
    logs: tuple[np.float32, ...]
    everywhere: bool

    @classmethod
    def of(cls, k_B: np.ndarray, alpha_B: np.ndarray) -> Cuts:
        """Read them from arrays of B rows."""
        with np.errstate(divide="ignore"):
            return cls(tuple(k_B.tolist()), tuple(np.log(alpha_B)), bool(alpha_B.all()))


@dataclass(frozen=True)
class Shares:
    """How guide rows add up to rewards of rows.

    Args:
        weight_G: signed weight of each guide row.
        row_G: the row it belongs to. A row without guide rows has the reward 0.
        best_B: True takes max_i w_i r_i, False takes Σ_i w_i r_i. None means the sum in every row.
    """

    weight_G: Array
    row_G: Array
    best_B: Array | None = None


class Scores(NamedTuple):
    """What one step weighed: scores and rewards [B, K] in nats, and whether all rewards of a row are finite [B]."""

    scores_BK: Array
    rewards_BK: Array
    sound_B: Array


def plausible_candidates(
    logits_BV: Array,
    k_B: Array,
    alpha_B: Array,
    most: int | None = None,
    exact: Callable[[Array], Array] | None = None,
    cuts: Cuts | None = None,
) -> Candidates:
    """The first half of a guided step: C_K of Eq. 13, then the plausibility cut.

    Args:
        logits_BV, k_B, most: see `take_candidates`.
        alpha_B: see `plausible`.
        exact: token ids [B, K] → their base logits in float32, for `logits_BV` in lower precision. A reward is a
            difference, so both of its sides must be equally exact. None means `logits_BV` are taken.
        cuts: what `Cuts.of(k_B, alpha_B)` returned before, for arrays: a step has no time for it.

    Returns:
        the candidates. Arrays have no columns in which no candidate of any row counts.
    """
    arrays = isinstance(logits_BV, np.ndarray)
    if arrays and exact is None and (few := _few_candidates(logits_BV, cuts or Cuts.of(k_B, alpha_B))) is not None:
        return few
    tokens_BK, base_BK, keep_BK = take_candidates(logits_BV, k_B, most)
    if exact is not None:
        base_BK = exact(tokens_BK)
    found = Candidates(tokens_BK, base_BK, plausible(base_BK, keep_BK, alpha_B))
    return found.narrow() if arrays else found


def _few_candidates(logits_BV: np.ndarray, cuts: Cuts) -> Candidates | None:
    """`plausible_candidates` where every row has a cut. It comes first, and only the tokens that pass it are sorted.

    Returns:
        None where a row has no cut, or no logit that is a number.
    """
    if not cuts.everywhere:
        return None
    rows = []
    for row_V, k, cut in zip(floats(logits_BV), cuts.ks, cuts.logs, strict=True):
        least = row_V[row_V.argmax()] + cut
        if not least > NEVER:
            return None
        places = np.flatnonzero(row_V >= least)
        if len(places) > max(_MANY, k):
            values_1K, places_1K = top(row_V[None], k)
            rows.append((places_1K[0], values_1K[0]))
            continue
        values = row_V[places]
        order = np.argsort(-values, kind="stable")[:k]
        rows.append((places[order], values[order]))
    if len(rows) == 1:
        tokens_K, base_K = rows[0]
        return Candidates(tokens_K[None], base_K[None], np.ones((1, len(tokens_K)), dtype=bool))
    shape = len(rows), max(len(tokens_K) for tokens_K, _ in rows)
    found = Candidates(np.zeros(shape, np.int64), np.full(shape, NEVER, np.float32), np.zeros(shape, dtype=bool))
    for n, (tokens_K, base_K) in enumerate(rows):
        count = len(tokens_K)
        found.tokens_BK[n, :count], found.base_BK[n, :count], found.keep_BK[n, :count] = tokens_K, base_K, True
    return found


def score_candidates(
    found: Candidates,
    guide_GK: Array | None,
    beta_B: Array,
    *,
    reference_GK: Array | None = None,
    shares: Shares | None = None,
    clip_B: Array | None = None,
    skip_B: Array | None = None,
) -> Scores:
    """The second half of a guided step: rewards per guide row, combined per row, then Eq. 13.

    Args:
        found: the candidates.
        guide_GK: the guide's logits of the candidates. None means it was not asked, and all rewards are 0.
        beta_B: guidance strength per row.
        reference_GK: the logits that the guide's are compared with. None means the base's.
        shares: how guide rows add up. None means one guide row per row, with weight 1.
        clip_B: bound of each row's reward in nats, above 0. inf means no bound. None means no row has one.
        skip_B: rows whose reward is 0 whatever the guide says. None means there are none.
    """
    if guide_GK is None:
        rewards_BK = zeros(found.base_BK)
    else:
        asked = found if shares is None else found.of(shares.row_G)
        rewards_BK = candidate_rewards(guide_GK, asked.base_BK if reference_GK is None else reference_GK, asked.keep_BK)
        if shares is not None:
            rewards_BK = combine_rewards(rewards_BK, shares, len(beta_B))
    if skip_B is not None:
        rewards_BK = fill(rewards_BK, skip_B[:, None], 0.0)
    sound_B = (abs(rewards_BK) < math.inf).all(-1)  # NaN is no number either
    if clip_B is not None:
        rewards_BK = clip_rewards(rewards_BK, clip_B)
    return Scores(guided_scores(found.base_BK, rewards_BK, beta_B, found.keep_BK), rewards_BK, sound_B)


def take_candidates(logits_BV: Array, k_B: Array, most: int | None = None) -> tuple[Array, Array, Array]:
    """C_K of Eq. 13: the k most likely tokens of each row under the base.

    Args:
        logits_BV: base logits. -inf marks a token that a grammar forbids.
        k_B: candidates wanted per row, 1 to V.
        most: the largest of `k_B`. None means it is read back from the device.

    Returns:
        token ids [B, K], best first, their logits [B, K] float32, and `keep_BK`. The last is False beyond a row's own
        k and for forbidden tokens.
    """
    base_BK, candidates_BK = top(floats(logits_BV), int(k_B.max()) if most is None else most)
    count = base_BK.shape[1]
    numpy = isinstance(base_BK, np.ndarray)
    rank_K = np.arange(count) if numpy else torch.arange(count, device=base_BK.device)
    return candidates_BK, base_BK, (rank_K < k_B[:, None]) & (base_BK > NEVER)


def penalised(logits: Array, penalty: float) -> Array:
    """Return logits of tokens that are repeated: divided by the penalty where they are positive, else multiplied.

    This is the rule of CTRL (arXiv 1909.05858), as transformers has it.

    Args:
        logits: the base's. -inf stays -inf.
        penalty: 1 or more. 1 changes nothing.
    """
    return pick(logits > 0, logits / penalty, logits * penalty)


def plausible(base_BK: Array, keep_BK: Array, alpha_B: Array) -> Array:
    """The plausibility cut: keep candidates with p(a) >= alpha * max p.

    The cut comes before the rewards are normalised, so dropped candidates carry no mass.

    Args:
        base_BK: base logits of the candidates.
        keep_BK: which candidates count so far.
        alpha_B: in [0, 1]. 0 keeps all candidates, 1 only the likeliest.

    Returns:
        which candidates count now, bool [B, K].
    """
    kept_BK = fill(base_BK, ~keep_BK, NEVER)
    if isinstance(kept_BK, torch.Tensor):
        return keep_BK & (base_BK >= kept_BK.amax(-1, keepdim=True) + alpha_B.float().log()[:, None])
    with np.errstate(divide="ignore"):  # log 0 keeps all
        return keep_BK & (base_BK >= kept_BK.max(-1, keepdims=True) + np.log(alpha_B)[:, None])


def candidate_rewards(guide_GK: Array, reference_GK: Array, keep_GK: Array) -> Array:
    """r(a) = log_softmax_C(q)[a] - log_softmax_C(ref)[a], normalised over the kept candidates C only.

    Args:
        guide_GK, reference_GK: logits of the candidates under the guide and the reference.
        keep_GK: which candidates count.

    Returns:
        rewards [G, K] in nats. They are 0 outside the kept candidates.
    """
    drop_GK = ~keep_GK
    if isinstance(drop_GK, np.ndarray) and not drop_GK.any():
        guide_GK, reference_GK = log_softmax(np.stack([floats(guide_GK), floats(reference_GK)]))
        return guide_GK - reference_GK
    guide_GK, reference_GK = (log_softmax(fill(floats(side), drop_GK, NEVER)) for side in (guide_GK, reference_GK))
    return fill(guide_GK - reference_GK, drop_GK, 0.0)


def combine_rewards(rewards_GK: Array, shares: Shares, rows: int) -> Array:
    """Combine each row's weighted preferences: their sum, or the best (generalised policy improvement).

    Args:
        rewards_GK: rewards per guide row in nats.
        shares: which row each guide row belongs to, and its weight.
        rows: B.

    Returns:
        rewards [B, K] in nats.
    """
    weighted_GK = rewards_GK * shares.weight_G[:, None]
    if isinstance(weighted_GK, np.ndarray):
        return _combine_arrays(weighted_GK, shares, rows)
    zeros_BK = weighted_GK.new_zeros(rows, weighted_GK.shape[1])
    total_BK = zeros_BK.index_add(0, shares.row_G, weighted_GK)
    if shares.best_B is None:
        return total_BK
    row_GK = shares.row_G[:, None].expand_as(weighted_GK)
    most_BK = zeros_BK.scatter_reduce(0, row_GK, weighted_GK, "amax", include_self=False)
    return torch.where(shares.best_B[:, None], most_BK, total_BK)


def _combine_arrays(weighted_GK: np.ndarray, shares: Shares, rows: int) -> np.ndarray:
    """`combine_rewards` of numpy arrays."""
    total_BK = np.zeros((rows, weighted_GK.shape[1]), dtype=weighted_GK.dtype)
    np.add.at(total_BK, shares.row_G, weighted_GK)
    if shares.best_B is None:
        return total_BK
    most_BK = np.full_like(total_BK, NEVER)
    np.maximum.at(most_BK, shares.row_G, weighted_GK)
    return np.where(shares.best_B[:, None], np.where(most_BK > NEVER, most_BK, 0.0), total_BK)


def clip_rewards(rewards_BK: Array, clip_B: Array) -> Array:
    """Clip rewards to [-c, c] nats, each row with its own c. inf leaves a row as it is."""
    library = np if isinstance(rewards_BK, np.ndarray) else torch
    return library.minimum(library.maximum(rewards_BK, -clip_B[:, None]), clip_B[:, None])


def decided(base_BK: Array, keep_BK: Array, beta_B: Array, clip_B: Array) -> Array:
    """Whether no rewards within ±c can change the best candidate, because its base margin exceeds 2 |beta| c.

    Args:
        base_BK: base logits of the candidates.
        keep_BK: which candidates count.
        beta_B: guidance strength per row.
        clip_B: c per row in nats. With inf, a row is decided only if one candidate is left.

    Returns:
        booleans [B]. False where logits are NaN.
    """
    lonely_B = keep_BK.sum(-1) <= 1
    if base_BK.shape[1] == 1:
        return lonely_B
    best_B2, _ = top(fill(base_BK, ~keep_BK, NEVER), 2)
    with np.errstate(invalid="ignore"):  # β = 0 without a bound is NaN, which decides nothing
        return lonely_B | (best_B2[:, 0] - best_B2[:, 1] > 2 * abs(beta_B) * clip_B + ROUNDING)


def guided_scores(base_BK: Array, rewards_BK: Array, beta_B: Array, keep_BK: Array) -> Array:
    """Eq. 13: score(a) = z[a] + beta * r(a) on the kept candidates, -inf elsewhere. [B, K].

    beta = 0 gives the base logits.
    """
    return fill(floats(base_BK) + floats(beta_B)[:, None] * rewards_BK, ~keep_BK, NEVER)
