"""What may steer and what always does, under the operator's values."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import cached_property

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder, embed
from pad_memory.profile import Preference
from pad_memory.values import Guard
from pad_memory.values.plain_text import squeezed
from pad_memory.values.verdict import ALLOWED

__all__ = ["Floor"]


class Floor:
    """Holds a condition to a policy.

    Args:
        guard: judges wishes under the operator's policy, and has it.
        embedder: the memory's, for the preferences of the floor.
        catalogue: the memory's dimensions: a floor preference of one keeps the opposite pole from steering.
    """

    def __init__(self, guard: Guard, embedder: Embedder, catalogue: Sequence[Dimension]) -> None:
        self._guard, self._embedder = guard, embedder
        floor = {squeezed(text) for text, _ in guard.values.floor}
        self._opposed = {
            f"{dimension.name}:{other.name}"
            for dimension in catalogue
            for pole, other in (dimension.poles, dimension.poles[::-1])
            if squeezed(pole.text) in floor
        }

    def screen(
        self, items: Sequence[Preference], cleared: Collection[str] = ()
    ) -> tuple[tuple[Preference, ...], tuple[tuple[Preference, str], ...]]:
        """Split preferences into those that may steer and those that may not, each with the reason.

        What was learned under a milder policy is held to today's rules, and nothing steers against the floor.

        Args:
            items: the preferences.
            cleared: texts that are known to pass today's rules.
        """
        kept, barred = [], []
        for item in items:
            passes = item.source != "stated" or item.text in cleared
            verdict = ALLOWED if passes else self._guard.check(item.text, rules_only=True)
            if not verdict.allowed:
                barred.append((item, verdict.reason))
            elif item.key in self._opposed:
                barred.append((item, "the operator's floor asks for the opposite"))
            else:
                kept.append(item)
        return tuple(kept), tuple(barred)

    def put_under(self, items: Sequence[Preference]) -> tuple[Preference, ...]:
        """Return `items` with the floor's preferences first, each at its minimum weight or more."""
        have = {squeezed(item.text): item for item in items}
        floor = {squeezed(item.text): item for item in self._preferences}
        first = [
            replace(have[key], weight=max(have[key].weight, item.weight)) if key in have else item
            for key, item in floor.items()
        ]
        return (*first, *(item for key, item in have.items() if key not in floor))

    @cached_property
    def _preferences(self) -> tuple[Preference, ...]:
        texts = [text for text, _ in self._guard.values.floor]
        vectors = embed(self._embedder, texts) if texts else ()
        return tuple(
            Preference(_key(text), text, float(weight), 1.0, "operator", embedding=vector_E)
            for (text, weight), vector_E in zip(self._guard.values.floor, vectors, strict=True)
        )


def _key(text: str) -> str:
    return "floor:" + hashlib.sha256(squeezed(text).encode()).hexdigest()[:12]
