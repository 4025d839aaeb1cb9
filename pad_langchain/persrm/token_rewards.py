"""Rewards of answers' tokens, many preferences at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pad_langchain.arithmetic.head import features, gradients
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.persrm.head import VectorHead
from pad_langchain.persrm.hidden import Answer, answers, blocks

__all__ = ["TokenRewards", "head_gradients", "head_rewards", "log_probabilities"]

LOGITS_AT_ONCE = 2**23  # float32 numbers a block of full-vocabulary logits
FOLLOWED = 1024  # tokens whose probability is followed exactly
REACH = 0.5  # how far a gate typically moves a logit, as a share of the most it could


@dataclass(frozen=True, eq=False)
class TokenRewards:
    """A score token by token.

    Args:
        tokens: T texts of the response's tokens; the last is the end of the turn.
        rewards_PT: log softmax_V(q) − log softmax_V(ref) of each under each of P preferences, float64 nats [P, T].
    """

    tokens: tuple[str, ...]
    rewards_PT: np.ndarray


def log_probabilities(
    backbone: Backbone,
    pairs: Sequence[tuple[list[int], list[int]]],
    value_heads: Sequence[torch.nn.Linear | None] = (None,),
    *,
    adapter: Adapter | None = None,
    share: int = 1,
) -> list[list[np.ndarray]]:
    """log p of the tokens of each answer, from one reading for all value heads.

    Args:
        pairs: token ids of (prompt, answer).
        value_heads: W and b to apply before the LM head; None means neither.
        adapter, share: see `hidden.answers`.

    Returns:
        for each value head, for each pair [T] float64 nats.
    """
    found: list[list[np.ndarray]] = [[np.zeros(0)] * len(pairs) for _ in value_heads]
    for group in answers(backbone, pairs, adapter=adapter, share=share):
        for rows, value_head in zip(found, value_heads, strict=True):
            parts = []
            with torch.inference_mode():
                for hidden_TD, tokens_T1 in blocks(group, max(1, LOGITS_AT_ONCE // backbone.vocab_size)):
                    steered_TD = hidden_TD if value_head is None else value_head(hidden_TD.float())
                    logits_TV = backbone.logits(steered_TD)
                    logprob_T = logits_TV.gather(-1, tokens_T1)[:, 0] - logits_TV.logsumexp(-1)
                    parts.append(logprob_T.double().cpu())
            split = torch.cat(parts).split([len(answer.tokens_T) for answer in group])
            for answer, logprob_T in zip(group, split, strict=True):
                rows[answer.index] = logprob_T.numpy()
    return found


def head_rewards(
    backbone: Backbone, answer: Answer, head: VectorHead, features_VR: torch.Tensor, gates_PR: torch.Tensor
) -> np.ndarray:
    """log softmax_V(q) − log softmax_V(z) of an answer's tokens under P gates: [P, T] float64 nats.

    A gate adds δ_v = (U h ⊙ g) · features_v to the logit z_v, so the reward is δ − log Σ_v p_v exp(δ_v). The sum is
    exact over the FOLLOWED tokens that are likely or that gates move far, and takes exp(δ) as 1 + δ over the others,
    whose mass is next to nothing: then P preferences cost hardly more than one. A vocabulary of that size is exact.

    Args:
        features_VR: lm_head @ V, what each feature adds to the logits.
    """
    parts = []
    # The most a token's logit moves for a state of norm 1 under a typical gate; the same whatever is scored together.
    moved_V = features_VR.norm(dim=-1) * head.G_QR.detach().square().mean().sqrt()
    for hidden_TD, tokens_T1 in blocks([answer], max(1, LOGITS_AT_ONCE // backbone.vocab_size)):
        raw_TV = backbone.raw_logits(hidden_TD)
        p_TV = backbone.finish(raw_TV).softmax(-1)
        features_TR = features(hidden_TD.to(head.U_RD.dtype), head.U_RD)
        reach_TV = REACH * features_TR.norm(dim=-1, keepdim=True) * moved_V
        near_TK = (p_TV.log() + reach_TV).topk(len(moved_V[:FOLLOWED]), dim=-1).indices
        p_TK = p_TV.gather(1, near_TK)
        # The answer's own token is the last of the tokens followed.
        followed_TF = torch.cat([near_TK, tokens_T1], dim=1)
        raw_T1F = raw_TV.gather(1, followed_TF)[:, None]
        steer_TPR = features_TR[:, None] * gates_PR
        steered_TPF = raw_T1F + steer_TPR @ features_VR[followed_TF].transpose(1, 2)
        delta_TPF = backbone.finish(steered_TPF) - backbone.finish(raw_T1F)
        sum_TP = (p_TK[:, None] * delta_TPF[..., :-1].exp()).sum(-1)
        if len(moved_V) > FOLLOWED:
            p_TV.scatter_(1, near_TK, 0.0)
            far_TPR = steer_TPR * (p_TV @ features_VR)[:, None]
            sum_TP += (p_TV.sum(-1, keepdim=True) + backbone.finish(far_TPR.sum(-1))).clamp_min(0.0)
        parts.append((delta_TPF[..., -1] - sum_TP.log()).T.double().cpu())
    return torch.cat(parts, dim=-1).numpy()


def head_gradients(
    backbone: Backbone, group: Sequence[Answer], head: VectorHead, features_VR: torch.Tensor
) -> list[torch.Tensor]:
    """The gradients of `head_rewards` of answers' tokens with respect to the gate, at no gate: for each answer [T, R].

    What comes after the output matrix, such as a cap of the logits, is left out: that changes its length only.
    """
    parts = []
    for hidden_TD, tokens_T1 in blocks(group, max(1, LOGITS_AT_ONCE // backbone.vocab_size)):
        p_TV = backbone.logits(hidden_TD).softmax(-1)
        known_TR = features(hidden_TD.to(head.U_RD.dtype), head.U_RD)
        parts.append(gradients(known_TR, features_VR[tokens_T1[:, 0]], p_TV @ features_VR))
    return list(torch.cat(parts).split([len(answer.tokens_T) for answer in group]))
