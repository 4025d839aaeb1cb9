"""Which comparison to ask about next: the one whose answer is expected to teach most about a user.

A question puts two styles side by side that are opposite in one or two dimensions and alike in all others. Its gain is
the mutual information of the answer (the first, the second, no difference) and the user's weights under the exact
posterior of `pad_memory.profile.posterior`, with its noise ε and informativeness κ. A taste that seems to have changed
is asked about first, as long as the answer is worth it; one in words once.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from pad_memory.catalogue import Dimension, Pole
from pad_memory.errors import InvalidEventError
from pad_memory.events import Choice
from pad_memory.profile.drift import Drift
from pad_memory.profile.posterior import Posterior, answer_chances

__all__ = ["Question", "questions"]

WORTH_ASKING = 0.02  # nats; below this every answer is known beforehand
MAX_DIMENSIONS = 2  # more than two differences and people cannot say what they chose


@dataclass(frozen=True)
class Question:
    """A comparison to put before a user.

    Args:
        dimensions: what the two sides differ in, one or two names.
        first: the preferences that the first answer is to be given under, one per dimension, as texts.
        second: their opposites.
        gain: what the answer is expected to teach, in nats, at most ln 3.
        why: one sentence for the user.
    """

    dimensions: tuple[str, ...]
    first: tuple[str, ...]
    second: tuple[str, ...]
    gain: float
    why: str

    def choice(self, prompt: str, first_answer: str, second_answer: str, picked: Literal[1, 2] | None) -> Choice:
        """Return the event to record.

        Args:
            prompt: what was answered.
            first_answer: the answer given under `first`.
            second_answer: the answer given under `second`.
            picked: 1 or 2; None means the user sees no difference that matters, which teaches as much.

        Raises:
            InvalidEventError: another pick, or the two answers are equal.
        """
        if picked not in (1, 2, None) or isinstance(picked, bool):
            raise InvalidEventError(f"picked has to be 1, 2, or None for no difference, but is {picked!r}.")
        chosen, rejected = (second_answer, first_answer) if picked == 2 else (first_answer, second_answer)
        return Choice(prompt, chosen, rejected, tie=picked is None, metadata={"asked": list(self.dimensions)})


def questions(
    posterior: Posterior, catalogue: Sequence[Dimension], drifts: Sequence[Drift] = ()
) -> tuple[Question, ...]:
    """Return the questions worth asking, the most telling first; none where the user is known.

    Args:
        posterior: what is known, over the dimensions of `catalogue` in its order.
        catalogue: the dimensions.
        drifts: tastes that seem to have changed; what is asked about them alone comes before all else.
    """
    difference_QD = _differences(len(catalogue))
    gain_Q = _gains(posterior.weights_HD, posterior.p_H, difference_QD)
    # Rounding before sorting: equal gains keep the catalogue's order on every machine.
    ranked = sorted(range(len(gain_Q)), key=lambda row: (-round(float(gain_Q[row]), 9), row))
    worth = [row for row in ranked if gain_Q[row] > WORTH_ASKING]
    found = [_question(difference_QD[row], catalogue, float(gain_Q[row])) for row in worth]
    first = [question for drift in drifts if (question := _about(drift, found, catalogue)) is not None]
    asked = {question.dimensions for question in first}
    return (*first, *(question for question in found if question.dimensions not in asked))


def _about(drift: Drift, found: Sequence[Question], catalogue: Sequence[Dimension]) -> Question | None:
    """The question whether a taste did change; None where it would teach nothing, or was answered."""
    question = next((question for question in found if question.dimensions == (drift.dimension,)), None)
    if drift.stated and not drift.asked:  # words leave no doubt in the posterior
        (dimension,) = [dimension for dimension in catalogue if dimension.name == drift.dimension]
        first = f"{dimension.name}:{dimension.poles[0].name}"
        weight = {None: 0.0, first: 1.0}
        weights_21 = np.array([[weight.get(key, -1.0)] for key in (drift.before, drift.after)])
        gain = float(_gains(weights_21, np.array([0.5, 0.5]), np.ones((1, 1)))[0])
        question = _question(np.ones(1), [dimension], gain) if gain > WORTH_ASKING else None
    return None if question is None else replace(question, why=f"{drift.why} Is that so?")


def _gains(weights_HD: np.ndarray, p_H: np.ndarray, difference_QD: np.ndarray) -> np.ndarray:
    """What each answer is expected to teach about the weights, in nats [Q]."""
    chance_HQA = answer_chances(weights_HD @ difference_QD.T)
    gain_Q: np.ndarray = _entropy(np.einsum("h,hqa->qa", p_H, chance_HQA)) - p_H @ _entropy(chance_HQA)
    return gain_Q


def _differences(dimensions: int) -> np.ndarray:
    """Every difference of two sides [Q, D] in {-1, 0, 1}; the first entry that is not 0 is 1: sides may be swapped."""
    rows = []
    for size in range(1, MAX_DIMENSIONS + 1):
        for chosen in itertools.combinations(range(dimensions), size):
            for signs in itertools.product((1.0, -1.0), repeat=size - 1):
                row = np.zeros(dimensions)
                row[list(chosen)] = (1.0, *signs)
                rows.append(row)
    return np.array(rows)


def _entropy(chance: np.ndarray) -> np.ndarray:
    """In nats, over the last axis; all chances are above 0."""
    entropy: np.ndarray = -(chance * np.log(chance)).sum(axis=-1)
    return entropy


def _question(difference_D: np.ndarray, catalogue: Sequence[Dimension], gain: float) -> Question:
    rows = np.flatnonzero(difference_D).tolist()
    sides = [[_pole(catalogue[row], sign * difference_D[row]).text for row in rows] for sign in (1, -1)]
    names = tuple(catalogue[row].name for row in rows)
    return Question(
        names,
        tuple(sides[0]),
        tuple(sides[1]),
        round(gain, 6),
        f"It is least clear what you like in {' and '.join(names)}; your pick tells {gain:.2f} nats.",
    )


def _pole(dimension: Dimension, sign: float) -> Pole:
    return dimension.poles[0 if sign > 0 else 1]
