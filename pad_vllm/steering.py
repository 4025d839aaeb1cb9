"""One step's arithmetic for the guided rows of a batch, on torch tensors; other rows are not touched.

The candidates are the best of the logits as vLLM has them then, so a grammar's mask counts. Their rewards compare the
base's hidden state h with the steered h', by the same K rows of the output matrix in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from pad_vllm.arithmetic.head import steer
from pad_vllm.arithmetic.scoring import NEVER, plausible_candidates, score_candidates
from pad_vllm.heads import Head
from pad_vllm.requests import Guidance

__all__ = ["End", "Group", "Weights", "candidate_logits", "groups_of", "steer_rows"]

# Logits of candidates: token ids [G, K] and N vectors for each row [G, D, N] → [G, K, N] in float32.
CandidateLogits = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
Weights = tuple[torch.Tensor, torch.Tensor]  # U [R, D] and V [D, R] of a head, float32 on the device

AT_ONCE = 1 << 24  # float32 of the output matrix that are gathered at once, 64 MiB


@dataclass(frozen=True)
class End:
    """Ends a request whose gate a worker cannot read: no answer is better than one without its preferences.

    Args:
        token: the id that ends it.
    """

    token: int


@dataclass(frozen=True, eq=False)
class Group:
    """G guided rows of one head.

    Args:
        rows: their places among the rows of the logits: int64 [G], or a slice where they are consecutive.
        gates_GR, beta_G, alpha_G, k_G: what they asked for.
        most: the largest of `k_G`.
        weights: of their head.
    """

    rows: torch.Tensor | slice
    gates_GR: torch.Tensor
    beta_G: torch.Tensor
    alpha_G: torch.Tensor
    k_G: torch.Tensor
    most: int
    weights: Weights


def groups_of(
    guided: Mapping[int, Guidance], weights_of: Callable[[Head], Weights], device: torch.device
) -> list[Group]:
    """Put guided rows together, on the device: one group a head, more where the rows' candidates take much memory."""
    by_head: dict[Head, list[tuple[int, Guidance]]] = {}
    for row, guidance in sorted(guided.items()):
        by_head.setdefault(guidance.head, []).append((row, guidance))
    groups = []
    for head, rows in by_head.items():
        most = max(guidance.top_k for _, guidance in rows)
        size = max(1, AT_ONCE // (most * head.config.hidden_size))
        groups += [_group(rows[n : n + size], weights_of(head), device) for n in range(0, len(rows), size)]
    return groups


def _group(rows: list[tuple[int, Guidance]], weights: Weights, device: torch.device) -> Group:
    places, asked = [row for row, _ in rows], [guidance for _, guidance in rows]
    first, last = places[0], places[-1]
    consecutive = places == list(range(first, last + 1))
    return Group(
        slice(first, last + 1) if consecutive else torch.tensor(places).to(device),
        torch.stack([torch.from_numpy(each.gate_R) for each in asked]).to(device),
        torch.tensor([each.beta for each in asked]).to(device),
        torch.tensor([each.alpha for each in asked]).to(device),
        torch.tensor([each.top_k for each in asked]).to(device),
        max(each.top_k for each in asked),
        weights,
    )


def steer_rows(
    logits_BV: torch.Tensor, hidden_BD: torch.Tensor, candidate_logits: CandidateLogits, group: Group
) -> None:
    """Put the guided scores of a group's rows in the place of their logits: -inf but for the candidates.

    Args:
        logits_BV: float32, changed in place.
        hidden_BD: the hidden states that the logits were computed from.
        candidate_logits: the base's output layer for candidates alone.
    """
    rows_GV = logits_BV[group.rows]  # not copied where they are consecutive
    found = plausible_candidates(rows_GV, group.k_G, group.alpha_G, min(group.most, rows_GV.shape[1]))
    hidden_GD = hidden_BD[group.rows].float()
    steered_GD = steer(hidden_GD, group.gates_GR, *group.weights)
    own_GK, guide_GK = candidate_logits(found.tokens_BK, torch.stack([hidden_GD, steered_GD], -1)).unbind(-1)
    scores = score_candidates(found, guide_GK, group.beta_G, reference_GK=own_GK)
    rows_GV.fill_(NEVER).scatter_(1, found.tokens_BK, scores.scores_BK)
    if not isinstance(group.rows, slice):
        logits_BV[group.rows] = rows_GV


def candidate_logits(
    weight_VD: torch.Tensor,
    bias_V: torch.Tensor | None,
    tokens_GK: torch.Tensor,
    vectors_GDN: torch.Tensor,
    first: int = 0,
) -> torch.Tensor:
    """Logits of candidates by the rows of an output matrix: [G, K] and [G, D, N] → [G, K, N] in float32.

    Args:
        weight_VD, bias_V: the matrix, or the part of it that holds tokens from `first` on. Others' logits are 0, so
            that the parts add up.
    """
    places_GK = tokens_GK - first
    inside_GK = (places_GK >= 0) & (places_GK < len(weight_VD))
    places_GK = places_GK.clamp(0, len(weight_VD) - 1)
    logits_GKN = weight_VD[places_GK].float() @ vectors_GDN
    if bias_V is not None:
        logits_GKN = logits_GKN + bias_V[places_GK].float()[..., None]
    return logits_GKN.masked_fill(~inside_GK[..., None], 0.0)
