"""What users chose, as training pairs for a reward model."""

from __future__ import annotations

from collections.abc import Iterator

from pad_memory.events import Choice, Edit
from pad_memory.profile import Snapshot, standing

__all__ = ["pairs_of"]

SURE = 0.8  # least confidence of a preference that explains a choice


def pairs_of(known: Snapshot) -> Iterator[dict[str, str]]:
    """Yield {prompt, preference, chosen, rejected} for each choice and edit of a user that counts, oldest first.

    The preference is what the user's profile says today, wishes to be met joined by "; ". A user of whom nothing is
    known for sure has no pairs.
    """
    wishes = [item.text for item in known.profile.preferences if item.weight > 0 and item.confidence >= SURE]
    if not wishes:
        return
    for event in [record.event for record in standing(known.records)]:
        if isinstance(event, Choice) and not event.tie:
            chosen, rejected = event.chosen, event.rejected
        elif isinstance(event, Edit):
            chosen, rejected = event.edited, event.response
        else:
            continue
        yield {"prompt": event.prompt, "preference": "; ".join(wishes), "chosen": chosen, "rejected": rejected}
