"""What steers one turn: preferences that the call names, or those the memory has for its user, question and thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pad_langchain.engine.types import WeightedPreference
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_memory import PreferenceMemory
    from pad_memory.embedding import Embedder

NUMBERS = (int, float, np.integer, np.floating)

__all__ = ["explicit", "parse_preference", "remembered"]


def explicit(preference: Any, embedder: Embedder | None) -> tuple[WeightedPreference, ...]:
    """The preferences of a call that names them, see `parse_preference`.

    Args:
        embedder: gives them the vectors a head reads; None means the guide embeds if it needs to.
    """
    preferences = parse_preference(preference)
    if not preferences or embedder is None:
        return preferences
    from pad_memory.language import embed_wishes

    vectors_PE = embed_wishes(embedder, [preference.text for preference in preferences])
    return tuple(replace(one, embedding=vector_E) for one, vector_E in zip(preferences, vectors_PE, strict=True))


def remembered(memory: PreferenceMemory, user: str, query: str, thread: str | None) -> tuple[WeightedPreference, ...]:
    """The preferences the memory chooses for a user's question in a conversation."""
    condition = memory.condition(user, query=query, thread=thread)
    return tuple(WeightedPreference(item.text, item.weight, item.embedding) for item in condition)


def parse_preference(preference: Any) -> tuple[WeightedPreference, ...]:
    """Read a call's `preference`: a text, or a list of texts and (text, weight) pairs. An empty list is no preference.

    Raises:
        InvalidRequestError: it has another form, a text is blank or a weight is not finite.

    >>> [(p.text, p.weight) for p in parse_preference(["be brief", ("be formal", -0.5)])]
    [('be brief', 1.0), ('be formal', -0.5)]
    """
    if isinstance(preference, str):
        return (WeightedPreference(preference),)
    if not isinstance(preference, Sequence):
        raise _unreadable(preference)
    return tuple(_one_preference(item) for item in preference)


def _one_preference(item: Any) -> WeightedPreference:
    if isinstance(item, WeightedPreference):
        return item
    if isinstance(item, str):
        return WeightedPreference(item)
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise _unreadable(item)
    text, weight = item
    if not isinstance(text, str) or isinstance(weight, bool) or not isinstance(weight, NUMBERS):
        raise _unreadable(item)
    return WeightedPreference(*item)


def _unreadable(got: Any) -> InvalidRequestError:
    return InvalidRequestError(
        f"preference has to be a text, or a list of texts and (text, weight) pairs, but is {got!r}. "
        'For example [("be concise", 1.0), ("be formal", -0.5)].'
    )
