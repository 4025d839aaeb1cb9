"""From events to a profile: a pure fold, without clock, randomness, scorer or embedder.

Words are taken at their word: the latest explicit wish of a dimension stands. What words leave open is inferred from
judgements, see `pad_memory.profile.posterior`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pad_memory.catalogue import Dimension
from pad_memory.evidence import Recorded
from pad_memory.profile.drift import Drift, counting, follow
from pad_memory.profile.posterior import HALF_LIFE, Posterior, drives, says
from pad_memory.profile.preference import Preference
from pad_memory.profile.taste import Taste, learn_taste
from pad_memory.profile.wishes import chosen, signs, spoken, standing
from pad_memory.values import Verdict

__all__ = ["Profile", "fold"]

LISTED = 0.5  # an inferred preference is listed from this confidence on
LEANS = 0.15  # and shown as a leaning from this one on: with nothing said, each pole has 0.12


@dataclass(frozen=True)
class Profile:
    """Everything concluded about one user.

    Args:
        preferences: stated ones first, the latest first; then inferred ones, the surest first.
        posterior: the weights behind them, also of dimensions too uncertain to be listed.
        pending: events whose evidence waits for a scorer.
        reasons: key → why we believe it.
        history: wishes in words that were replaced or ended or that expired, with valid_from and valid_to, in the order
            they ended.
        refused: event id → why nothing was learned from its words.
        leanings: what judgements point to without being sure enough to be listed, the surest first. They steer nothing.
        later: wishes in words that do not hold now, but will: "from Monday on", or what another covers until Friday.
        time_zone: whose clock and calendar the user means.
        paused: whether nothing is recorded of them.
        window: from when to when it is true (Unix seconds): in between nothing begins or ends by itself.
        drifts: tastes that judgements say have changed, without a word, the surest first. Each is news for twenty
            judgements; one against a wish in words until the user says what holds.
        taste: what choices and edits say beyond all of this. None where it would not predict them better.
    """

    preferences: tuple[Preference, ...]
    posterior: Posterior = field(compare=False)
    pending: int = 0
    reasons: Mapping[str, str] = field(default_factory=dict, repr=False)
    history: tuple[Preference, ...] = ()
    refused: Mapping[str, Verdict] = field(default_factory=dict)
    leanings: tuple[Preference, ...] = field(default=(), compare=False, repr=False)
    later: tuple[Preference, ...] = ()
    time_zone: str = "UTC"
    paused: bool = False
    window: tuple[float, float] = field(default=(-math.inf, math.inf), compare=False, repr=False)
    drifts: tuple[Drift, ...] = ()
    taste: Taste | None = field(default=None, repr=False)

    def why(self, key: str) -> str:
        """Say in one sentence what makes us believe the preference `key`.

        Raises:
            KeyError: the profile has no such preference; the message lists those it has.
        """
        if key not in self.reasons:
            raise KeyError(f"no preference {key!r} in this profile; it has: {', '.join(self.reasons) or 'none yet'}")
        return self.reasons[key]

    def learned_from(self, event_id: str) -> tuple[Preference, ...]:
        """Return what an event is evidence for: what is wanted now, then what will be."""
        return tuple(item for item in (*self.preferences, *self.later) if event_id in item.evidence)

    def expired_from(self, event_id: str) -> tuple[Preference, ...]:
        """Return the wishes of an event whose time was up."""
        return tuple(item for item in self.history if item.expired and event_id in item.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict; two replays of the same events at the same time give the same bytes."""
        rare = {
            "later": [item.to_dict() for item in self.later],
            "time_zone": self.time_zone if self.time_zone != "UTC" else "",
            "paused": self.paused,
            "drifts": [drift.to_dict() for drift in self.drifts],
            "taste": None if self.taste is None else self.taste.to_dict(),
        }
        return {
            "preferences": [{**item.to_dict(), "why": self.reasons[item.key]} for item in self.preferences],
            "weights": {
                name: round(float(mean), 6)
                for name, mean in zip(self.posterior.dimensions, self.posterior.mean_D, strict=True)
            },
            "pending": self.pending,
            "history": [item.to_dict() for item in self.history],
            "refused": {id: verdict.to_dict() for id, verdict in self.refused.items()},
            **{name: value for name, value in rare.items() if value},
        }

    def to_json(self) -> str:
        """Return `to_dict` as canonical JSON."""
        return json.dumps(self.to_dict(), sort_keys=True, ensure_ascii=False)


