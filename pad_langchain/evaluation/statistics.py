"""What an evaluation says of numbers and texts, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["distinct", "interval", "pareto_front"]


def interval(values: Sequence[float], seed: int = 0, draws: int = 2000) -> tuple[float, float, float]:
    """Mean with its 95% bootstrap interval: (mean, low, high); NaN where there are no values."""
    if not len(values):
        return (float("nan"),) * 3
    found_N = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(seed)
    means = found_N[rng.integers(len(found_N), size=(draws, len(found_N)))].mean(axis=1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(found_N.mean()), float(low), float(high)


def distinct(texts: Sequence[str], size: int = 2) -> float:
    """Distinct n-grams of words ÷ all of them, over all texts, in [0, 1]; 0 where there are none."""
    grams = [
        tuple(words[n : n + size])
        for words in (text.lower().split() for text in texts)
        for n in range(len(words) - size + 1)
    ]
    return len(set(grams)) / len(grams) if grams else 0.0


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points that no other point beats in one coordinate without losing in the other."""
    return [n for n, (x, y) in enumerate(points) if not any(a >= x and b >= y and (a > x or b > y) for a, b in points)]
