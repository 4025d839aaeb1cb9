"""Within which bounds a head takes tastes: how long a gate may be, and along which directions it would do harm.

A taste has no words that a floor of values could read. So a head knows beforehand what of a gate raises the reward of
hostile answers: φ of the answers of `harm.tsv`, each to an everyday question with a hostile and a kind answer. A taste
is kept apart from these directions, both where it is learned and where it steers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from pad_langchain.errors import InvalidRequestError
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.persrm import PersRM
from pad_memory.catalogue import CATALOGUE

__all__ = ["PAIRS", "allow_tastes", "harm_directions"]

PAIRS = Path(__file__).with_name("harm.tsv")
POLES = tuple(pole.text for dimension in CATALOGUE for pole in dimension.poles)
DIRECTIONS = 4  # K; more cost what tastes may say


def allow_tastes(persrm: PersRM, poles: Sequence[str] = POLES) -> None:
    """Find out a head's bounds and write them into it, so that it takes tastes once it is saved.

    Args:
        persrm: one with a head and its embedder. It reads 80 short answers.
        poles: wishes that the head was trained for.

    Raises:
        InvalidRequestError: it is no head.
    """
    head, guide = persrm.head, persrm.as_guide()
    if head is None or not isinstance(guide, HeadGuide):
        raise InvalidRequestError(f"Only a head takes tastes, but this PersRM is of kind {persrm.kind!r}.")
    head.harm_KR = torch.zeros(0, head.config.rank)  # nothing is taken out of what they are found in
    lines = [line.split("\t") for line in PAIRS.read_text(encoding="utf-8").splitlines()[1:]]
    hostile_NR, kind_NR = (persrm.features([(prompt, answers[side]) for prompt, *answers in lines]) for side in (0, 1))
    with torch.inference_mode():
        reach = float(guide.gates(poles).norm(dim=1).max())
    head.harm_KR = torch.from_numpy(harm_directions(hostile_NR, kind_NR)).float()
    head.config = replace(head.config, reach=round(reach, 3))


def harm_directions(hostile_NR: np.ndarray, kind_NR: np.ndarray, count: int = DIRECTIONS) -> np.ndarray:
    """Orthonormal directions of a gate that tell hostile answers: the mean of φ, that of its differences, and their
    largest spread beside these: [K, R]. Along the first the reward of hostile answers rises.
    """
    difference_NR = hostile_NR - kind_NR
    found = [hostile_NR.mean(axis=0), difference_NR.mean(axis=0)]
    basis_RK, sides_KK = np.linalg.qr(np.stack(found, axis=1))
    basis_RK *= np.where(np.diag(sides_KK) < 0, -1.0, 1.0)
    rest_NR = difference_NR - difference_NR @ basis_RK @ basis_RK.T
    spread_RR = np.linalg.svd(rest_NR, full_matrices=False)[2]
    directions_KR: np.ndarray = np.concatenate([basis_RK.T, spread_RR[: max(count - 2, 0)]])
    return directions_KR
