"""What the next generation of a user is conditioned on, from their profile and the store's vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pad_memory.condition.select import Condition, Request, cosine, select
from pad_memory.embedding import Embedder, embed, wanted
from pad_memory.errors import InvalidEventError
from pad_memory.events import check_text
from pad_memory.evidence.affinity import sides
from pad_memory.profile.preference import Preference

if TYPE_CHECKING:
    from pad_memory.memory import PreferenceMemory

__all__ = ["condition_of", "found"]


def condition_of(
    memory: PreferenceMemory, user: str, query: str | None, thread: str | None, budget: int, max_tokens: int | None
) -> Condition:
    """Choose the preferences that steer; see `PreferenceMemory.condition`.

    The query is embedded only where it decides something: a wish for one topic, or more wishes than fit.
    """
    for name, value in (("budget", budget), ("max_tokens", max_tokens)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            unit = "preferences" if name == "budget" else "tokens"
            raise InvalidEventError(f"{name} has to be a number of {unit}, 0 or more, but is {value!r}.")
    if query and query.strip():
        check_text("query", query)
    owner = memory._owner(user)
    with memory._mutex:
        memory._ledger.state(owner, vectors=True)  # one reading where the user is not in memory
    profile = memory._profile(owner)
    with memory._mutex:
        cleared = memory._ledger.state(owner).cleared
    preferences, barred = memory._guard.screen(profile.preferences, cleared)
    if memory.population is not None:
        preferences += memory.population.preferences(profile, memory.catalogue)
    with memory._mutex:
        vectors = memory._ledger.vectors(owner, preferences)
    preferences = tuple(item for item in preferences if item.key in vectors)  # another thread may have forgotten them
    request = Request(budget, max_tokens, thread)
    topics = sorted({item.scope for item in preferences if item.scope and not item.scope.startswith("thread:")})
    own = [item for item in preferences if item.key.startswith("text:")]
    crowded = bool(own) and (len(preferences) > budget or max_tokens is not None)
    if query and query.strip() and (topics or crowded):
        query_E = embed(memory.embedder, [query])[0]
        request = replace(
            request,
            similarity=_bearing(memory.embedder, own, vectors, query_E),
            relevance=memory._relevance.scores(query_E, topics),
        )
    chosen, left_out = select(preferences, request)
    items = memory._guard.with_floor([replace(item, embedding=vectors[item.key]) for item in chosen])
    return Condition(user, items, (*left_out, *barred))


def _bearing(
    embedder: Embedder, own: Sequence[Preference], vectors: Mapping[str, np.ndarray], query_E: np.ndarray
) -> dict[str, float]:
    """How much each wish in the user's own words bears on a query, key → cosine."""
    if not own:
        return {}
    wish, question = sides("question", embedder)
    # What is not wanted has the opposite vector, and matters as much where it is the matter.
    wish_NE = wish(np.stack([wanted(item.text)[1] * vectors[item.key] for item in own]))
    cosine_N = wish_NE @ question(query_E[None, :])[0]
    return {item.key: float(value) for item, value in zip(own, cosine_N, strict=True)}


def found(memory: PreferenceMemory, user: str, query: str, limit: int) -> tuple[tuple[Preference, float], ...]:
    """Return what a user wants or once wanted that is nearest to a query, with its cosine."""
    profile = memory.profile(user)
    preferences = (*profile.preferences, *profile.history)
    vectors_NE = embed(memory.embedder, [query, *(item.text for item in preferences)])
    cosines = [round(cosine(vectors_NE[0], vector_E), 4) for vector_E in vectors_NE[1:]]
    ranked = sorted(zip(preferences, cosines, strict=True), key=lambda hit: -hit[1])
    return tuple(ranked[:limit])
