"""What a user's judgements say about the weights of the catalogue's dimensions: the exact posterior. Pure.

Judgements (thumbs, stars, choices, edits) are read with a Bayesian logistic model over signed weights w, one for each
dimension of the catalogue:

    P(up | w, x) = ε + (1 − 2ε) · σ( κ · (w · x + bias) )        x = a response's style, or half the difference of two

with ε = 10% wrong labels and κ the informativeness of the kind. People have one to three preferences, not eight weak
ones, so the prior is spike and slab: w ∈ {−1, 0, +1}, few of them not zero. That is sparse enough to sum over every
pattern, so mean, covariance and confidence are exact. Wishes in words fix their own weight and explain their share of
the judgements away. Judgements fade: one that is a half-life older than the user's newest event counts half.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from pad_memory.events import Choice, Critique, Edit, Feedback, Rating, Thumb
from pad_memory.evidence import Recorded

__all__ = [
    "BIASES",
    "HALF_LIFE",
    "Judgements",
    "Posterior",
    "answer_chances",
    "drives",
    "infer",
    "judgements",
    "says",
]

LABEL_NOISE = 0.1  # ε: share of judgements that say the opposite of what was meant
ACTIVE = 0.25  # prior probability that a user cares about a dimension at all
MAX_ACTIVE = 4  # inferred preferences at once; words may state any number
MAX_PATTERNS = 20_000  # a catalogue too large for MAX_ACTIVE at once gets fewer
HALF_LIFE = 180 * 86_400.0  # seconds after which a judgement counts half
INFORMATIVENESS = {Choice.kind: 3.0, Edit.kind: 4.0, Thumb.kind: 3.0, Rating.kind: 3.0, Critique.kind: 1.5}  # κ
ASKED = 6.0  # κ of an answer to a question: its two sides are alike in all but what is asked
_AT_ONCE = 64  # judgements; times the patterns they fit a processor's cache
BIASES = np.linspace(-1.0, 1.0, 5)  # how easily a user is pleased, in units of one weight; the same prior for each


@dataclass(frozen=True, eq=False)
class Posterior:
    """Mean [D] in [-1, 1] and covariance [D, D] of the signed weights, and P(w > 0), P(w < 0) each [D].

    It is exact over H patterns of weights: `weights_HD` in {-1, 0, 1} with the probabilities `p_H`.
    """

    dimensions: tuple[str, ...]
    mean_D: np.ndarray
    covariance_DD: np.ndarray
    positive_D: np.ndarray
    negative_D: np.ndarray
    weights_HD: np.ndarray
    p_H: np.ndarray

    @classmethod
    def of(cls, dimensions: tuple[str, ...], weights_HD: np.ndarray, p_H: np.ndarray) -> Posterior:
        """The posterior of H patterns of weights with their probabilities."""
        mean_D = p_H @ weights_HD
        covariance_DD = (weights_HD * p_H[:, None]).T @ weights_HD - np.outer(mean_D, mean_D)
        return cls(dimensions, mean_D, covariance_DD, p_H @ (weights_HD > 0), p_H @ (weights_HD < 0), weights_HD, p_H)


@dataclass(frozen=True, eq=False)
class Judgements:
    """N judgements as numbers.

    Args:
        kinds_N: how each is read: "pair", "decided", "tie" or "single".
        kappa_N: the informativeness κ of its kind.
        up_N: how much it says yes, in [0, 1].
        x_ND: what it is about, in [-1, 1]: a response's style, or half the difference of two.
    """

    kinds_N: np.ndarray
    kappa_N: np.ndarray
    up_N: np.ndarray
    x_ND: np.ndarray

    @classmethod
    def of(cls, records: Sequence[Recorded], dimensions: Sequence[str]) -> Judgements:
        """Read N records that judge, see `judgements`."""
        return cls(
            np.array([_kind(record.event) for record in records], dtype=str),
            np.array([INFORMATIVENESS[record.event.kind] for record in records]),
            np.array([_up(record.event) for record in records]),
            np.array([[_style(record, name) for name in dimensions] for record in records]).reshape(
                len(records), len(dimensions)
            ),
        )

    def where(self, rows_N: np.ndarray | slice) -> Judgements:
        """Those of some rows."""
        return Judgements(self.kinds_N[rows_N], self.kappa_N[rows_N], self.up_N[rows_N], self.x_ND[rows_N])

    def log_chances(self, drive_NK: np.ndarray, bias: float = 0.0) -> np.ndarray:
        """How likely each judgement is, in nats [N, K].

        Args:
            drive_NK: w · x under K weights.
            bias: how easily the user is pleased, for judgements of one response.
        """
        found_NK = np.empty_like(drive_NK)
        for kind in dict.fromkeys(self.kinds_N.tolist()):
            rows = self.kinds_N == kind
            found_NK[rows] = self.where(rows).of_one_kind(drive_NK[rows], bias)
        return found_NK

    def of_one_kind(self, drive_NK: np.ndarray, bias: float = 0.0) -> np.ndarray:
        """The same for judgements that are all read in one way."""
        kind = self.kinds_N[0] if len(self.kinds_N) else "pair"
        kappa_N1, up_N1 = self.kappa_N[:, None], self.up_N[:, None]
        if kind in ("decided", "tie"):
            chance_NK: np.ndarray = answer_chances(drive_NK)[..., 0 if kind == "decided" else 2]
            return np.log(chance_NK)
        if kind == "pair":
            return _log_up(kappa_N1 * drive_NK)
        z_NK = np.where(up_N1 < 0.5, -kappa_N1, kappa_N1) * (drive_NK + bias)
        log_NK = _log_up(z_NK)
        both = (self.up_N > 0.0) & (self.up_N < 1.0)  # stars between say both
        if both.any():
            surest_N1 = np.maximum(up_N1, 1.0 - up_N1)[both]
            log_NK[both] = surest_N1 * log_NK[both] + (1.0 - surest_N1) * _log_up(-z_NK[both])
        return log_NK


def infer(
    records: Sequence[Recorded],
    dimensions: tuple[str, ...],
    fixed: Mapping[str, int] | None = None,
    half_life: float | None = HALF_LIFE,
    read: Judgements | None = None,
) -> Posterior:
    """The exact posterior over signed weights, given judgements and the weights `fixed` by words (dimension → ±1).

    A judgement's log-likelihood counts 2^(−age / half_life), its age in seconds before the newest record. `read` are
    the records' judgements, where they are at hand.
    """
    newest = max((record.event.time or 0.0 for record in records), default=0.0)
    signs = tuple((fixed or {}).get(name, 0) for name in dimensions)
    weights_HD, log_prior_H = patterns(signs)
    judged = judgements(records)
    log_likelihood_H = np.zeros(len(weights_HD))
    absolute_SH = np.zeros((len(BIASES), len(weights_HD)))
    times_N = np.array([record.event.time or 0.0 for record in judged])
    counts_N = np.ones(len(judged)) if half_life is None else 0.5 ** ((newest - times_N) / half_life)
    read = Judgements.of(judged, dimensions) if read is None else read
    for first in range(0, len(judged), _AT_ONCE):
        some, some_N = read.where(slice(first, first + _AT_ONCE)), counts_N[first : first + _AT_ONCE]
        for kind in dict.fromkeys(some.kinds_N.tolist()):
            rows = some.kinds_N == kind
            part, count_N = some.where(rows), some_N[rows]
            drive_NH = part.x_ND @ weights_HD.T
            if kind != "single":
                log_likelihood_H += count_N @ part.of_one_kind(drive_NH)
                continue
            for row, bias in enumerate(BIASES):  # the user's own, one for all single judgements, and summed over
                absolute_SH[row] += count_N @ part.of_one_kind(drive_NH, bias)
    log_H = log_prior_H + log_likelihood_H + log_sum(absolute_SH)
    p_H = np.exp(log_H - log_sum(log_H))
    return Posterior.of(dimensions, weights_HD, p_H)


def log_sum(logs: np.ndarray) -> np.ndarray:
    """log Σ exp over the first axis."""
    top = logs.max(axis=0)
    result: np.ndarray = top + np.log(np.exp(logs - top).sum(axis=0))
    return result


def _logistic(z: np.ndarray) -> np.ndarray:
    """σ(z) = 1 / (1 + exp(−z)) for any z; float64 has no exp of more than 709."""
    result: np.ndarray = 1.0 / (1.0 + np.exp(np.minimum(-z, 709.0)))
    return result


def _log_up(z: np.ndarray) -> np.ndarray:
    result: np.ndarray = np.log(LABEL_NOISE + (1.0 - 2.0 * LABEL_NOISE) * _logistic(z))
    return result


def answer_chances(drive: np.ndarray) -> np.ndarray:
    """P(the first, the second, no difference) [..., 3] for a comparison where "no difference" could be said.

    Each side needs half a weight more than the other to be picked, and a share ε of answers is wrong.

    Args:
        drive: w · x, half the difference of the two styles under the weights.
    """
    first, second = _logistic(ASKED * (drive - 0.5)), _logistic(ASKED * (-drive - 0.5))
    chances = np.stack([first, second, 1.0 - first - second], axis=-1)
    return LABEL_NOISE / 2.0 + (1.0 - 1.5 * LABEL_NOISE) * chances


def judgements(records: Sequence[Recorded]) -> list[Recorded]:
    """Return the judgements: events that say something about style."""
    return [record for record in records if _judges(record)]


def _judges(record: Recorded) -> bool:
    """Whether an event says something about style. A critique whose words were read says it all by them."""
    return bool(record.evidence.styles) and not (isinstance(record.event, Critique) and record.evidence.readings)


def _style(record: Recorded, dimension: str) -> float:
    """What a judgement is about along a dimension, x in [-1, 1]: a response's style, or half the difference of two."""
    styles = record.evidence.styles or ()
    own = styles[0].get(dimension, 0.0)
    return (own - styles[1].get(dimension, 0.0)) / 2.0 if isinstance(record.event, (Choice, Edit)) else own


