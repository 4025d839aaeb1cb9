"""Where evidence comes from: a `Scorer` (the PersRM) judges responses against every pole of the catalogue.

A margin is the reward of a dimension's first pole minus that of its second, in nats. A style is the margin on a scale
from −1 (clearly the second pole) to +1 (clearly the first): tanh((margin − center) / scale), with a `Calibration` that
belongs to the scorer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pad_memory.catalogue import CATALOGUE, Dimension
from pad_memory.embedding import Embedder, embed
from pad_memory.errors import ScorerError
from pad_memory.evidence.affinity import sides

__all__ = ["Calibration", "Describes", "EmbeddingScorer", "Scorer", "embed_answers", "judge"]

DEFAULT_SCALE = 10.0  # nats; rewards of whole responses differ by tens of nats
SENTENCES = 64  # of one answer that are read, the first ones
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+|\n+")


@runtime_checkable
class Scorer(Protocol):
    """Rewards a response under each of P preferences, in nats: float [P].

    It may also have `score_many(pairs, preferences) -> [N, P]` for N (prompt, response) pairs, which is then used,
    `calibration`, a `Calibration` or None, and `memory_scorer`, another scorer that judges answers in its place. One
    that `Describes` answers lets a memory learn tastes that the catalogue has no name for.
    """

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray: ...


@runtime_checkable
class Describes(Protocol):
    """A scorer that can say what answers are beyond the catalogue, see `pad_memory.evidence.features`."""

    @property
    def features_maker(self) -> str | None:
        """Stands for all that its features depend on; None means that it has none."""
        ...

    def features(self, pairs: Sequence[tuple[str, str]]) -> np.ndarray:
        """φ of N (prompt, response) pairs: [N, R]."""
        ...


@dataclass(frozen=True)
class Calibration:
    """What a scorer's margins mean, for each dimension by name.

    A margin (nats) becomes a style in [-1, 1]: tanh((margin − center) / scale).

    Args:
        center: the margin of a response that is neither one pole nor the other, in nats; 0 where missing.
        scale: the distance from the center, in nats, at which a style is tanh(1) = 0.76; above 0, 10 where missing.

    Raises:
        ScorerError: a scale is no finite number above 0.
    """

    center: Mapping[str, float] = field(default_factory=dict)
    scale: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.scale.items():
            if not (np.isfinite(value) and value > 0):
                raise ScorerError(f"The scale of {name!r} has to be a finite number of nats above 0, but is {value!r}.")

    def style(self, dimension: str, margin: float) -> float:
        """The style in [-1, 1] of a response with this margin (nats)."""
        scaled = (margin - self.center.get(dimension, 0.0)) / self.scale.get(dimension, DEFAULT_SCALE)
        return float(np.tanh(scaled))

    @classmethod
    def fit(cls, margins: Sequence[Mapping[str, float]]) -> Calibration:
        """Fit to the margins (nats) of some twenty or more responses of mixed style; their styles need not be known.

        The two styles of a dimension make two heaps: the center is half-way between the 10th and 90th percentile, and a
        response on top of a heap gets tanh(2) = 0.96.
        """
        center, scale = {}, {}
        for name in margins[0] if margins else ():
            low, high = np.percentile([row[name] for row in margins], [10, 90])
            center[name], scale[name] = float(low + high) / 2.0, max(float(high - low) / 4.0, 1e-3)
        return cls(center, scale)

    def to_dict(self) -> dict[str, Any]:
        return {"center": dict(self.center), "scale": dict(self.scale)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        return cls(data["center"], data["scale"])


class EmbeddingScorer:
    """A scorer that needs no PersRM: the mean cosine of a response and a preference's wordings.

    A response is the mean of its sentences. Vectors of the default embedder are first bent towards what pleases whom
    (see `pad_memory.evidence.affinity`). It tells what responses are about (poetry, business, recipes), hardly how
    they are written (short, polite).

    Args:
        embedder: any sentence embedder.
        wordings: preference text → more ways to say it, or phrases in its voice; default: the paraphrases of the
            catalogue.
        nats: the reward of a cosine of 1, above 0.
        calibration: fitted to responses of the app with `Calibration.fit`; None means margins around 0.
    """

    def __init__(
        self,
        embedder: Embedder,
        wordings: Mapping[str, Sequence[str]] | None = None,
        *,
        nats: float = 100.0,
        calibration: Calibration | None = None,
    ) -> None:
        if not (np.isfinite(nats) and nats > 0):
            raise ScorerError(f"nats has to be a finite number above 0, but is {nats!r}.")
        if wordings is None:
            wordings = {pole.text: pole.paraphrases for dimension in CATALOGUE for pole in dimension.poles}
        self.calibration = calibration
        self._embedder, self._wordings, self._nats = embedder, dict(wordings), nats
        self._wish, self._answer = sides("answer", embedder)
        self._known: dict[str, np.ndarray] = {}

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        rewards_P: np.ndarray = self.score_many([(prompt, response)], preferences)[0]
        return rewards_P

    def score_many(self, pairs: Sequence[tuple[str, str]], preferences: Sequence[str]) -> np.ndarray:
        """Reward N (prompt, response) pairs under P preferences: [N, P], nats."""
        for text in preferences:
            if text not in self._known:
                wordings_NE = embed(self._embedder, [text, *self._wordings.get(text, ())])
                self._known[text] = self._wish(wordings_NE).mean(axis=0)
        response_NE = self.vectors([response for _, response in pairs])
        preference_PE = np.stack([self._known[text] for text in preferences])
        rewards_NP: np.ndarray = self._nats * (response_NE @ preference_PE.T).astype(np.float64)
        return rewards_NP

    def vectors(self, responses: Sequence[str]) -> np.ndarray:
        """The vectors of N answers that the rewards are made of: [N, E]."""
        answers_NE: np.ndarray = self._answer(embed_answers(self._embedder, list(responses)))
        return answers_NE


def embed_answers(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Embed answers as the means of their sentences' vectors, which keep more of the style: [N, E], unit rows.

    Sentences of less than three words are left out where there are others, and those after the 64th.
    """
    parts = [[part for part in _SENTENCE_ENDS.split(text) if len(part.split()) > 2] or [text] for text in texts]
    counts = [min(len(sentences), SENTENCES) for sentences in parts]
    vectors_SE = embed(embedder, [sentence for sentences in parts for sentence in sentences[:SENTENCES]])
    means_NE = np.stack([rows.mean(axis=0) for rows in np.split(vectors_SE, np.cumsum(counts)[:-1])])
    answers_NE: np.ndarray = means_NE / np.maximum(np.linalg.norm(means_NE, axis=1, keepdims=True), 1e-9)
    return answers_NE


