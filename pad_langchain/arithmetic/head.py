"""The vector-conditioned head in functions of arrays (the paper's R = w_p · φ taken literally).

    g_R = Σ_i weight_i · ( s(e_i) − s(−e_i) )_Q · G_QR   s = √softmax(f), f a small MLP, e the sentence embedding
    q_V = lm_head( h_D + V_DR · ( (U_RD · h_D) ⊙ g_R ) )

The features do not depend on the preference, and the gate does not depend on the text. Preferences add up as vectors.
A wording is read as a mixture of Q prototype gates G, so a mild wording steers as much as a strong one. The mixture's
weights have length 1, not sum 1, so that a doubtful reading is not halved at every doubt. The gate is odd in e: what is
not wanted has the opposite vector and steers the opposite way. A head may know how strongly each prototype should
steer: then a gate is multiplied with Σ_q softmax(f)_q · strength_q.

`read` and `gates` run once per preference, on torch tensors. `gate` runs per request, `features` and `steer` per token.
These three take numpy arrays as well as tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import nn

__all__ = [
    "Layer",
    "averse",
    "bounded",
    "features",
    "gate",
    "gates",
    "gradients",
    "harmless",
    "read",
    "steer",
    "vocabulary_features",
]

Array = TypeVar("Array", torch.Tensor, np.ndarray)
Layer = tuple[torch.Tensor, torch.Tensor]  # weight [out, in] and bias [out] of a linear map

AVERSION = 0.15
ROWS_AT_ONCE = 16384  # of the lm_head, in float32


def read(
    embeddings_PE: torch.Tensor,
    center_E: torch.Tensor,
    spread_E: torch.Tensor,
    inner: Layer,
    outer: Layer,
    drop: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """Read preferences with f, an MLP of one hidden layer: [P, E] → logits of the prototypes [P, Q].

    Args:
        embeddings_PE: sentence embeddings of P preferences.
        center_E, spread_E: standardise the embeddings, which are small and share a direction.
        inner, outer: the MLP's layers, E → M and M → Q, with GELU between them.
        drop: a dropout that training puts on the M hidden units. None means none.
    """
    hidden_PM = nn.functional.gelu(nn.functional.linear((embeddings_PE - center_E) / spread_E, *inner))
    return nn.functional.linear(hidden_PM if drop is None else drop(hidden_PM), *outer)


def gates(
    wished_PQ: torch.Tensor, turned_PQ: torch.Tensor, G_QR: torch.Tensor, strength_Q: torch.Tensor | None = None
) -> torch.Tensor:
    """Mix the prototype gates G for each preference: [P, Q] twice → [P, R].

    Args:
        wished_PQ, turned_PQ: what `read` returns for the embeddings e and −e. Swapped, they give the opposite gates.
        G_QR: the prototype gates.
        strength_Q: how strongly a preference that is read as each prototype steers. None means all by 1.
    """
    # The root of the softmax; taken like this, its gradient is finite where a share is 0.
    wished_PQ, turned_PQ = ((logits_PQ.log_softmax(-1) / 2).exp() for logits_PQ in (wished_PQ, turned_PQ))
    mixed_PR = (wished_PQ - turned_PQ) @ G_QR
    return mixed_PR if strength_Q is None else (wished_PQ**2 @ strength_Q)[:, None] * mixed_PR


def gate(gates_PR: Array, weights_P: Array | Sequence[float] | None = None) -> Array:
    """Sum the weighted gates of P preferences: [P, R] → [R]. P = 0 gives zeros, the neutral gate.

    Args:
        gates_PR: the gate of each preference alone.
        weights_P: the weight of each preference, negative to avoid it. None means all are 1.

    Raises:
        ValueError: the number of weights is not the number of gates.
    """
    if weights_P is None:
        return gates_PR.sum(0)
    if len(weights_P) != len(gates_PR):
        raise ValueError(f"A gate needs one weight a preference, but has {len(weights_P)} for {len(gates_PR)}.")
    if isinstance(gates_PR, torch.Tensor):
        weights_P = torch.as_tensor(weights_P, dtype=gates_PR.dtype, device=gates_PR.device)
    else:
        weights_P = np.asarray(weights_P, dtype=gates_PR.dtype)
    return (gates_PR * weights_P[:, None]).sum(0)


def features(hidden_BD: Array, U_RD: Array) -> Array:
    """Compute the features of hidden states, U h: [..., D] and [R, D] → [..., R]."""
    return _product(hidden_BD, U_RD)


def steer(hidden_BD: Array, gates_BR: Array, U_RD: Array, V_DR: Array) -> Array:
    """Steer hidden states, h + V (U h ⊙ g): [..., D] and [..., R] → [..., D]. A gate of zeros changes nothing."""
    return hidden_BD + _product(features(hidden_BD, U_RD) * gates_BR, V_DR)


def gradients(features_TR: torch.Tensor, own_TR: torch.Tensor, usual_TR: torch.Tensor) -> torch.Tensor:
    """The gradient of each token's reward with respect to the gate, at a gate of zeros: [T, R].

    Args:
        features_TR: U h of the states that the tokens were predicted from.
        own_TR: what each feature adds to the token's logit (`vocabulary_features`).
        usual_TR: the same in the mean over the base's distribution.
    """
    return features_TR * (own_TR - usual_TR)


def harmless(gates_NR: torch.Tensor, harm_KR: torch.Tensor) -> torch.Tensor:
    """Gates without their part in the span of K orthonormal directions, along which the reward of harm changes."""
    return gates_NR - (gates_NR @ harm_KR.T) @ harm_KR


def averse(gate_R: torch.Tensor, harm_KR: torch.Tensor) -> torch.Tensor:
    """A gate without its part in the span of K directions of harm, which leans away from the first of them.

    What is left of a gate may still resemble hostile answers that nobody thought of. So it turns away from what hostile
    answers have in common by AVERSION of its length. A gate of zeros stays one.
    """
    kept_R = harmless(gate_R[None], harm_KR)[0]
    return kept_R - AVERSION * kept_R.norm() * harm_KR[0] if len(harm_KR) else kept_R


def bounded(gate_R: torch.Tensor, reach: float) -> torch.Tensor:
    """The gate, no longer than `reach`."""
    return gate_R * min(1.0, reach / max(float(gate_R.norm()), 1e-12))


def _product(vectors: Array, matrix: Array) -> Array:
    """The matrix times each vector, [..., N] and [M, N] → [..., M]; for arrays without BLAS, whose threads spin."""
    if isinstance(vectors, np.ndarray):
        return np.einsum("...n,mn->...m", vectors, matrix)
    return vectors @ matrix.T


def vocabulary_features(head_VD: torch.Tensor, V_DR: torch.Tensor) -> torch.Tensor:
    """Compute what each feature adds to each logit, lm_head V: [V, D] and [D, R] → [V, R] float32.

    The logits of a steered state are those of the plain state plus vocabulary_features @ (U h ⊙ g).
    """
    return torch.cat([rows_VD.float() @ V_DR for rows_VD in head_VD.split(ROWS_AT_ONCE)])