def _kind(event: Feedback) -> Literal["pair", "decided", "tie", "single"]:
    """How a judgement is read: two responses, two where "no difference" could be said, or one response."""
    if isinstance(event, Choice) and event.tie is not None:
        return "tie" if event.tie else "decided"
    return "pair" if isinstance(event, (Choice, Edit)) else "single"


def _up(event: Feedback) -> float:
    """How much a judgement says yes, in [0, 1]."""
    match event:
        case Choice():
            return 0.5 if event.tie else 1.0
        case Edit():
            return 1.0
        case Thumb():
            return float(event.up)
        case Rating():
            return (event.rating - 1.0) / 4.0
    return 0.0


def drives(records: Sequence[Recorded], posterior: Posterior) -> dict[str, float]:
    """The logit that the mean weights give each choice and edit, by the event's id: κ · w · x."""
    found = {}
    for record in records:
        if _judges(record) and _kind(record.event) != "single":
            x_D = np.array([_style(record, name) for name in posterior.dimensions])
            found[record.id] = INFORMATIVENESS[record.event.kind] * float(x_D @ posterior.mean_D)
    return found


def says(record: Recorded, dimension: str) -> float:
    """How much an event speaks for the first pole of one dimension, in [-1, 1]."""
    return _style(record, dimension) * (2.0 * _up(record.event) - 1.0) if _judges(record) else 0.0


@lru_cache(maxsize=64)
def patterns(signs: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Every weight pattern [H, D] with at most MAX_ACTIVE of the weights not in `signs`, and its log prior [H]."""
    free = [row for row, sign in enumerate(signs) if sign == 0]
    rows: list[list[int]] = []
    log_prior: list[float] = []
    for active in range(min(MAX_ACTIVE, len(free)) + 1):
        if len(rows) + math.comb(len(free), active) * 2**active > MAX_PATTERNS:
            break
        for chosen in itertools.combinations(free, active):
            for pattern in itertools.product((1, -1), repeat=active):
                row = list(signs)
                for place, sign in zip(chosen, pattern, strict=True):
                    row[place] = sign
                rows.append(row)
                log_prior.append(active * np.log(ACTIVE / 2.0) + (len(free) - active) * np.log1p(-ACTIVE))
    return np.array(rows, dtype=np.float64), np.array(log_prior)
