"""Preference pairs of the demo: two answers to one question, and wishes that tell them apart.

`HELD_OUT_POLES` never occur together in a training wish; held-out topics and wordings are never trained on by the head.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pad_memory.catalogue import find
from recipes.demo_world import world
from recipes.demo_world.topics import TOPICS, Topic, capital
from recipes.demo_world.vocabulary import framed, vocabulary
from recipes.demo_world.wordings import CARRIERS, HELD_OUT_CARRIERS, NEW_KEYWORDS, REWORDED
from recipes.demo_world.world import DIMENSIONS

__all__ = [
    "DEV_TOPICS",
    "TEST_TOPICS",
    "TRAIN_TOPICS",
    "Pair",
    "draw_pair",
    "draw_spec",
    "is_held_out",
    "pole_name",
    "training_phrases",
    "training_wordings",
    "wordings",
]

Spec = dict[str, int]  # dimension → wanted pole
Words = Literal["seen", "reworded", "new_keywords"]
Split = Literal["dev", "test"]

_order = list(range(len(TOPICS)))
random.Random(7).shuffle(_order)
TEST_TOPICS: tuple[Topic, ...] = tuple(TOPICS[i] for i in _order[:40])
DEV_TOPICS: tuple[Topic, ...] = tuple(TOPICS[i] for i in _order[40:65])
TRAIN_TOPICS: tuple[Topic, ...] = tuple(TOPICS[i] for i in _order[65:])

HELD_OUT_POLES = (
    (("length", 0), ("humor", 0)),
    (("tone", 0), ("format", 0)),
    (("level", 1), ("examples", 0)),
    (("tone", 1), ("warnings", 0)),
    (("length", 1), ("level", 0)),
    (("humor", 1), ("examples", 1)),
    (("tone", 0), ("humor", 0)),
    (("format", 1), ("warnings", 1)),
    (("emoji", 0), ("level", 1)),
    (("emoji", 1), ("length", 0)),
)
_POLE_NAMES = {
    ("length", 0): "length:concise", ("length", 1): "length:detailed", ("tone", 0): "tone:formal",
    ("tone", 1): "tone:casual", ("humor", 0): "humor:humorous", ("humor", 1): "humor:serious",
    ("format", 0): "format:list", ("format", 1): "format:prose", ("level", 0): "level:simple",
    ("level", 1): "level:technical", ("examples", 0): "examples:examples", ("examples", 1): "examples:no-examples",
    ("warnings", 0): "warnings:warnings", ("warnings", 1): "warnings:no-warnings", ("emoji", 0): "emoji:emoji",
    ("emoji", 1): "emoji:no-emoji",
}  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """A question and two answers. `chosen` fits `spec`; `rejected` fits `mirror`: the same, some poles flipped."""

    topic: Topic
    question: str
    chosen: str
    rejected: str
    spec: Spec
    mirror: Spec


def is_held_out(spec: Spec) -> bool:
    """Whether the wish joins two poles that training never joins."""
    poles = set(spec.items())
    return any(first in poles and second in poles for first, second in HELD_OUT_POLES)


def pole_name(pole: tuple[str, int]) -> str:
    """The catalogue's name of a pole: ("length", 0) is "length:concise"."""
    return _POLE_NAMES[pole]


def draw_spec(rng: random.Random, low: int, high: int, held_out: bool) -> Spec:
    """Draw `low` to `high` dimensions with a pole each, joining held-out poles or never."""
    while True:
        names = rng.sample(DIMENSIONS, rng.randint(low, high))
        spec = {name: rng.randrange(2) for name in names}
        if is_held_out(spec) == held_out:
            return spec


def draw_pair(rng: random.Random, topics: Sequence[Topic], spec: Spec) -> Pair:
    """Two answers that differ in one or more dimensions of `spec`; in most pairs in nothing else."""
    topic = rng.choice(topics)
    style = {**world.random_style(rng), **spec}
    names = list(spec)
    flipped = rng.sample(names, 1 if rng.random() < 0.7 else rng.randint(1, len(names)))
    mirror = {name: 1 - pole if name in flipped else pole for name, pole in spec.items()}
    seed = rng.random()
    if rng.random() < 0.6:  # a minimal pair: the same choices of words elsewhere
        other, other_seed = {**style, **mirror}, seed
    else:
        other, other_seed = {**world.random_style(rng), **mirror}, rng.random()
    asked = world.question(topic, rng)
    chosen, rejected = (
        world.answer(topic, s, random.Random(words)) for s, words in ((style, seed), (other, other_seed))
    )
    return Pair(topic, asked, chosen, rejected, spec, mirror)


def wordings(spec: Spec, rng: random.Random, words: Words = "seen", split: Split = "test") -> list[str]:
    """Word each wish of `spec` as a text of its own.

    `seen` takes training wordings (the catalogue's and more) and carriers; `reworded` and `new_keywords` take held-out
    ones, with carriers that were never trained on half of the time. Each held-out list is cut in two: its first three
    serve the development split.
    """
    if words == "seen":
        return [_carry(rng.choice(training_phrases(pole)), rng.choice(CARRIERS)) for pole in spec.items()]
    table = REWORDED if words == "reworded" else NEW_KEYWORDS
    texts = []
    for pole in spec.items():
        phrases = table[_POLE_NAMES[pole]]
        phrase = rng.choice(phrases[:3] if split == "dev" else phrases[3:])
        texts.append(_carry(phrase, rng.choice(HELD_OUT_CARRIERS if rng.random() < 0.5 else CARRIERS)))
    return texts


def training_wordings(pole: tuple[str, int], size: int, rng: random.Random) -> list[str]:
    """Word one pole for training: every phrase of the catalogue and the vocabulary twice, and `size` framed words."""
    return [*training_phrases(pole) * 2, *(framed(_POLE_NAMES[pole], rng) for _ in range(size))]


@lru_cache(maxsize=16)
def training_phrases(pole: tuple[str, int]) -> tuple[str, ...]:
    """What asks for a pole in training: the catalogue's phrases and the vocabulary's sentences."""
    known = find(_POLE_NAMES[pole])[1]
    return (known.text, *known.paraphrases, *vocabulary(_POLE_NAMES[pole]).sentences)


def _carry(phrase: str, carrier: str) -> str:
    return carrier.format(p=phrase, P=capital(phrase))
