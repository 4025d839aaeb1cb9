"""Whether a taste changed without a word: the likeliest history of each dimension's weight. Pure.

The posterior takes a weight to be one for ever. Here it may change: it is a path over the user's judgements, with w in
{−1, 0, +1} at each. A path is worth the log-likelihood of the judgements under it, by the model of
`pad_memory.profile.posterior` with all other weights at their means, less `COSTS` for each change. Where the best path
(Viterbi) changes last, the user's taste has drifted since. It has no window, and goes by the time of judgements: an old
one that comes late falls into its place.

The costs hold for all dimensions and moments at once: they were chosen so that few users whose taste stays are ever
flagged (`benchmarks/memory/drift.py`). They are the log odds against a change, so what is gained above them is the log
odds for it. The posterior is then a mixture: with that probability what was judged before says nothing any more.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.events import Choice
from pad_memory.evidence import Recorded
from pad_memory.profile.posterior import BIASES, Judgements, Posterior, infer, judgements, says

__all__ = ["Change", "Drift", "changes", "counting", "follow"]

Order = tuple[float, int, str]

STATES = (-1, 0, 1)  # what a weight can be
REVERSED, LOST, FOUND = 7.0, 5.5, 7.0  # nats
COSTS = np.array(  # of a change from one state (row) to another (column)
    [
        [0.0, LOST, REVERSED],
        [FOUND, 0.0, FOUND],
        [REVERSED, LOST, 0.0],
    ]
)
KNOWN = 0.5  # probability from which on a taste was there that can change
LEAST = 3  # judgements against the old taste; below that nothing is flagged
NEWS = 20  # judgements against the old taste up to which a change is news
BEARS = 0.3  # a judgement bears on a dimension from this style on


@dataclass(frozen=True)
class Drift:
    """A change of taste that judgements show and no words told.

    Args:
        dimension: what it is about, a name of the catalogue.
        since: Unix seconds of the first judgement of the new taste.
        before: what was liked, a key such as "length:detailed"; None means they did not care.
        after: what is liked now, likewise.
        confidence: the probability that it did change, in [0.5, 1].
        evidence: ids of the judgements since then that speak against the old taste, oldest first.
        stated: the old taste is a wish in words. It stands; the user has to say what holds.
        asked: they were asked since, and picked a side.
        why: one sentence.
    """

    dimension: str
    since: float
    before: str | None
    after: str | None
    confidence: float
    evidence: tuple[str, ...]
    stated: bool = False
    asked: bool = False
    why: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict."""
        return {**{item.name: getattr(self, item.name) for item in fields(self)}, "evidence": list(self.evidence)}


@dataclass(frozen=True)
class Change:
    """One dimension's weight changed.

    Args:
        row: the dimension's place.
        begins: the place of the first judgement under the old weight.
        first: that under the new one.
        before, after: the weights, −1, 0 or +1.
        gain: how much better this explains the judgements than the same without it, in nats above its cost; 0 or more.
    """

    row: int
    begins: int
    first: int
    before: int
    after: int
    gain: float

    @property
    def chance(self) -> float:
        """The probability that it did change, in [0.5, 1]."""
        return 1.0 / (1.0 + math.exp(-self.gain))


def follow(
    records: Sequence[Recorded],
    catalogue: Sequence[Dimension],
    fixed: Mapping[str, int],
    said: Mapping[str, Order],
    half_life: float | None,
) -> tuple[Posterior, dict[str, Order], tuple[Drift, ...]]:
    """Infer the weights of a user whose taste may change.

    Args:
        records: what the user told us, oldest first.
        catalogue: the dimensions.
        fixed: the weights that words fix, dimension → ±1. They stay; judgements against them since are flagged.
        said: dimension → when its words were said last. What was judged before is not against them.
        half_life: see `infer`.

    Returns:
        The posterior; dimension → from where on judgements count, where that changed; what is news, the surest first.
    """
    names = tuple(dimension.name for dimension in catalogue)
    judged = judgements(records)
    stays = {
        row: (fixed[name], sum(record.order < said[name] for record in judged))
        for row, name in enumerate(names)
        if name in fixed
    }
    read = Judgements.of(judged, names)
    posterior = infer(records, names, fixed, half_life, read)
    found = changes(read, shares(judged), posterior.mean_D, stays)
    since: dict[str, Order] = {}
    drifts, mixed_H, left = [], np.zeros_like(posterior.p_H), 1.0
    for change in found:
        drift = _drift(change, judged, catalogue[change.row], stated=change.row in stays)
        if len(drift.evidence) < LEAST or not (drift.stated or _known(change, judged, names, fixed)):
            continue
        if drift.stated or len(drift.evidence) <= NEWS:
            drifts.append(drift)
        if not drift.stated:
            since[drift.dimension] = judged[change.first].order
            mixed_H += left * (1.0 - change.chance) * posterior.p_H
            left *= change.chance
            posterior = infer([counting(record, since) for record in records], names, fixed, half_life)
    if since:
        posterior = Posterior.of(names, posterior.weights_HD, mixed_H + left * posterior.p_H)
    return posterior, since, tuple(drifts)


