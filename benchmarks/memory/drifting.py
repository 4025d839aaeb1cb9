"""Simulated users whose taste stays or changes, and what they judge. Their rules see no model.

- An answer has a true style in [-1, 1] along each dimension of the catalogue, most of them weak: tanh of a normal
  number. What the memory reads of it is that plus noise (standard deviation 0.25).
- A user has one to three tastes, each with a strength in [0.5, 1]. An answer pleases by the sum of the tastes' signs
  times strengths times its true style; who is easily pleased starts above 0. So a judgement is about all their tastes
  at once, and most say little or nothing about the one that changes.
- Judgements are thumbs (40%), choices (20%), stars, edits and critiques without a wish in them (each 12 to 15%). Where
  an answer neither pleases nor displeases the user passes over it. An edit moves one style to the side that they like.
- They come in sittings, days apart. One in eight is a burst: five to fifteen judgements within the hour. One answer in
  six is judged two to four times in a row, by several kinds. One sitting in a hundred is a bad mood: nothing is liked.
- A share of judgements is wrong: the opposite of what the user meant. What is said in a row of one answer is wrong
  together.
- Who changes does so between two judgements, after 40 to 140 of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pad_memory import CATALOGUE, Choice, Critique, Edit, Feedback, Rating, Thumb
from pad_memory.evidence import Evidence, Recorded

__all__ = ["NAMES", "Told", "User", "draw"]

NAMES = tuple(dimension.name for dimension in CATALOGUE)
NOISE = 0.25  # of what is read of a style
VIEW = 0.2  # an answer that pleases less than this, and displeases less, is passed over
KINDS = {"thumb": 0.40, "choice": 0.20, "rating": 0.15, "edit": 0.12, "critique": 0.13}
BURST, MOOD, AGAIN = 1 / 8, 1 / 100, 1 / 6
HOUR, DAY = 3_600.0, 86_400.0

Style = Mapping[str, float]
Said = tuple[Feedback, tuple[dict[str, float], ...], bool]  # with what is read of the styles, and whether contrary


@dataclass(frozen=True)
class Told:
    """A judgement as the memory has it, and whether the taste before the change would have said the opposite."""

    record: Recorded
    contrary: bool


@dataclass
class User:
    """A simulated user.

    Args:
        tastes: dimension → signed strength.
        wrong: share of judgements that are wrong.
        rng: their luck.
        old: the tastes before the change, once it has come.
    """

    tastes: dict[str, float]
    wrong: float
    rng: random.Random
    lenience: float = 0.0
    old: dict[str, float] | None = None
    told: list[Told] = field(default_factory=list)

    def events(self, count: int) -> Iterator[Told]:
        """Go on judging, `count` judgements more."""
        until = len(self.told) + count
        while len(self.told) < until:
            clock = self.told[-1].record.event.time or 0.0 if self.told else 0.0
            clock += self.rng.expovariate(1 / (2 * DAY)) + HOUR
            burst = self.rng.random() < BURST
            mood = self.rng.random() < MOOD
            for _ in range(self.rng.randint(5, 15) if burst else self.rng.randint(1, 4)):
                for event, styles, contrary in self._of_one_answer(mood):
                    clock += self.rng.uniform(20, 200)
                    number = len(self.told)
                    record = Recorded(event.stamped(id=f"e{number}", time=clock), number, Evidence(styles=styles))
                    self.told.append(Told(record, contrary))
                    yield self.told[-1]
                    if len(self.told) == until:
                        return

    def change(self, dimension: str, to: float) -> None:
        """From now on like something else along one dimension."""
        self.old = dict(self.tastes)
        self.tastes[dimension] = to

    def _pleasure(self, style: Style, tastes: Mapping[str, float]) -> float:
        return sum(strength * style[name] for name, strength in tastes.items())

    def _of_one_answer(self, mood: bool) -> list[Said]:
        """What is said of one answer or two, each with what is read of the styles."""
        wrong = self.rng.random() < self.wrong
        while True:
            kinds = self.rng.choices(list(KINDS), list(KINDS.values()))
            if self.rng.random() < AGAIN:
                kinds += self.rng.sample(["thumb", "rating", "critique", "edit"], self.rng.randint(1, 3))
            key, first, second = f"{self.rng.getrandbits(48):x}", self._style(), self._style()
            said = [told for kind in kinds if (told := self._judged(kind, key, first, second, wrong, mood))]
            if said:
                return said

    def _style(self) -> dict[str, float]:
        return {name: math.tanh(self.rng.gauss(0.0, 1.0)) for name in NAMES}

    def _read(self, style: Style) -> dict[str, float]:
        return {name: max(-1.0, min(1.0, round(at + self.rng.gauss(0.0, NOISE), 4))) for name, at in style.items()}

    def _judged(self, kind: str, key: str, first: Style, second: Style, wrong: bool, mood: bool) -> Said | None:
        if kind == "edit":
            return self._edited(key, first, wrong)
        lenience = 0.0 if kind == "choice" else self.lenience

        def view(tastes: Mapping[str, float]) -> float:
            other = self._pleasure(second, tastes) if kind == "choice" else -lenience
            return self._pleasure(first, tastes) - other

        meant = view(self.tastes)
        if abs(meant) < VIEW and not mood:
            return None
        if mood and kind != "choice":
            meant = -abs(meant)
        says = -meant if wrong else meant
        before = 0.0 if self.old is None else view(self.old)
        contrary = abs(before) >= VIEW and before * view(self.tastes) < 0.0 and before * says < 0.0
        if kind == "choice":
            better, worse = (first, second) if says > 0 else (second, first)
            return Choice("q", f"{key} a", f"{key} b"), (self._read(better), self._read(worse)), contrary
        styles = (self._read(first),)
        if kind == "thumb":
            return Thumb("q", key, says > 0), styles, contrary
        if kind == "rating":
            stars = 3 + (1 if says > 0 else -1) * (2 if abs(says) > 0.8 else 1)
            return Rating("q", key, float(stars)), styles, contrary
        return (Critique("q", key, "hm"), styles, contrary) if says < 0 else None

    def _edited(self, key: str, style: Style, wrong: bool) -> Said | None:
        """The style that misses the user's taste most is moved to its other side; all others hardly."""
        name = min(self.tastes, key=lambda name: self.tastes[name] * style[name])
        if self.tastes[name] * style[name] > -VIEW:
            return None
        to = math.copysign(self.rng.uniform(0.4, 1.0), self.tastes[name])
        edited = {other: to if other == name else at + self.rng.gauss(0.0, 0.1) for other, at in style.items()}
        contrary = self.old is not None and self.old.get(name, 0.0) * to < 0.0 and not wrong
        better, worse = (style, edited) if wrong else (edited, style)
        return Edit("q", f"{key} a", edited=f"{key} b"), (self._read(better), self._read(worse)), contrary


def draw(seed: int, wrong: float = 0.1) -> User:
    """A user with one to three tastes."""
    rng = random.Random(seed)
    chosen = rng.sample(NAMES, rng.randint(1, 3))
    tastes = {name: rng.choice((-1, 1)) * rng.uniform(0.5, 1.0) for name in chosen}
    return User(tastes, wrong, rng, rng.uniform(-0.4, 0.4))
