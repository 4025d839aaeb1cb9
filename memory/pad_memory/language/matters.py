"""Wishes of the user's own, which fit no dimension: is a new one about the same matter as one that stands?

"Call me Max" replaces "call me Sam", "you may talk about politics" replaces "never talk about politics", and the same
wish in other words counts up. That is found out once, when the event is recorded, and kept with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pad_memory.embedding import Embedder, embed
from pad_memory.language.courtesies import without_filler
from pad_memory.language.polarity import polarity
from pad_memory.language.reader import Reading

__all__ = ["place"]

SAME = 0.9  # least cosine of two wishes that are the same in other words
OPPOSED = 0.75  # least cosine of a wish and what speaks against it, without their negations
NEWEST = 512  # of a user's wishes that a new one is compared with
_LANGUAGES = """english|german|french|spanish|italian|portuguese|dutch|danish|swedish|norwegian|finnish|polish|czech
|russian|ukrainian|greek|turkish|arabic|hebrew|persian|hindi|urdu|bengali|tamil|chinese|mandarin|japanese|korean
|vietnamese|thai|indonesian|malay|swahili|hungarian|romanian|bulgarian|croatian|serbian|catalan|latin"""
# Matters of which there is one answer at a time.
_MATTERS = {
    "text:name": re.compile(r"\b(?:call|address) me\b|\bmy name is\b|\bi am called\b|\bi go by\b"),
    "text:language": re.compile(
        rf"\b(?:answer|reply|respond|write|speak|talk|explain|use|switch)\b.*\b(?:{''.join(_LANGUAGES.split())})\b"
    ),
    "text:units": re.compile(r"\b(?:metric|imperial|us customary) (?:units?|system|measure\w*)\b"),
    "text:spelling": re.compile(r"\b(?:british|american|australian|us|uk) (?:spelling|english)\b"),
}


def place(readings: Sequence[Reading], standing: Sequence[Reading], embedder: Embedder) -> tuple[Reading, ...]:
    """Give readings of the user's own words the key of the matter they are about.

    One that takes back a wish nobody knows is dropped.

    Args:
        readings: of a new event, in its order.
        standing: the wishes of the user's own that stand, as they were read, each with its key and scope.
        embedder: any sentence embedder.
    """
    placed = []
    for reading in readings:
        if reading.key is not None:
            placed.append(reading)
            continue
        same_scope = [wish for wish in standing if wish.scope == reading.scope]
        key, replaces = _about(reading, same_scope, embedder)
        if key is not None or not reading.ends:
            placed.append(replace(reading, key=key, replaces=replaces))
    return tuple(placed)


def _about(reading: Reading, standing: Sequence[Reading], embedder: Embedder) -> tuple[str | None, bool]:
    """The key of the matter a reading is about, None where it is a new one; and whether it replaces what stands."""
    core, sign = polarity(reading.text)
    if sign > 0 and not reading.ends:
        for key, pattern in _MATTERS.items():
            if pattern.search(core):
                before = next((wish for wish in standing if wish.key == key), None)
                return key, before is not None and without_filler(before.text) != without_filler(reading.text)
    standing = standing[-NEWEST:]
    if not standing:
        return None, False
    others = [polarity(wish.text) for wish in standing]
    vectors_NE = embed(embedder, [core, *(other for other, _ in others)])
    cosines = vectors_NE[1:] @ vectors_NE[0]
    best = int(cosines.argmax())
    if reading.ends or sign != others[best][1]:
        return (standing[best].key, not reading.ends) if cosines[best] >= OPPOSED else (None, False)
    return (standing[best].key, False) if cosines[best] >= SAME else (None, False)