def fold(
    records: Sequence[Recorded],
    catalogue: Sequence[Dimension],
    half_life: float | None = HALF_LIFE,
    at: float | None = None,
) -> Profile:
    """Conclude a profile from a user's events. Pure: the same records, in whatever order, give the same profile.

    Args:
        records: what the user told us; what they took back does not count.
        catalogue: the dimensions along which preferences are inferred.
        half_life: seconds after which a judgement counts half, measured back from the user's newest event, so that
            a replay gives the same bytes at any time; None means it counts in full for ever. Words never fade.
        at: Unix seconds: which wishes with a time hold. None means when the newest event was said.
    """
    records = sorted(standing(records), key=lambda record: record.order)
    if at is None:
        at = max((record.event.time or 0.0 for record in records), default=0.0)
    wishes = spoken(records, catalogue, at)
    fixed = signs(wishes, catalogue)
    judged = [counting(record, wishes.counts_from) for record in records]
    said = {name: wish.order for (name, scope), wish in wishes.standing.items() if scope is None}
    posterior, since, drifts = follow(judged, catalogue, fixed, said, half_life)
    preferences, reasons = [], {}
    for wish in sorted(wishes.standing.values(), key=lambda wish: wish.order, reverse=True):
        preference = wish.preference()
        preferences.append(preference)
        reasons[preference.key] = wish.why()
    counted = [counting(record, since) for record in judged]
    inferred = _inferred(counted, catalogue, posterior, fixed, since)
    for preference, reason in inferred:
        if preference.confidence >= LISTED:
            preferences.append(preference)
            reasons[preference.key] = reason
    leanings = tuple(preference for preference, _ in inferred if preference.confidence < LISTED)
    history = tuple(wish.preference() for wish in wishes.history)
    pending = sum(record.evidence.pending for record in records)
    refused = {record.id: record.evidence.verdict for record in records if record.evidence.verdict is not None}
    later = tuple(wish.preference() for wish in wishes.later)
    settings = chosen(records)
    before = max((time for time in wishes.changes if time <= at), default=-math.inf)
    after = min((time for time in wishes.changes if time > at), default=math.inf)
    return Profile(
        tuple(preferences),
        posterior,
        pending,
        reasons,
        history,
        refused,
        leanings,
        later,
        settings.get("time_zone", "UTC"),
        settings.get("paused") == "yes",
        (before, after),
        drifts,
        learn_taste(judged, drives([each for each in counted if each.evidence.features], posterior), half_life),
    )


def _inferred(
    records: Sequence[Recorded],
    catalogue: Sequence[Dimension],
    posterior: Posterior,
    fixed: Mapping[str, int],
    since: Collection[str],
) -> list[tuple[Preference, str]]:
    found = []
    for row, dimension in enumerate(catalogue):
        mean = float(posterior.mean_D[row])
        confidence = float(posterior.positive_D[row] if mean > 0 else posterior.negative_D[row])
        if dimension.name in fixed or confidence < LEANS:
            continue
        pole = dimension.poles[0 if mean > 0 else 1]
        told = [(record.id, says(record, dimension.name)) for record in records]
        agree = [id for id, says in told if says * mean > 0.3 * abs(mean)]
        if not agree and confidence < LISTED:
            continue
        against = [id for id, says in told if says * mean < -0.3 * abs(mean)]
        preference = Preference(
            f"{dimension.name}:{pole.name}",
            pole.text,
            round(abs(mean), 6),
            round(min(confidence, 1.0), 6),
            "inferred",
            tuple(agree),
            valid_from=next((record.event.time for record in records if record.id in agree), None),
            origins=tuple(dict.fromkeys(record.origin for record in records if record.origin and record.id in agree)),
        )
        reason = (
            f"{len(agree)} of {len(agree) + len(against)} of your judgements that bear on {dimension.name}"
            f"{', since your taste changed,' if dimension.name in since else ''} point to “{pole.text}”."
        )
        found.append((preference, reason))
    return sorted(found, key=lambda item: (-item[0].confidence, item[0].key))