def judge(
    scorer: Scorer, pairs: Sequence[tuple[str, str]], catalogue: Sequence[Dimension]
) -> tuple[tuple[dict[str, float], ...], tuple[dict[str, float], ...]]:
    """Judge N (prompt, response) pairs: (margins in nats, styles in [-1, 1]), each N dicts dimension → value.

    Raises:
        ScorerError: the scorer returned another shape, or values that are not finite.
    """
    if not pairs:
        return (), ()
    preferences = [pole.text for dimension in catalogue for pole in dimension.poles]
    scorer = getattr(scorer, "memory_scorer", None) or scorer
    if hasattr(scorer, "score_many"):
        rewards_NP = np.asarray(scorer.score_many(list(pairs), preferences), dtype=np.float64)
    else:
        rewards_NP = np.asarray([scorer(prompt, text, preferences) for prompt, text in pairs], dtype=np.float64)
    finite = bool(np.isfinite(rewards_NP).all())
    if rewards_NP.shape != (len(pairs), len(preferences)) or not finite:
        raise ScorerError(
            f"A scorer has to return one finite reward for each of {len(preferences)} preferences, but for "
            f"{len(pairs)} responses it returned shape {rewards_NP.shape}{'' if finite else ' with NaN or inf'}."
        )
    calibration = getattr(scorer, "calibration", None) or Calibration()
    margins_ND = rewards_NP[:, 0::2] - rewards_NP[:, 1::2]
    margins = tuple(
        {dimension.name: round(float(value), 4) for dimension, value in zip(catalogue, row, strict=True)}
        for row in margins_ND
    )
    styles = tuple({name: round(calibration.style(name, value), 4) for name, value in row.items()} for row in margins)
    return margins, styles