def counting(record: Recorded, counts_from: Mapping[str, Order]) -> Recorded:
    """Return a judgement without the dimensions about which only later ones count."""
    gone = {name for name, order in counts_from.items() if record.order < order}
    if not gone or not record.evidence.styles:
        return record
    styles = tuple(
        {name: value for name, value in style.items() if name not in gone} for style in record.evidence.styles
    )
    return replace(record, evidence=replace(record.evidence, styles=styles))


def changes(
    read: Judgements, shares_N: np.ndarray, mean_D: np.ndarray, fixed: Mapping[int, tuple[int, int]]
) -> list[Change]:
    """Return the last change of each dimension that has one, the surest first.

    What explains judgements best is taken for true before others are looked for: of two changes that the same
    judgements fit, the likelier one is found.

    Args:
        read: the judgements, oldest first.
        shares_N: how much each counts, in (0, 1].
        mean_D: the weights where nothing changes.
        fixed: place of a dimension that words fix → (the weight, the place of the first judgement after them).
    """
    found: list[Change] = []
    if not len(read.x_ND):
        return found
    weights_ND = np.tile(mean_D, (len(read.x_ND), 1))
    drive_N1 = (read.x_ND @ mean_D)[:, None]
    bias = float(max(BIASES, key=lambda bias: read.log_chances(drive_N1, bias).sum()))  # how easily they are pleased
    start_D3 = np.zeros((len(mean_D), 3))
    for row, (sign, _) in fixed.items():
        start_D3[row, [state != sign for state in STATES]] = -np.inf
    while True:
        own_ND = weights_ND * read.x_ND
        rest_ND = own_ND.sum(axis=1, keepdims=True) - own_ND
        drive_ND3 = rest_ND[..., None] + read.x_ND[..., None] * np.array(STATES)
        log_ND3 = read.log_chances(drive_ND3.reshape(len(drive_ND3), -1), bias).reshape(drive_ND3.shape)
        log_ND3 *= shares_N[:, None, None]
        for row, (_, first) in fixed.items():
            log_ND3[:first, row] = 0.0
        known = {change.row for change in found}
        rows = [row for row in _open(log_ND3, start_D3) if row not in known]
        new = [replace(change, row=rows[change.row]) for change in _best(log_ND3[:, rows], start_D3[rows])]
        if not new:
            return found
        surest = max(new, key=lambda change: (round(change.gain, 9), -change.row))
        weights_ND[: surest.first, surest.row] = surest.before
        weights_ND[surest.first :, surest.row] = surest.after
        found.append(surest)


def _open(log_ND3: np.ndarray, start_D3: np.ndarray) -> list[int]:
    """The dimensions where a change may pay: one state gains its cost over another, and loses as much afterwards."""
    least = COSTS[COSTS > 0.0].min()
    sums_ND3 = np.concatenate([np.zeros((1, *log_ND3.shape[1:])), log_ND3.cumsum(axis=0)])
    over_ND33 = sums_ND3[..., :, None] - sums_ND3[..., None, :]
    rise_ND33 = over_ND33 - np.minimum.accumulate(over_ND33, axis=0)
    pays_D = ((rise_ND33 >= least) & (over_ND33 - over_ND33[-1] >= least)).any(axis=(0, 2, 3))
    return np.flatnonzero(pays_D | np.isinf(start_D3).any(axis=1)).tolist()


