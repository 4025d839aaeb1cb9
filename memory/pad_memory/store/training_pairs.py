"""What users chose, as training pairs for a reward model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pad_memory.events import Choice, Edit
from pad_memory.profile.wishes import standing

if TYPE_CHECKING:
    from pad_memory.memory import PreferenceMemory

__all__ = ["pairs_of"]

SURE = 0.8  # least confidence of a preference that explains a choice


def pairs_of(memory: PreferenceMemory, user: str) -> Iterator[dict[str, str]]:
    """Yield {prompt, preference, chosen, rejected} for each choice and edit that counts, oldest first.

    The preference is what the user's profile says today, wishes to be met joined by "; ". A user of whom nothing is
    known for sure has no pairs.
    """
    wishes = [item.text for item in memory.profile(user).preferences if item.weight > 0 and item.confidence >= SURE]
    if not wishes:
        return
    for event in [record.event for record in standing(memory._records(memory._owner(user)))]:
        if isinstance(event, Choice) and not event.tie:
            chosen, rejected = event.chosen, event.rejected
        elif isinstance(event, Edit):
            chosen, rejected = event.edited, event.response
        else:
            continue
        yield {"prompt": event.prompt, "preference": "; ".join(wishes), "chosen": chosen, "rejected": rejected}
