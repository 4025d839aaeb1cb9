"""What the head is worth on test prompts: beside the base, prompting in all places, and a guide without training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from pad_langchain.adapt.trials.choose import PLACES, Choice
from pad_langchain.adapt.trials.panel import Judged, Panel, Way
from pad_langchain.evaluation.wishes import Shares, by_pole, lead, shares

__all__ = ["JUDGED_WAYS", "judge_ways", "measured", "plain", "side_by_side"]

JUDGED_WAYS = 7  # that hear a wish
SHOWN_TEXTS = 2  # answers of each pole that a report shows side by side


def judge_ways(panel: Panel, choice: Choice) -> dict[str, Judged]:
    """Answer and judge the test prompts in every way."""
    told = [Way(place=place) for place in PLACES]
    contrast = Way("self", choice.told.place)  # a base that guides itself is told the wish
    return {way.name: panel.judge(way) for way in (Way(), *told, choice.told, choice.alone, choice.both, contrast)}


def measured(judged: Mapping[str, Judged], told: str) -> dict[str, Any]:
    """The figures of every way, as JSON has them.

    Args:
        judged: by name, the base's among them.
        told: the name of the best way without a head.
    """
    base, prompted = judged["base"].verdicts, judged[told].verdicts
    return {
        name: {
            "way": asdict(each.way),
            **plain(shares(each.verdicts)),
            "by_pole": {pole: plain(found) for pole, found in by_pole(each.verdicts).items()},
            "over the base": plain(lead(each.verdicts, base)),
            "over prompting": plain(lead(each.verdicts, prompted)),
        }
        for name, each in judged.items()
    }


def side_by_side(judged: Mapping[str, Judged], names: Sequence[str]) -> list[dict[str, Any]]:
    """A few answers to the same prompts in several ways: texts show what shares hide."""
    first = judged[names[0]].verdicts
    seen: dict[str, int] = {}
    rows = []
    for n, verdict in enumerate(first):
        seen[verdict.pole] = seen.get(verdict.pole, 0) + 1
        if seen[verdict.pole] <= SHOWN_TEXTS:
            texts = {name: judged[name].texts[n] for name in names}
            rows.append({"pole": verdict.pole, "question": verdict.question, "answers": texts})
    return rows


def plain(found: Shares) -> dict[str, Any]:
    """Shares with their intervals as lists: [mean, low, high]."""
    named = {name: list(getattr(found, name)) for name in ("shown", "good", "both", "ended")}
    return {**named, "count": found.count}
