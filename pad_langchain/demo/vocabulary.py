"""Training wordings for the reward head: hundreds of words for every pole, and the frames they stand in.

`words/` holds a file for each pole. Its words are qualities of an answer, things in it, what the writer does, and who
writes so; its sentences are whole wishes. A frame either asks for its word or turns it away ("skip the {w}"), and a
word turned away asks for the opposite pole. The memory reads wishes with the catalogue's wordings, which stay few so
that they load quickly.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pad_memory.catalogue import find

__all__ = ["Words", "framed", "vocabulary"]

KINDS = ("qualities", "things", "deeds", "people")
_NEGATED = re.compile(r"\b(no|not|non|never|nothing|without|sans|free|less|don't|avoid|skip|stop|drop|cut|leave)\b")


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


# Few plain frames read better on new words than many: thirty frames a kind cost five points.
WANTED = {
    "qualities": ("be {w}", "{w} answers"),
    "things": ("use {w}", "add {w}", "{w} please"),
    "deeds": ("{w}",),
    "people": ("talk like {w}",),
}
UNWANTED = {
    "qualities": _phrases(
        """don't be {w}; not so {w}; too {w}; less {w}; stop being {w}; you are too {w}; {w} answers annoy me; nothing
        {w}; I hate {w} answers; never be {w}; that was far too {w}; I don't like {w} replies; no {w} answers; avoid
        {w} answers; it need not be {w}; I can't stand {w} texts; way too {w}; anything but {w}; not {w} please; I
        don't want it {w}; why so {w}; you needn't be {w}; stop the {w} tone; I am tired of {w} replies"""
    ),
    "things": _phrases(
        """no {w}; skip the {w}; drop the {w}; leave out the {w}; without {w}; stop the {w}; spare me the {w}; I hate
        {w}; fewer {w}; don't use {w}; I don't want {w}; never use {w}; enough of the {w}; cut the {w}; stop using
        {w}; avoid {w}; I can do without {w}; lose the {w}; free of {w}; too many {w}; {w} annoy me; I don't need {w};
        leave {w} out; omit {w}; no more {w}; {w} are useless to me; please no {w}; I dislike {w}; keep the {w} away
        from me; ban the {w}; remove the {w}; get rid of the {w}; don't give me {w}; I never asked for {w}; not a fan
        of {w}; {w} distract me; forget about {w}; stay away from {w}; stop adding {w}; no need for {w}"""
    ),
    "deeds": _phrases(
        """don't {w}; please don't {w}; never {w}; no need to {w}; you needn't {w}; I don't like it when you {w}; do not
        {w}; you don't have to {w}; I don't want you to {w}; why do you always {w}; you {w} too much; it annoys me
        when you {w}; I asked you not to {w}; try not to {w}; there is no reason to {w}; refuse to {w}"""
    ),
    "people": _phrases(
        """don't talk like {w}; you are not {w}; you sound like {w}; don't write like {w}; stop acting like {w};
        don't be {w}; I don't want to hear {w}; not like {w}; less like {w}; anything but {w}"""
    ),
}


def framed(pole: str, rng: random.Random, unwanted: float = 0.0) -> str:
    """Word a pole: one of its own words asked for or, for the share `unwanted`, one of its opposite's turned away."""
    dimension = find(pole)[0]
    other = next(name for each in dimension.poles if (name := f"{dimension.name}:{each.name}") != pole)
    wanted = rng.random() >= unwanted
    kind = rng.choice(KINDS)
    word = rng.choice(getattr(vocabulary(pole if wanted else other), kind))
    if not wanted and _NEGATED.search(word):  # "don't be without jokes" is nothing people say
        wanted, word = True, rng.choice(getattr(vocabulary(pole), kind))
    return rng.choice((WANTED if wanted else UNWANTED)[kind]).format(w=word)