def _best(log_ND3: np.ndarray, start_D3: np.ndarray) -> list[Change]:
    """The last change of each dimension whose best path has one."""
    count, dimensions, _ = log_ND3.shape
    if not dimensions:
        return []
    came_ND3 = np.empty(log_ND3.shape, dtype=np.intp)  # from which state
    enters_ND3 = np.empty(log_ND3.shape)  # what the best path to a state is worth before a judgement
    worth_D3 = start_D3
    for place in range(count):
        options_D33 = worth_D3[:, :, None] - COSTS
        options_D33.argmax(axis=1, out=came_ND3[place])
        options_D33.max(axis=1, out=enters_ND3[place])
        worth_D3 = enters_ND3[place] + log_ND3[place]
    every, path_MD = np.arange(dimensions), np.empty((count + 1, dimensions), dtype=np.intp)  # M = N + 1: also before
    path_MD[-1] = worth_D3.argmax(axis=1)
    for place in range(count, 0, -1):
        path_MD[place - 1] = came_ND3[place - 1, every, path_MD[place]]
    found = []
    for row in np.flatnonzero((path_MD != path_MD[-1]).any(axis=0)).tolist():
        turns = np.flatnonzero(np.diff(path_MD[:, row]))
        first, begins = int(turns[-1]), int(turns[-2]) if len(turns) > 1 else 0
        entered_3 = enters_ND3[begins, row] if begins else start_D3[row]
        same_3 = entered_3 + log_ND3[begins:, row].sum(axis=0)  # without this change, in each state
        gain = float(worth_D3[row, path_MD[-1, row]] - same_3.max())
        before, after = STATES[path_MD[first, row]], STATES[path_MD[-1, row]]
        found.append(Change(row, begins, first, before, after, max(gain, 0.0)))
    return found


def _known(change: Change, judged: Sequence[Recorded], names: tuple[str, ...], fixed: Mapping[str, int]) -> bool:
    """Whether there was a taste to change: what was judged before it tells of one."""
    if not change.before:
        return True
    earlier = infer(judged[change.begins : change.first], names, fixed, None)
    return bool((earlier.positive_D if change.before > 0 else earlier.negative_D)[change.row] >= KNOWN)


def shares(judged: Sequence[Recorded]) -> np.ndarray:
    """How much each judgement counts [N]: a thumb, stars and an edit of one answer say nearly the same; k kinds, √k."""
    kinds: dict[tuple[str, str], set[str]] = defaultdict(set)
    for record in judged:
        kinds[record.event.responses[-1]].add(record.event.kind)
    return np.array([len(kinds[record.event.responses[-1]]) ** -0.5 for record in judged])


def _drift(change: Change, judged: Sequence[Recorded], dimension: Dimension, *, stated: bool) -> Drift:
    after = judged[change.first :]
    told = [(record.id, says(record, dimension.name)) for record in after]
    way = 1.0 if change.after > change.before else -1.0
    evidence = tuple(id for id, says in told if says * way > BEARS)
    bearing = sum(abs(says) > BEARS for _, says in told)
    poles = {1: dimension.poles[0], -1: dimension.poles[1]}
    old, new = poles.get(change.before), poles.get(change.after)
    was = "did not care" if old is None else f"{'said' if stated else 'liked'} “{old.text}”"
    points = "speak against it" if new is None else f"point to “{new.text}”"
    return Drift(
        dimension.name,
        after[0].event.time or 0.0,
        None if old is None else f"{dimension.name}:{old.name}",
        None if new is None else f"{dimension.name}:{new.name}",
        round(change.chance, 6),
        evidence,
        stated,
        any(_asks(record, dimension.name) for record in after),
        f"You {was}, but {len(evidence)} of your last {bearing} judgements that bear on {dimension.name} {points}.",
    )


def _asks(record: Recorded, dimension: str) -> bool:
    """Whether a judgement is the answer to a question about a dimension."""
    asked = record.event.metadata.get("asked")
    return isinstance(record.event, Choice) and isinstance(asked, list) and dimension in asked
