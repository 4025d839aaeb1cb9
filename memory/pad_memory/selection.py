"""From a profile to the few weighted preferences the next generation is conditioned on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pad_memory.events import Preference
from pad_memory.inference import Profile

__all__ = ["Condition", "select"]

SURE = 0.65  # an inferred preference steers from this confidence on


@dataclass(frozen=True)
class Condition:
    """What one generation is conditioned on: iterate over it for its preferences, each with its stored embedding.

    Args:
        user: whose condition this is.
        items: the preferences that steer, with `embedding` float32 [E] as the store holds it; empty: the plain base
            model.
        left_out: preferences of the profile that do not steer, each with the reason.
    """

    user: str
    items: tuple[Preference, ...] = ()
    left_out: tuple[tuple[Preference, str], ...] = ()

    def __iter__(self) -> Iterator[Preference]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def explain(self) -> str:
        """Say in lines of plain text what steers, what was left out, and why."""
        lines = [
            f"{item.weight:+.2f} {item.text} ({item.source}, confidence {item.confidence:.2f}, "
            f"{len(item.evidence)} {'event' if len(item.evidence) == 1 else 'events'})"
            for item in self.items
        ]
        lines += [f"left out: {item.text} ({reason})" for item, reason in self.left_out]
        return "\n".join(lines) or "Nothing is known about this user yet: the plain base model answers."


def select(
    profile: Profile, budget: int, similarity: dict[str, float] | None = None
) -> tuple[tuple[Preference, ...], tuple[tuple[Preference, str], ...]]:
    """Choose at most `budget` preferences: (those that steer, those left out with the reason).

    Stated wishes come before inferred ones. Wishes of the user's own wording, which may be about one matter only, come
    after those of the catalogue, and the most similar to the query first (`similarity`: key → cosine) where there is
    one.
    """

    def rank(item: Preference) -> tuple[bool, bool, float]:
        return (item.source == "inferred", item.key.startswith("text:"), -(similarity or {}).get(item.key, 0.0))

    chosen: list[Preference] = []
    left_out: list[tuple[Preference, str]] = []
    for item in sorted(profile.preferences, key=rank):
        if item.source == "inferred" and item.confidence < SURE:
            left_out.append((item, f"confidence {item.confidence:.2f} is below {SURE}"))
        elif len(chosen) == budget:
            left_out.append((item, f"only {budget} steer at once"))
        else:
            chosen.append(item)
    return tuple(chosen), tuple(left_out)


def cosine(one_E: np.ndarray, other_E: np.ndarray) -> float:
    """Cosine of two vectors, 0 where one is zero."""
    length = float(np.linalg.norm(one_E) * np.linalg.norm(other_E))
    return float(one_E @ other_E) / length if length else 0.0
