"""Wishes of the user's own, which fit no dimension: is a new one about the same matter as one that stands?

"Call me Max" replaces "call me Sam", "you may talk about politics" replaces "never talk about politics", and the same
wish in other words counts up. That is settled once, when the event is recorded, and kept with it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pad_memory.embedding import Embedder, embed
from pad_memory.language.polarity import polarity, without_filler
from pad_memory.language.reader import Reading
from pad_memory.profile.wishes import Wishes

__all__ = ["settled"]

SAME = 0.9  # least cosine of two wishes that are the same in other words
OPPOSED = 0.75  # least cosine of a wish and what speaks against it, without their negations
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


def settled(readings: Sequence[Reading], wishes: Wishes, embedder: Embedder) -> tuple[Reading, ...]:
    """Give readings of the user's own words the key of the matter they are about, given the wishes that stand.

    One that takes back a wish nobody knows is dropped.
    """
    found = []
    for reading in readings:
        if reading.key is not None:
            found.append(reading)
            continue
        key, replaces = _about(reading, wishes, embedder)
        if key is not None or not reading.ends:
            found.append(replace(reading, key=key, replaces=replaces))
    return tuple(found)


def _about(reading: Reading, wishes: Wishes, embedder: Embedder) -> tuple[str | None, bool]:
    core, sign = polarity(reading.text)
    if sign > 0 and not reading.ends:
        for key, pattern in _MATTERS.items():
            if pattern.search(core):
                stands = wishes.standing.get((key, reading.scope))
                return key, stands is not None and without_filler(stands.text) != without_filler(reading.text)
    own = [wish for (name, scope), wish in wishes.standing.items() if name[:5] == "text:" and scope == reading.scope]
    if not own:
        return None, False
    others = [polarity(wish.text) for wish in own]
    vectors_NE = embed(embedder, [core, *(other for other, _ in others)])
    cosines = vectors_NE[1:] @ vectors_NE[0]
    best = int(cosines.argmax())
    if reading.ends or sign != others[best][1]:
        return (own[best].key, not reading.ends) if cosines[best] >= OPPOSED else (None, False)
    return (own[best].key, False) if cosines[best] >= SAME else (None, False)
