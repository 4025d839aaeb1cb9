"""Is a taste that changes without a word noticed, and one that stays left alone? Simulated users, see drifting.py.

    python benchmarks/memory/drift.py                          1,000 users whose taste stays, 300 who change
    python benchmarks/memory/drift.py --every 5                false alarms looked for after every fifth judgement
    python benchmarks/memory/drift.py --stay 100 --change 50   a first look

- *False alarms*: the share of users with 200 judgements whose taste stays and who have a flag after any of them.
- *Found*: the share of users who change and have a flag of the right dimension after at most so many contrary
  judgements: those that say the opposite of what the old taste would have said. Old to opposite is the figure; who
  stops caring or begins to is told apart. Only users count whose old taste the memory knew: it steered (SURE).
- *Followed*: how many contrary judgements it takes until the new taste steers (confidence of SURE), with and without.

A prefix of the judgements is folded where `changes` finds a change in it; the means that it is given are those of
`infer` after each judgement, summed up as they come. The costs were chosen on seeds from 0 on, these are others.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from drifting import NAMES, Told, User, draw

from pad_memory import CATALOGUE
from pad_memory.condition.select import SURE
from pad_memory.evidence import Recorded
from pad_memory.profile import HALF_LIFE, Posterior, Profile, fold, infer
from pad_memory.profile.drift import changes, shares
from pad_memory.profile.posterior import BIASES, Judgements, log_sum, patterns

EVENTS = 200
WITHIN = (3, 5, 7, 10, 12, 15, 20)


@dataclass(frozen=True)
class Changed:
    """A user who changed: what they told, how many before that, and in which dimension."""

    told: Sequence[Told]
    before: int
    dimension: str
    new: int

    @property
    def contrary(self) -> np.ndarray:
        """How many contrary judgements there were up to each."""
        counts: np.ndarray = np.cumsum([told.contrary for told in self.told])
        return counts


def posteriors(records: Sequence[Recorded]) -> Iterator[Posterior]:
    """Yield what `infer` concludes after each judgement."""
    weights_HD, log_prior_H = patterns((0,) * len(NAMES))
    read = Judgements.of(records, NAMES)
    drive_NH = read.x_ND @ weights_HD.T
    single_N = read.kinds_N == "single"
    pairs_NH = np.zeros_like(drive_NH)
    pairs_NH[~single_N] = read.where(~single_N).log_chances(drive_NH[~single_N])
    singles_SNH = np.zeros((len(BIASES), *drive_NH.shape))
    for row, bias in enumerate(BIASES):
        singles_SNH[row, single_N] = read.where(single_N).log_chances(drive_NH[single_N], bias)
    likelihood_H, absolute_SH = np.zeros(len(weights_HD)), np.zeros((len(BIASES), len(weights_HD)))
    last = records[0].event.time or 0.0
    for place, record in enumerate(records):
        now = record.event.time or 0.0
        faded = 0.5 ** ((now - last) / HALF_LIFE)
        likelihood_H, absolute_SH, last = likelihood_H * faded, absolute_SH * faded, now
        likelihood_H += pairs_NH[place]
        absolute_SH += singles_SNH[:, place]
        log_H = log_prior_H + likelihood_H + log_sum(absolute_SH)
        yield Posterior.of(NAMES, weights_HD, np.exp(log_H - log_sum(log_H)))


def flags(records: Sequence[Recorded], first: int, every: int = 1) -> Iterator[tuple[int, Profile]]:
    """Yield (number of judgements, profile) where a flag is up, from `first` judgements on."""
    read = Judgements.of(records, NAMES)
    for count, posterior in enumerate(posteriors(records), start=1):
        if count < first or (count % every and count < len(records)):
            continue
        if changes(read.where(np.arange(count)), shares(records[:count]), posterior.mean_D, {}):
            profile = fold(records[:count], CATALOGUE)
            if profile.drifts:
                yield count, profile


def staying(seed: int, wrong: float, every: int) -> bool:
    """Whether a user whose taste stays is ever flagged."""
    told = list(draw(seed, wrong).events(EVENTS))
    return next(flags([each.record for each in told], 1, every), None) is not None


def changed(seed: int, wrong: float, kind: str) -> Changed:
    """Draw a user who changes, and go on until twenty contrary judgements or 150 in all."""
    user, rng = draw(seed, wrong), random.Random(seed)
    while kind == "lost" and len(user.tastes) < 2:  # who has no taste left judges nothing
        user = draw(rng.randrange(10**9), wrong)
    told = list(user.events(rng.randint(40, 140)))
    before = len(told)
    known = infer([each.record for each in told], NAMES)
    new = _new_taste(user, kind, rng)
    row, old = NAMES.index(new), (user.old or {}).get(new, 0.0)
    if old and (known.positive_D if old > 0 else known.negative_D)[row] < SURE:
        return changed(rng.randrange(10**9), wrong, kind)
    for each in user.events(150):
        told.append(each)
        if sum(one.contrary for one in told) == max(WITHIN):
            break
    return Changed(told, before, new, int(np.sign(user.tastes[new])))


def _new_taste(user: User, kind: str, rng: random.Random) -> str:
    if kind == "found":
        name = rng.choice([name for name in NAMES if name not in user.tastes])
        user.change(name, rng.choice((-1, 1)) * rng.uniform(0.5, 1.0))
    else:
        name = rng.choice(sorted(user.tastes))
        user.change(name, 0.0 if kind == "lost" else -user.tastes[name])
    return name


def found(user: Changed, kind: str) -> int:
    """After how many judgements that count the flag is up: contrary ones, or all where nothing can be contrary."""
    counts = user.contrary if kind == "reversed" else np.arange(len(user.told)) + 1 - user.before
    for count, profile in flags([told.record for told in user.told], user.before + 1):
        if user.dimension in {drift.dimension for drift in profile.drifts}:
            return int(counts[count - 1])
    return 10**9


def followed(user: Changed) -> tuple[int, int]:
    """After how many contrary judgements the new taste steers: with drift, and without."""
    records, row = [told.record for told in user.told], NAMES.index(user.dimension)
    steers = []
    for drifts in (True, False):
        for count in range(user.before + 1, len(records) + 1):
            posterior = fold(records[:count], CATALOGUE).posterior if drifts else infer(records[:count], NAMES)
            if (posterior.positive_D if user.new > 0 else posterior.negative_D)[row] >= SURE:
                steers.append(int(user.contrary[count - 1]))
                break
        else:
            steers.append(10**9)
    return steers[0], steers[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stay", type=int, default=1000, help="users whose taste stays")
    parser.add_argument("--change", type=int, default=300, help="users who change to the opposite")
    parser.add_argument("--others", type=int, default=100, help="users of each other row; 0 leaves those out")
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--every", type=int, default=1, help="look for false alarms after every so many judgements")
    options = parser.parse_args()
    for wrong in (0.1, 0.0, 0.2):
        main_row = wrong == 0.1
        change = options.change if main_row else options.others
        for kind in ("reversed", "lost", "found") if main_row else ("reversed",):
            users = change if kind == "reversed" else options.others
            counts = [found(changed(options.seed + number, wrong, kind), kind) for number in range(users)]
            unit = "contrary judgements" if kind == "reversed" else "judgements"
            curve = [(most if kind == "reversed" else 3 * most) for most in WITHIN]
            shares_found = "  ".join(f"{most}: {np.mean(np.array(counts) <= most):.3f}" for most in curve if users)
            print(f"{kind}, {wrong:.0%} wrong, {users} users, found within {unit}:  {shares_found}", flush=True)
        users = options.stay if main_row else options.others
        alarms = sum(staying(2 * options.seed + number, wrong, options.every) for number in range(users))
        print(f"stays, {wrong:.0%} wrong: {alarms} of {users} users are flagged in {EVENTS} judgements", flush=True)
    pairs = np.array([followed(changed(options.seed + number, 0.1, "reversed")) for number in range(options.others)])
    for name, counts_N in zip(("with", "without"), pairs.T if len(pairs) else (), strict=False):
        late = f"{np.mean(counts_N > max(WITHIN)):.2f} later than 20"
        print(f"{name} drift the new taste steers after {np.median(counts_N):.0f} contrary judgements, {late}")


if __name__ == "__main__":
    main()
