"""What a wish has to do with a question, and with an answer: sentence embeddings bent towards both.

A plain cosine also counts what all wishes have in common, and all questions. Here each side first loses its mean and
then passes a low-rank map, x ↦ unit(x − mean) with a few directions stretched. `recipes/affinity/train.py` made
`affinity.npz` for the default embedder; another embedder's vectors are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from pad_memory.embedding import DEFAULT_MODEL, Embedder

__all__ = ["WEIGHTS", "Side", "bent", "sides"]

WEIGHTS = Path(__file__).with_name("affinity.npz")
Side = Callable[[np.ndarray], np.ndarray]


def sides(kind: Literal["question", "answer"], embedder: Embedder) -> tuple[Side, Side]:
    """Return the maps of a wish's and of a text's vectors [N, E] whose cosine says how far the two belong together.

    Args:
        kind: the text is a question that the wish may bear on, or an answer that may please.
        embedder: whose unit vectors they are.
    """
    return _packaged(kind) if embedder.name == DEFAULT_MODEL else (_as_they_are, _as_they_are)


def bent(rows_NE: np.ndarray, mean_E: np.ndarray, down_ER: np.ndarray, up_RE: np.ndarray) -> np.ndarray:
    """Return unit((rows − mean) (I + down up)): [N, E]."""
    centred_NE = rows_NE - mean_E
    mapped_NE = centred_NE + centred_NE @ down_ER @ up_RE
    lengths_N1: np.ndarray = np.linalg.norm(mapped_NE, axis=-1, keepdims=True)
    unit_NE: np.ndarray = mapped_NE / np.maximum(lengths_N1, 1e-9)
    return unit_NE


def _as_they_are(rows_NE: np.ndarray) -> np.ndarray:
    return rows_NE


@lru_cache(maxsize=2)
def _packaged(kind: str) -> tuple[Side, Side]:
    with np.load(WEIGHTS, allow_pickle=False) as file:
        wish, text = (
            tuple(file[f"{kind}.{side}.{name}"].astype(np.float32) for name in ("mean", "down", "up"))
            for side in ("wish", "text")
        )
    return (lambda rows_NE: bent(rows_NE, *wish)), (lambda rows_NE: bent(rows_NE, *text))
