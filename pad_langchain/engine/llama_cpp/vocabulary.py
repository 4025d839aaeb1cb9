"""The rows of the output matrix for candidates, dequantised once and kept while there is room."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch

from pad_langchain.arithmetic.arrays import Array

__all__ = ["Vocabulary", "holds"]

BUDGET = 64 * 2**20  # bytes of dequantised rows that are kept
AT_ONCE = 512  # rows; what reading them takes besides is given back late


class Vocabulary:
    """Logits of K tokens from hidden states. Thread-safe.

    A small matrix is dequantised as a whole, to float32 or float16. A row of a large one is dequantised when its token
    first becomes a candidate. Candidates come again, as few tokens are likely anywhere in a text.

    Args:
        read: token ids [n] → rows of the output matrix [n, D], float32.
        vocab_size, hidden_size: V and D.
        bias_V: what is added to the logits. None means nothing.
        at_once: whether a small matrix is dequantised now. False means as its tokens become candidates.
        budget: bytes of rows that are kept at most.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], np.ndarray],
        vocab_size: int,
        hidden_size: int,
        bias_V: np.ndarray | None = None,
        *,
        at_once: bool = True,
        budget: int = BUDGET,
    ) -> None:
        self._read = read
        kind = np.float32 if 4 * vocab_size * hidden_size <= budget else np.float16
        self._room = max(1, min(vocab_size, budget // (2 * hidden_size)))
        self._rows_SD = np.empty((0, hidden_size), dtype=kind)
        self._place_V = np.full(vocab_size, -1, dtype=np.int64)  # where a token's row is kept
        self._used = 0
        self._lock = threading.Lock()
        self._bias_V = bias_V
        self._last: tuple[np.ndarray, np.ndarray] | None = None
        if at_once and holds(vocab_size, hidden_size, budget):
            self._rows_SD = np.empty((vocab_size, hidden_size), dtype=kind)
            for start in range(0, vocab_size, AT_ONCE):
                self._keep(np.arange(start, min(start + AT_ONCE, vocab_size)))

    def logits(self, hidden_GD: Array, candidates_GK: Array) -> Array:
        """Multiply rows with hidden states: [G, D] and token ids [G, K] → [G, K] float32, as tensors or arrays."""
        if isinstance(hidden_GD, torch.Tensor):
            return torch.from_numpy(self.logits(hidden_GD.float().numpy(), candidates_GK.numpy()))
        with self._lock:
            rows_GKD = self._gather(candidates_GK)
        logits_GK = np.einsum("gkd,gd->gk", rows_GKD, hidden_GD)  # no BLAS, whose threads spin
        return logits_GK if self._bias_V is None else logits_GK + self._bias_V[candidates_GK]

    def _gather(self, ids_GK: np.ndarray) -> np.ndarray:
        """Rows of these tokens, [G, K, D]. A step asks for the same ones twice."""
        if self._last is None or self._last[0] is not ids_GK:
            ids = ids_GK.reshape(-1)
            if len(ids) > self._room:
                rows_ND = self._read(ids)
            else:
                places_N = self._places(ids)
                rows_ND = self._rows_SD[places_N].astype(np.float32, copy=False)
            self._last = ids_GK, rows_ND.reshape(*ids_GK.shape, -1)
        return self._last[1]

    def _places(self, ids: np.ndarray) -> np.ndarray:
        """Where the rows of these tokens are kept. Those that are not kept yet are read first."""
        places = self._place_V[ids]
        if (places < 0).any():
            fresh = ids[places < 0]
            if self._used + len(fresh) > self._room:  # begin again
                self._place_V.fill(-1)
                self._used, fresh = 0, ids
            self._keep(fresh)
            places = self._place_V[ids]
        return places

    def _keep(self, fresh: np.ndarray) -> None:
        end = self._used + len(fresh)
        if end > len(self._rows_SD):
            size = min(self._room, max(end, 2 * len(self._rows_SD), 1024))
            grown_SD = np.empty((size, self._rows_SD.shape[1]), dtype=self._rows_SD.dtype)
            grown_SD[: self._used] = self._rows_SD[: self._used]
            self._rows_SD = grown_SD
        self._rows_SD[self._used : end] = self._read(fresh)
        self._place_V[fresh] = np.arange(self._used, end)
        self._used = end


def holds(vocab_size: int, hidden_size: int, budget: int = BUDGET) -> bool:
    """Return whether all rows of an output matrix are kept within a budget of bytes."""
    return 2 * vocab_size * hidden_size <= budget
