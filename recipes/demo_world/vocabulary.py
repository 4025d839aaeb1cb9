"""Training wordings for the reward head: hundreds of words for every pole, and the plain frames they stand in.

`words/` holds a file for each pole. Its words are qualities of an answer, things in it, what the writer does, and who
writes so; its sentences are whole wishes. The memory reads wishes with the catalogue's wordings, which stay few so
that they load quickly.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Words", "framed", "vocabulary"]

KINDS = ("qualities", "things", "deeds", "people")


@dataclass(frozen=True)
class Words:
    """A pole's words by kind, and whole sentences that ask for it."""

    qualities: tuple[str, ...]
    things: tuple[str, ...]
    deeds: tuple[str, ...]
    people: tuple[str, ...]
    sentences: tuple[str, ...]


def _phrases(text: str) -> tuple[str, ...]:
    """Split phrases parted by semicolons, over any number of lines."""
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


@lru_cache(maxsize=32)
def vocabulary(pole: str) -> Words:
    """Read the words of a pole, named as `pad_memory.catalogue.find` names it ("length:concise")."""
    text = (Path(__file__).parent / "words" / f"{pole.replace(':', '_')}.txt").read_text()
    blocks = re.split(r"(?m)^\[(\w+)\]$", text)[1:]
    return Words(**dict(zip(blocks[::2], map(_phrases, blocks[1::2]), strict=True)))


# Few and plain: thirty frames a kind, or frames that turn the opposite's words away, read new words worse.
FRAMES = {
    "qualities": ("be {w}", "{w} answers"),
    "things": ("use {w}", "add {w}", "{w} please"),
    "deeds": ("{w}",),
    "people": ("talk like {w}",),
}


def framed(pole: str, rng: random.Random) -> str:
    """Ask for one of a pole's own words in a plain frame."""
    kind = rng.choice(KINDS)
    return rng.choice(FRAMES[kind]).format(w=rng.choice(getattr(vocabulary(pole), kind)))
