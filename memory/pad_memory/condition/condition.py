"""What the next generation of a user is conditioned on, and what of a user is near to a query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.condition.floor import Floor
from pad_memory.condition.relevance import Relevance
from pad_memory.condition.select import Condition, Request, out_of_time, select
from pad_memory.embedding import Embedder, embed
from pad_memory.evidence import sides
from pad_memory.language import about_manner, wanted
from pad_memory.profile import Population, Preference, Profile, Snapshot
from pad_memory.values import Guard

__all__ = ["Chooser"]


class Chooser:
    """Chooses what steers, from what is known of a user. Reads only.

    Args:
        embedder: the memory's.
        catalogue: the memory's dimensions.
        guard: judges wishes under the operator's values.
    """

    def __init__(self, embedder: Embedder, catalogue: Sequence[Dimension], guard: Guard) -> None:
        self._embedder, self._catalogue = embedder, catalogue
        self._floor = Floor(guard, embedder, catalogue)
        self._relevance = Relevance(embedder)

    def condition(
        self, user: str, known: Snapshot, request: Request, query: str | None, population: Population | None
    ) -> Condition:
        """Choose the preferences of the user's next generation.

        The query is embedded only where it decides something: a wish for one topic, or more wishes than fit.

        Args:
            user: whose condition it is.
            known: what is known of them, with vectors; a preference without one does not steer.
            request: what is known of the generation, but for what depends on the query.
            query: what the user asks now; None or blank: nothing.
            population: what others want, where nothing is known of the user; None means that nothing steers.
        """
        preferences, barred = self._floor.screen(known.profile.preferences, known.cleared)
        if population is not None:
            preferences += population.preferences(known.profile, self._catalogue)
        preferences = tuple(item for item in preferences if item.text in known.vectors)
        if query and query.strip():
            request = self._with_query(request, query, preferences, known.vectors)
        chosen, left_out, held = select(preferences, request)
        items = self._floor.put_under([replace(item, embedding=known.vectors[item.text]) for item in chosen])
        profile = known.profile
        timely = out_of_time(profile), profile.time_zone
        taste = profile.taste if request.budget and (request.now.for_user or not request.selective) else None
        return Condition(user, items, (*left_out, *barred), known.age, held, request.similarity, *timely, taste)

    def nearest(self, profile: Profile, query: str, limit: int) -> tuple[tuple[Preference, float], ...]:
        """Return at most `limit` things that a user wants or once wanted, the nearest to a query first, by cosine."""
        preferences = (*profile.preferences, *profile.later, *profile.history)
        vectors_NE = embed(self._embedder, [query, *(item.text for item in preferences)])
        cosines = [round(_cosine(vectors_NE[0], vector_E), 4) for vector_E in vectors_NE[1:]]
        ranked = sorted(zip(preferences, cosines, strict=True), key=lambda hit: -hit[1])
        return tuple(ranked[:limit])

    def _with_query(
        self, request: Request, query: str, preferences: Sequence[Preference], vectors: Mapping[str, np.ndarray]
    ) -> Request:
        topics = sorted({item.scope for item in preferences if item.scope and not item.scope.startswith("thread:")})
        own = [item for item in preferences if item.key.startswith("text:")]
        crowded = bool(own) and (_over(preferences, own, request) or request.max_tokens is not None)
        others = request.selective and not request.now.for_user and not all(about_manner(item.text) for item in own)
        if not topics and not crowded and not others:
            return request
        query_E = embed(self._embedder, [query])[0]
        return replace(
            request,
            similarity=self._bearing(own, vectors, query_E),
            relevance=self._relevance.scores(query_E, topics),
        )

    def _bearing(
        self, own: Sequence[Preference], vectors: Mapping[str, np.ndarray], query_E: np.ndarray
    ) -> dict[str, float]:
        """How much each wish in the user's own words bears on a query, key → cosine."""
        if not own:
            return {}
        wish, question = sides("question", self._embedder)
        # What is not wanted has the opposite vector, and matters as much where it is the matter.
        wish_NE = wish(np.stack([wanted(item.text)[1] * vectors[item.text] for item in own]))
        cosine_N = wish_NE @ question(query_E[None, :])[0]
        return {item.key: float(value) for item, value in zip(own, cosine_N, strict=True)}


def _over(preferences: Sequence[Preference], own: Sequence[Preference], request: Request) -> bool:
    """Whether there are more preferences, or more wishes in the user's own words, than fit."""
    return len(preferences) > request.budget if request.own is None else len(own) > request.own


def _cosine(one_E: np.ndarray, other_E: np.ndarray) -> float:
    """Cosine of two vectors, 0 where one is zero."""
    length = float(np.linalg.norm(one_E) * np.linalg.norm(other_E))
    return float(one_E @ other_E) / length if length else 0.0
