"""What a head in training says of pairs: the reward of the chosen answer minus that of the rejected one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812

from pad_langchain.persrm.head import VectorHead
from pad_langchain.training.features import Features
from pad_langchain.training.precision import mixed_precision

__all__ = ["are_right", "gates_of", "margins"]


def gates_of(head: VectorHead, wishes: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    """Sum the gates of each wish's embeddings: N lists of [E] → [N, R]."""
    flat_PE = torch.stack([vector for wish in wishes for vector in wish])
    row_P = torch.tensor([n for n, wish in enumerate(wishes) for _ in wish])
    gates_PR = head.gates(flat_PE)
    return torch.zeros(len(wishes), gates_PR.shape[1]).index_add(0, row_P, gates_PR)


def margins(
    head: VectorHead, head_VD: torch.Tensor, features: Features, pairs: Sequence[int], gates_GNR: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reward of the chosen minus the rejected answer of N pairs under G gates each, in nats.

    Returns:
        Σ_t r(chosen) − Σ_t r(rejected) over the unsettled tokens [G, N], and the mean reward of the settled ones.
    """
    hidden_MD, candidates_MC, logits_MC, settled_M, row_M = features.take(pairs)
    # index_select and embedding sum their gradients in one order; plain indexing, on several threads, in any.
    gates_MRG = gates_GNR.permute(1, 2, 0).index_select(0, row_M // 2)
    if features.whole:
        reward_MG = _over_the_vocabulary(head, head_VD, hidden_MD, candidates_MC[:, 0], logits_MC, gates_MRG)
    else:
        reward_MG = _over_candidates(head, head_VD, hidden_MD, candidates_MC, logits_MC, gates_MRG)
    calm = reward_MG[settled_M].mean() if bool(settled_M.any()) else reward_MG.new_zeros(())
    counted_MG = reward_MG.masked_fill(settled_M[:, None], 0.0)
    sums_AG = torch.zeros(2 * len(pairs), len(gates_GNR)).index_add(0, row_M, counted_MG)
    return (sums_AG[0::2] - sums_AG[1::2]).T, calm


def _over_candidates(
    head: VectorHead,
    head_VD: torch.Tensor,
    hidden_MD: torch.Tensor,
    candidates_MC: torch.Tensor,
    logits_MC: torch.Tensor,
    gates_MRG: torch.Tensor,
) -> torch.Tensor:
    """Rewards [M, G], normalised over each token's candidates: only their rows of the lm_head are needed, each once."""
    used_K, place_MC = candidates_MC.unique(return_inverse=True)
    features_KR = head_VD[used_K] @ head.V_DR
    steer_MRG = (hidden_MD @ head.U_RD.T)[:, :, None] * gates_MRG
    steered_MCG = logits_MC[:, :, None] + F.embedding(place_MC, features_KR) @ steer_MRG
    return steered_MCG.log_softmax(1)[:, 0] - logits_MC.log_softmax(-1)[:, :1]


def _over_the_vocabulary(
    head: VectorHead,
    head_VD: torch.Tensor,
    hidden_MD: torch.Tensor,
    token_M: torch.Tensor,
    base_M1: torch.Tensor,
    gates_MRG: torch.Tensor,
) -> torch.Tensor:
    """Rewards [M, G], normalised over the vocabulary as scoring and decoding do."""
    rewards: list[torch.Tensor] = []
    for gates_MR in gates_MRG.unbind(-1):
        steered_MD = head(hidden_MD, gates_MR)
        with mixed_precision("cpu", torch.is_grad_enabled()):
            logits_MV = F.linear(steered_MD, head_VD)
        rewards.append(-F.cross_entropy(logits_MV.float(), token_M, reduction="none") - base_M1[:, 0])
    return torch.stack(rewards, dim=-1)


def are_right(
    head: VectorHead, head_VD: torch.Tensor, features: Features, wishes: Sequence[Sequence[torch.Tensor]]
) -> list[bool]:
    """Whether the chosen answer of each pair has the larger reward under its wishes, N lists of [E]."""
    right: list[bool] = []
    with torch.inference_mode():
        for start in range(0, len(wishes), 32):
            part = range(start, min(start + 32, len(wishes)))
            gates_NR = gates_of(head, [wishes[n] for n in part])
            margin_GN, _ = margins(head, head_VD, features, part, gates_NR[None])
            right += (margin_GN[0] > 0).tolist()
    return right
