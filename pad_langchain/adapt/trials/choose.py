"""How a head should steer its base, found on development prompts: where the wish is told, β, k and α.

First the place in the prompt that works best without a head. Then, for the head alone and for the head beside a prompt
told there, the best β, then k, then α, and then each pole's own strength. The figure is the share of answers that show
the wish and are good. Of ways that are no worse than the best by more than its standard error, the one with the most
good answers is taken: strength that shows a wish in more answers, and spoils as many, is none.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from pad_langchain.adapt.config import ChoiceSettings
from pad_langchain.adapt.trials.panel import Judged, Panel, Way
from pad_langchain.chat.options import WishPlace
from pad_langchain.evaluation.wishes import by_pole, ends_as_often, shares

__all__ = ["PLACES", "Choice", "choose", "count_tried"]

PLACES: tuple[WishPlace, ...] = ("system", "user", "both")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Choice:
    """What was found.

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

    told = best([Way(place=place) for place in PLACES])
    ways = [
        _own_strengths(tried, _strength(place, settings, best), silent)
        for place, silent in ((None, base.way), (told.place, told))
    ]
    alone, both = (_judged(panel, tried, way).way for way in ways)
    choice = Choice(tuple(tried), told, alone, both)
    _log.info("chosen on development prompts: %s", choice.best.key)
    return choice


def count_tried(settings: ChoiceSettings) -> int:
    """How many ways `choose` tries that hear a wish."""
    return len(PLACES) + 2 * (len(settings.betas) + len(settings.ks) - 1 + len(settings.alphas) - 1)


def _strength(place: WishPlace | None, settings: ChoiceSettings, best: Callable[[Sequence[Way]], Way]) -> Way:
    """The best β at the first k and α, then the best k, then the best α."""
    (first_k, *ks), (first_alpha, *alphas) = settings.ks, settings.alphas
    way = best([Way("head", place, beta, first_k, first_alpha) for beta in sorted(settings.betas)])
    way = best([way, *(replace(way, top_k=k) for k in ks)])
    return best([way, *(replace(way, alpha=alpha) for alpha in alphas)])


def _own_strengths(tried: Sequence[Judged], way: Way, silent: Way) -> Way:
    """Give each pole a β of its own, of equals the one nearest to the way's.

    A pole has few answers, so what counts is the mean of its own share and of all poles' share at a β.

    Args:
        tried: has the way at all βs. Those at which answers end less often are left out, unless it is the way's own.
        silent: the way without the head, which is β 0. The first that was tried is the base.
    """
    common = way.beta
    assert common is not None
    found = {0.0: next(each for each in tried if each.way == silent)}
    for each in tried:
        fair = each.way == way or ends_as_often(each.verdicts, tried[0].verdicts)
        if fair and each.way.beta is not None and replace(each.way, beta=way.beta) == way:
            found[each.way.beta] = each
    poles = {beta: by_pole(each.verdicts) for beta, each in found.items()}
    all_poles = {beta: _score(each) for beta, each in found.items()}

    def best(pole: str) -> float:
        return max(poles, key=lambda beta: (poles[beta][pole].both.mean + all_poles[beta], -abs(beta - common)))

    return replace(way, strengths=tuple((pole, best(pole) / common) for pole in poles[common]))


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
