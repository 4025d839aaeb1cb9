"""Whether a query is about what a wish is limited to, by embedding: code, and "why does this loop hang?"."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pad_memory.embedding import Embedder, embed

__all__ = ["Relevance"]

# A short name is near to every question of its kind, so a scope has to be nearer than other topics are.
_OTHER_TOPICS = (
    "cooking and food; computer programming; mathematics; e-mails and letters; health and medicine; "
    "travel and places; history; poems and stories; plants and gardens; law; physics and science; work and career; "
    "music; sports; money and finance; animals; movies and books; politics; relationships and family; weather; "
    "cars and machines; games; school and homework; language and grammar; shopping and products; art and design; "
    "philosophy and religion; phones and gadgets"
).split("; ")


class Relevance:
    """Whether a query is about a scope, by embedding.

    Args:
        embedder: any sentence embedder.
    """

    NEAR = -0.02  # least cosine to the scope, above the mean of the three nearest of 28 other topics
    NEAREST = 3

    def __init__(self, embedder: Embedder) -> None:
        self._embed: Callable[[Sequence[str]], np.ndarray] = lambda texts: embed(embedder, texts)
        self._others_TE: np.ndarray | None = None

    def scores(self, query_E: np.ndarray, scopes: Sequence[str]) -> dict[str, float]:
        """How much nearer the query is to each scope than to other topics, about −0.5 to 0.7; in from NEAR on."""
        if not scopes:
            return {}
        if self._others_TE is None:
            self._others_TE = self._embed([_sentence(topic) for topic in _OTHER_TOPICS])
        usual = float(np.sort(self._others_TE @ query_E)[-self.NEAREST :].mean())
        vectors_SE = self._embed([_sentence(scope) for scope in scopes])
        return {
            scope: round(float(vector_E @ query_E) - usual, 4)
            for scope, vector_E in zip(scopes, vectors_SE, strict=True)
        }


def _sentence(topic: str) -> str:
    return f"This is about {topic}"
