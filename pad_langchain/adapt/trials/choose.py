"""How a head should steer its base, found on development prompts: where and how the wish is told, β, k and α.

First the place in the prompt that works best without a head. Then, for the head alone and for the head beside a prompt
told there, the best β, then k, then α. A wish is told in the user's own words or by one of the pole's instructions. In
the end each pole gets the best for it of all that was tried: told or not, how, and how strongly it is steered. The
figure is the share of answers that show the wish and are good. Of ways that are no worse than the best by more than its
standard error, the one with the most good answers is taken: strength that shows a wish in more answers, and spoils as
many, is none.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pad_langchain.adapt.config import ChoiceSettings
from pad_langchain.adapt.trials.panel import Judged, Panel, Way, Words
from pad_langchain.chat.options import WishPlace
from pad_langchain.evaluation.wishes import by_pole, ends_as_often, shares

__all__ = ["PLACES", "Choice", "choose", "count_tried"]

PLACES: tuple[WishPlace, ...] = ("system", "user", "both")
WORDS: tuple[Words, ...] = ("own", "instruction", "other")

SHARED = 8  # as many answers of a pole as all poles' share is worth

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Choice:
    """What was found; in the three ways each pole has one of its own.

    Args:
        tried: everything that was judged on the way, the base first.
        told: the best way without a head. alone: the best with the head only. both: with head and prompt.
    """

    tried: tuple[Judged, ...]
    told: Way
    alone: Way
    both: Way

    @property
    def best(self) -> Way:
        """What the head recommends: the better of `alone` and `both`."""
        judged = {each.way: each for each in self.tried}
        return max((self.alone, self.both), key=lambda way: _score(judged[way]))


def choose(panel: Panel, settings: ChoiceSettings) -> Choice:
    """Try ways to answer, and choose."""
    tried = [panel.judge(Way())]
    base = tried[0]

    def best(ways: Sequence[Way]) -> Way:
        """The best of some ways, of equals the first; those that end less often than the base only if all do."""
        found = [_judged(panel, tried, way) for way in ways]
        fair = [each for each in found if ends_as_often(each.verdicts, base.verdicts)] or found
        return _gentlest(fair).way

    place = best([Way(place=place) for place in PLACES]).place
    told = best([Way(place=place, words=words) for words in WORDS])
    alone = _strength([Way()], settings, best)
    both = _strength([Way(place=place, words=words) for words in WORDS], settings, best)
    told, alone, both = (_judged(panel, tried, _by_pole(tried, way)).way for way in (told, alone, both))
    choice = Choice(tuple(tried), told, alone, both)
    _log.info("chosen on development prompts: %s", choice.best.key)
    return choice


def count_tried(settings: ChoiceSettings) -> int:
    """How many ways `choose` tries that hear a wish."""
    finer = len(settings.ks) - 1 + len(settings.alphas) - 1
    return len(PLACES) + len(WORDS) - 1 + (1 + len(WORDS)) * len(settings.betas) + 2 * finer


def _strength(told: Sequence[Way], settings: ChoiceSettings, best: Callable[[Sequence[Way]], Way]) -> Way:
    """The best β at the first k and α, then k, then α, for a head beside prompts that are told in one of these ways."""
    (first_k, *ks), (first_alpha, *alphas) = settings.ks, settings.alphas
    way = best(
        [
            replace(each, guide="head", beta=beta, top_k=first_k, alpha=first_alpha)
            for beta in sorted(settings.betas)
            for each in told
        ]
    )
    way = best([way, *(replace(way, top_k=k) for k in ks)])
    return best([way, *(replace(way, alpha=alpha) for alpha in alphas)])


def _by_pole(tried: Sequence[Judged], common: Way) -> Way:
    """Give each pole the way that is best for it, of equals the one that is most like the common way.

    A pole has few answers, so its share is drawn to all poles' share in a way.

    Beside a head every pole is steered, however gently: a call may have a base that is not told.

    Args:
        tried: those count that need no more than the common way does: no prompt told elsewhere, no other k and α.
            Ways whose answers end less often than the base's, which was tried first, are left out.
    """
    base = tried[0].verdicts
    found = {
        each.way: each
        for each in tried
        if each.way == common or (_within(each.way, common) and ends_as_often(each.verdicts, base))
    }
    poles = {way: by_pole(each.verdicts) for way, each in found.items()}
    all_poles = {way: _score(each) for way, each in found.items()}

    def score(way: Way, pole: str) -> float:
        own = poles[way][pole]
        return (own.count * own.both.mean + SHARED * all_poles[way]) / (own.count + SHARED)

    def best(pole: str) -> Way:
        return max(found, key=lambda way: (score(way, pole), *_likeness(way, common)))

    return replace(common, each=tuple((pole, best(pole)) for pole in poles[common]))


def _within(way: Way, common: Way) -> bool:
    """Whether a head that recommends the common way can answer a pole in another one."""
    return (
        not way.each
        and way.place in (None, common.place)
        and (way.guide, way.top_k, way.alpha) == (common.guide, common.top_k, common.alpha)
    )


def _likeness(way: Way, common: Way) -> tuple[float, ...]:
    return way.place == common.place, way.words == common.words, -abs((way.beta or 0.0) - (common.beta or 0.0))


def _judged(panel: Panel, tried: list[Judged], way: Way) -> Judged:
    """The judged answers of a way, which is tried once."""
    for each in tried:
        if each.way == way:
            return each
    tried.append(panel.judge(way))
    return tried[-1]


def _gentlest(found: Sequence[Judged]) -> Judged:
    """Of the ways within a standard error of the best, that with the most good answers; of equals the better one."""
    judged = [(each, shares(each.verdicts)) for each in found]
    top = max((share for _, share in judged), key=lambda share: share.both.mean)
    # A binomial's, as a bootstrap over a handful of prompts says too little.
    least = top.both.mean - math.sqrt(top.both.mean * (1 - top.both.mean) / top.count)
    near = [(each, share) for each, share in judged if share.both.mean >= least]
    return max(near, key=lambda one: (one[1].good.mean, one[1].both.mean))[0]


def _score(judged: Judged) -> float:
    return shares(judged.verdicts).both.mean
