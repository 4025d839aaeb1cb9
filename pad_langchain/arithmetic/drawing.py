"""The draw: one token per row by its own random number, from the nucleus of a distribution."""

from __future__ import annotations

import numpy as np
import torch

from .arrays import Array, doubles, fill, log_sum_exp, pick, take, top

__all__ = ["draw"]

_MANY = 1000  # tokens that are sorted first, in the hope that the nucleus is among them


def draw(scores_BN: Array, temperature_B: Array, top_p_B: Array, uniform_B: Array) -> Array:
    """Choose one column per row: the best, or a sample from the nucleus of softmax(score / temperature).

    The nucleus is the smallest set of best tokens that holds `top_p` of the probability. Sampling inverts the
    cumulative distribution at `uniform_B`, so a row's choice depends only on its own number and scores, never on who
    shares the batch.

    Args:
        scores_BN: guided scores, or logits. -inf is never chosen.
        temperature_B: 0 or more per row. 0 takes the best column.
        top_p_B: nucleus per row, in (0, 1].
        uniform_B: a random number in [0, 1) per row.

    Returns:
        column indices [B].
    """
    best_B = scores_BN.argmax(-1)
    sampled_B = temperature_B > 0
    if not bool(sampled_B.any()):
        return best_B
    scaled_BN = doubles(scores_BN) / doubles(pick(sampled_B, temperature_B, 1.0))[:, None]
    top_p_B, uniform_B = doubles(top_p_B), doubles(uniform_B)
    drawn_B = None
    if scaled_BN.shape[1] > 2 * _MANY:
        drawn_B, sure_B = _drawn(*_best(scaled_BN, _MANY), top_p_B, uniform_B)
        sure_B = sure_B | ~sampled_B
    if drawn_B is None or not bool(sure_B.all()):
        from_all_B, _ = _drawn(*_best(scaled_BN, scaled_BN.shape[1]), top_p_B, uniform_B)
        drawn_B = from_all_B if drawn_B is None else pick(sure_B, drawn_B, from_all_B)
    return pick(sampled_B, drawn_B, best_B)


def _drawn(ordered_BK: Array, order_BK: Array, top_p_B: Array, uniform_B: Array) -> tuple[Array, Array]:
    """Draw from the nucleus, given probabilities, best first, and their places.

    Returns:
        places [B], and whether they are what all columns would give, however many are left out: the last of these is
        neither drawn nor as likely as what is drawn.
    """
    before_BK = ordered_BK.cumsum(-1) - ordered_BK
    nucleus_BK = fill(ordered_BK, before_BK >= top_p_B[:, None], 0.0)
    cumulative_BK = nucleus_BK.cumsum(-1)
    # All of the vocabulary adds up to 1, of which the columns may be a part.
    total_B = pick(top_p_B < 1, cumulative_BK[:, -1], 1.0)
    # The first place beyond the target; one that rounds up to the total must not land on probability zero.
    place_B = (cumulative_BK <= (uniform_B * total_B)[:, None]).sum(-1)
    last_B = (nucleus_BK > 0).sum(-1) - 1
    sure_B = (top_p_B >= 1) & (place_B <= last_B) | (nucleus_BK[:, -1] == 0)
    place_B = pick(place_B < last_B, place_B, last_B)
    place_B = pick(place_B > 0, place_B, last_B * 0)[:, None]
    sure_B = sure_B & (take(ordered_BK, place_B)[:, 0] > ordered_BK[:, -1])
    return take(order_BK, place_B)[:, 0], sure_B


def _best(scaled_BN: Array, count: int) -> tuple[Array, Array]:
    """The largest probabilities per row, best first, and their places, [B, count] twice; of equals the first."""
    total_B1 = log_sum_exp(scaled_BN)[:, None]
    if not isinstance(scaled_BN, torch.Tensor):
        best_BK, places_BK = top(scaled_BN, count)
        return np.exp(best_BK - total_B1), places_BK
    if count < scaled_BN.shape[1]:
        places_BK = scaled_BN.topk(count, dim=-1).indices.sort(dim=-1).values  # in order, so that sorting keeps it
        best_BK, order_BK = scaled_BN.gather(1, places_BK).sort(dim=-1, descending=True, stable=True)
        return (best_BK - total_B1).exp(), places_BK.gather(1, order_BK)
    best_BK, places_BK = scaled_BN.sort(dim=-1, descending=True, stable=True)
    return (best_BK - total_B1).exp(), places_BK
