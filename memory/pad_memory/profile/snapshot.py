"""What is known of a user at one moment. Whoever has it reads on while others write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from pad_memory.evidence import Recorded
from pad_memory.profile.profile import Profile

__all__ = ["Snapshot"]


@dataclass(frozen=True)
class Snapshot:
    """A user's records and what was concluded from them.

    Args:
        records: what they told us, oldest first.
        profile: the conclusion.
        cleared: wishes that were held against today's rules of values when they were recorded.
        vectors: text of a preference → its stored embedding, float32 [E]; empty where they were not asked for.
        age: seconds since this was known to be all there is, where the store cannot be read now. None means it was.
    """

    records: tuple[Recorded, ...]
    profile: Profile
    cleared: frozenset[str] = frozenset()
    vectors: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)
    age: float | None = None

    def holds(self, at: float) -> bool:
        """Whether the conclusion is as true at a time, in Unix seconds: nothing begins or ends until then by itself."""
        start, end = self.profile.window
        return start <= at < end

    @cached_property
    def pending(self) -> bool:
        """Whether the evidence of a record waits for a scorer, be it one that was taken back."""
        return any(record.evidence.pending for record in self.records)
