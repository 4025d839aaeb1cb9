"""What a tenant's users have in common, for the cold start of a new one: counts only, never anybody's words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pad_memory.catalogue import Dimension
from pad_memory.profile.preference import Preference
from pad_memory.profile.profile import Profile

__all__ = ["Population"]


@dataclass(frozen=True)
class Population:
    """How many users want each pole of the catalogue.

    Args:
        users: how many users it was counted from; below MIN_USERS nothing is concluded from it.
        counts: pole → users who said so or of whom it was inferred; poles with fewer than MIN_COUNT are left out.
    """

    MIN_USERS = 20
    MIN_COUNT = 5
    AGREE = 0.7  # a pole is proposed where at least this share of those with a view wants it

    users: int
    counts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, profiles: Iterable[Profile]) -> Population:
        """Count the poles that hold everywhere in some profiles; each user counts once, and a user's words never."""
        users, counts = 0, Counter[str]()
        for profile in profiles:
            users += 1
            counts.update(
                item.key for item in profile.preferences if item.scope is None and not item.key.startswith("text:")
            )
        enough = users >= cls.MIN_USERS
        return cls(users, {key: n for key, n in sorted(counts.items()) if enough and n >= cls.MIN_COUNT})

    def preferences(self, profile: Profile, catalogue: Sequence[Dimension]) -> tuple[Preference, ...]:
        """Return what most others want where nothing is known of this user, half as strong as a wish of their own.

        A dimension the user ever spoke about is theirs, and so is one where their judgements lean the other way or
        their taste changed.
        """
        if self.users < self.MIN_USERS:
            return ()
        spoken = {item.key.partition(":")[0] for item in (*profile.preferences, *profile.history)}
        spoken |= {drift.dimension for drift in profile.drifts}
        found = []
        for row, dimension in enumerate(catalogue):
            votes = [self.counts.get(f"{dimension.name}:{pole.name}", 0) for pole in dimension.poles]
            side = 0 if votes[0] >= votes[1] else 1
            share = votes[side] / max(sum(votes), 1)
            leans = float(profile.posterior.mean_D[row]) * (1 if side == 0 else -1)
            if dimension.name in spoken or share < self.AGREE or leans < -0.01:
                continue
            pole = dimension.poles[side]
            key, weight = f"{dimension.name}:{pole.name}", round(share - 0.5, 6)
            found.append(Preference(key, pole.text, weight, round(share, 6), "population"))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return {"users": self.users, "counts": dict(self.counts)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Population:
        """Read what `to_dict` wrote."""
        return cls(int(data["users"]), {str(key): int(count) for key, count in data["counts"].items()})
