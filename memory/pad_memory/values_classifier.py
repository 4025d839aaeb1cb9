"""Layer 3 of the floor: kernel ridge regression on sentence embeddings, fitted to sentences of known intent.

The sentences are in `values_anchors.txt`. Their vectors for the default embedder come with the package; for another
embedder they are computed at the first text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pad_memory.embedding import Embedder, embed
from pad_memory.reading import polarity

__all__ = ["VECTORS", "HostilityClassifier", "anchors", "pack"]

ANCHORS = Path(__file__).with_name("values_anchors.txt")
VECTORS = Path(__file__).with_name("values_anchors.npz")


def anchors() -> tuple[list[str], list[str]]:
    """The sentences the classifier is fitted to, and the rule each breaks; "" for innocent ones."""
    texts, rules, rule = [], [], ""
    for line in ANCHORS.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            rule = line[2:].strip().removeprefix("allowed")
        elif line.strip():
            texts.append(line)
            rules.append(rule)
    return texts, rules


class HostilityClassifier:
    """Scores texts from about −1 (innocent) to 1 (hostile).

    The threshold is set by leave-one-out: FALSE_ALARMS of the innocent sentences score above it. So it suits any
    embedder, and a poor one catches less instead of refusing more.
    """

    SHARPNESS = 2.0  # of the kernel exp(SHARPNESS · (similarity − 1))
    PENALTY = 0.3
    FALSE_ALARMS = 0.02

    def __init__(self, embedder: Embedder) -> None:
        texts, self._rules = anchors()
        self._embedder = embedder
        cores, self._sign_N = _cores(texts)
        self._core_NE = _packed(embedder.name, cores)
        if self._core_NE is None:
            self._core_NE = embed(embedder, cores).astype(np.float64)
        target_N = np.array([1.0 if rule else -1.0 for rule in self._rules])
        gram_NN = self._kernel(self._core_NE, self._sign_N)
        inverse_NN = np.linalg.inv(gram_NN + self.PENALTY * np.eye(len(texts)))
        self._dual_N = inverse_NN @ target_N
        self.left_out_N = target_N - self._dual_N / np.diag(inverse_NN)  # each sentence scored by the others
        self.threshold = float(np.quantile(self.left_out_N[target_N < 0], 1.0 - self.FALSE_ALARMS))

    def rule(self, texts: Sequence[str]) -> str | None:
        """The rule that the most hostile of M texts comes nearest to breaking; None where none is hostile."""
        kernel_MN = self._similar(texts)
        scores_M = kernel_MN @ self._dual_N
        worst = int(scores_M.argmax())
        if scores_M[worst] <= self.threshold:
            return None
        return max((value, rule) for value, rule in zip(kernel_MN[worst].tolist(), self._rules, strict=True) if rule)[1]

    def scores(self, texts: Sequence[str]) -> np.ndarray:
        """How hostile M texts are: [M]."""
        scores_M: np.ndarray = self._similar(texts) @ self._dual_N
        return scores_M

    def _similar(self, texts: Sequence[str]) -> np.ndarray:
        cores, sign_M = _cores(texts)
        return self._kernel(embed(self._embedder, cores).astype(np.float64), sign_M)

    def _kernel(self, core_ME: np.ndarray, sign_M: np.ndarray) -> np.ndarray:
        """Cosine of the cores, 0 where only one of the two is negated."""
        same_MN = sign_M[:, None] == self._sign_N[None, :]
        kernel_MN: np.ndarray = np.exp(self.SHARPNESS * (same_MN * (core_ME @ self._core_NE.T) - 1.0))  # type: ignore[union-attr]
        return kernel_MN


def pack(embedder: Embedder) -> None:
    """Write the vectors that come with the package."""
    cores, _ = _cores(anchors()[0])
    vectors_NE = embed(embedder, cores).astype(np.float16)
    np.savez_compressed(VECTORS, embedder=embedder.name, checksum=_checksum(cores), vectors=vectors_NE)


def _packed(name: str, cores: Sequence[str]) -> np.ndarray | None:
    with np.load(VECTORS, allow_pickle=False) as packed:
        if str(packed["embedder"]) != name or str(packed["checksum"]) != _checksum(cores):
            return None
        return np.asarray(packed["vectors"], dtype=np.float64)


def _checksum(cores: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(cores).encode()).hexdigest()


def _cores(texts: Sequence[str]) -> tuple[list[str], np.ndarray]:
    cores, signs = zip(*(polarity(text) for text in texts), strict=True)
    return list(cores), np.array(signs)
