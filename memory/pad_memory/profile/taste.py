"""What a user's choices and edits say beyond the catalogue: a residual gate θ in a scorer's own features. Pure.

A choice is read with a Bayesian logistic model:

    P(chosen | θ) = σ( offset + θ · x )        x = φ(chosen) − φ(rejected), see `pad_memory.evidence.features`

The offset is what the catalogue's weights say of the choice already, so θ is what they leave open. Its prior is normal,
narrower along the features in which answers differ much, and so wide that the logit θ · x of a usual choice has the
deviation `SPREAD`. The mode is found by Newton's method, and what is known of each choice without itself by Laplace's
approximation there. θ is concluded only where those predictions, each of a choice that was left out, are better than
without θ by more than chance makes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pad_memory.evidence import Features, Recorded

__all__ = ["Taste", "learn_taste", "residual"]

SPREAD = 2.0  # prior deviation of the logit of a usual choice
LEAST = 6  # choices below which nothing is concluded
SURE = 1.64  # standard errors by which left-out choices have to be predicted better
MOST = 512  # of the newest choices that are read
SHOWN = 3  # answers that stand for the taste
EXCERPT = 120  # characters of an answer that is shown
_STEPS = 50  # of Newton's method, at most


@dataclass(frozen=True)
class Taste:
    """A residual gate, and what it was learned from.

    Args:
        maker: whose features it is in (see `pad_memory.evidence.Features`).
        gate: θ, R numbers.
        gain: nats by which a choice that was left out is predicted better with θ than without, in the mean.
        evidence: ids of the events it was learned from, oldest first.
        like: the answers it speaks for most clearly, each with its event's id.
    """

    maker: str
    gate: tuple[float, ...]
    gain: float
    evidence: tuple[str, ...]
    like: tuple[tuple[str, str], ...] = ()

    @property
    def gate_R(self) -> np.ndarray:
        """θ [R], float32."""
        return np.array(self.gate, dtype=np.float32)

    def why(self) -> str:
        """One sentence, with an answer that it speaks for."""
        return (
            f"{len(self.evidence)} of your choices have something in common that has no name here; "
            f"more like this: “{self.like[0][1]}”."
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return {
            "maker": self.maker,
            "gate": list(self.gate),
            "gain": self.gain,
            "evidence": list(self.evidence),
            "more like this": [{"event": id, "answer": text} for id, text in self.like],
            "why": self.why(),
        }


def learn_taste(
    records: Sequence[Recorded], drives: Mapping[str, float], half_life: float | None = None
) -> Taste | None:
    """Conclude a taste from a user's choices and edits; None where it would not predict them better.

    Args:
        records: what counts of what the user told us, oldest first. Features of another maker than the newest do not.
        drives: event id → the logit that the catalogue gives it already; 0 where missing.
        half_life: seconds after which a choice counts half, before the newest; None means all count in full.
    """
    told = [record for record in records if record.evidence.features is not None]
    if not told or (newest := told[-1].evidence.features) is None:
        return None
    told = [record for record in told if _compares(record, newest)][-MOST:]
    if len(told) < LEAST:
        return None
    x_NR = np.stack([_difference(record) for record in told])
    offset_N = np.array([drives.get(record.id, 0.0) for record in told])
    age_N = np.array([told[-1].order[0] - record.order[0] for record in told])
    count_N = np.ones(len(told)) if half_life is None else 0.5 ** (age_N / half_life)
    theta_R, gain, sure = residual(x_NR, offset_N, count_N)
    if not sure:
        return None
    gate = tuple(round(float(value), 6) for value in theta_R)
    clearest = sorted(zip(-(x_NR @ theta_R), told, strict=True), key=lambda item: (float(item[0]), item[1].order))
    like = tuple((record.id, _excerpt(record.event.responses[0][1])) for _, record in clearest[:SHOWN])
    return Taste(newest.maker, gate, round(gain, 6), tuple(record.id for record in told), like)


def residual(x_NR: np.ndarray, offset_N: np.ndarray, count_N: np.ndarray) -> tuple[np.ndarray, float, bool]:
    """The mode of θ [R], what left-out choices gain by it (nats, the mean), and whether that is more than chance.

    Args:
        x_NR: what each chosen answer has more than the other.
        offset_N: the logits of the choices without θ.
        count_N: how much each counts, in (0, 1].
    """
    usual_R = np.sqrt(np.mean(x_NR**2, axis=0))
    prior_R = np.divide(1.0, usual_R, out=np.zeros_like(usual_R), where=usual_R > 1e-9)
    size = float(usual_R.sum())
    if size == 0.0:
        return np.zeros(x_NR.shape[1]), 0.0, False
    prior_R *= SPREAD**2 / size
    kernel_NN = (x_NR * prior_R) @ x_NR.T
    f_N, slope_N = _mode(kernel_NN, offset_N, count_N)
    chance_N = _logistic(offset_N + f_N)
    bend_N = count_N * chance_N * (1.0 - chance_N)
    root_N = np.sqrt(bend_N)
    inner_NN = np.eye(len(f_N)) + root_N[:, None] * kernel_NN * root_N
    half_NN = np.linalg.solve(inner_NN, root_N[:, None] * kernel_NN)
    variance_N = np.diag(kernel_NN) - np.einsum("nm,nm->m", root_N[:, None] * kernel_NN, half_NN)
    left_N = 1.0 / np.maximum(1.0 - variance_N * bend_N, 1e-6)  # what leaving itself out does to each
    mean_N, spread_N = offset_N + f_N - variance_N * slope_N * left_N, variance_N * left_N
    with_N = np.log(_logistic(mean_N / np.sqrt(1.0 + np.pi * spread_N / 8.0)))
    gain_N = with_N - np.log(_logistic(offset_N))
    gain = float(np.average(gain_N, weights=count_N))
    error = float(np.sqrt(np.average((gain_N - gain) ** 2, weights=count_N) / count_N.sum()))
    return prior_R * (x_NR.T @ slope_N), gain, gain > SURE * error


def _mode(kernel_NN: np.ndarray, offset_N: np.ndarray, count_N: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """θ · x at the mode [N], and the slope of each choice's log-likelihood there [N]; all are of one dual vector."""
    a_N = np.zeros(len(offset_N))

    def height(a_N: np.ndarray) -> float:
        f_N = kernel_NN @ a_N
        return float(count_N @ np.log(_logistic(offset_N + f_N)) - a_N @ f_N / 2.0)

    best = height(a_N)
    for _ in range(_STEPS):
        f_N = kernel_NN @ a_N
        chance_N = _logistic(offset_N + f_N)
        bend_N = count_N * chance_N * (1.0 - chance_N)
        root_N = np.sqrt(bend_N)
        b_N = bend_N * f_N + count_N * (1.0 - chance_N)
        inner_NN = np.eye(len(f_N)) + root_N[:, None] * kernel_NN * root_N
        step_N = b_N - root_N * np.linalg.solve(inner_NN, root_N * (kernel_NN @ b_N)) - a_N
        found = next((part for part in (1.0, 0.5, 0.25, 0.125) if height(a_N + part * step_N) > best), None)
        if found is None:
            break
        a_N = a_N + found * step_N
        gained, best = height(a_N) - best, height(a_N)
        if gained < 1e-10:
            break
    return kernel_NN @ a_N, a_N


def _logistic(z: np.ndarray) -> np.ndarray:
    """σ(z), never 0: its logarithm is finite."""
    result: np.ndarray = 1.0 / (1.0 + np.exp(np.clip(-z, -700.0, 700.0)))
    return result


def _difference(record: Recorded) -> np.ndarray:
    features = record.evidence.features
    assert features is not None
    first_R, second_R = features.vectors_NR
    difference_R: np.ndarray = first_R - second_R
    return difference_R


def _compares(record: Recorded, newest: Features) -> bool:
    features = record.evidence.features
    return (
        features is not None
        and features.maker == newest.maker
        and features.vectors_NR.shape == newest.vectors_NR.shape
        and len(features.rows) == 2
    )


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1].rstrip() + "…"
