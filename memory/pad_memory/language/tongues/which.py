"""Which language a text is in, by its script and its small words; most wishes are a few words long."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from pad_memory.language.plain import LONGEST, THINGS, foreign, vocabulary
from pad_memory.language.tongues.tongue import Part, Tongue, bare, tongues

__all__ = ["parts_abroad", "tongues_of", "unread"]

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
_LATIN = re.compile(r"[a-z\u00c0-\u024f]", re.IGNORECASE)
_KANA = re.compile(r"[\u3041-\u30ff]")
_HAN = re.compile(r"[\u4e00-\u9fff\u3400-\u4dbf\u3005]")


def tongues_of(text: str) -> tuple[Tongue, ...]:
    """The languages a text may be in, all equally likely; none for English and what nobody reads here.

    >>> [tongue.name for tongue in tongues_of("Keine Emojis bitte")], tongues_of("no emojis please")
    (['German'], ())
    """
    letters = [letter for letter in text if letter.isalpha()]
    others = [letter for letter in letters if not _LATIN.match(letter)]
    known = tongues()
    if others:
        if not all(_KANA.match(letter) or _HAN.match(letter) or letter == "ー" for letter in others):
            return ()
        return (known["ja" if any(_KANA.match(letter) for letter in others) else "zh"],)
    words = _words(text)
    hits = {code: sum(word in tongue.words for word in words) for code, tongue in known.items() if code != "-"}
    most = max(hits.values())
    found = tuple(known[code] for code, count in hits.items() if count == most)
    strange = sum(word in known["-"].words for word in words)
    return found if most > max(strange, _english(words)) else ()


def parts_abroad(sentence: str) -> tuple[tuple[Tongue, ...], tuple[Part, ...]]:
    """The languages a sentence may be in, and the wishes in it; no wishes where that is not clear in all of them."""
    sentence = unicodedata.normalize("NFC", sentence)
    found = tongues_of(sentence)
    readings = [tongue.parts(sentence) for tongue in found]
    if not readings or any([part.sign for part in one] != [part.sign for part in readings[0]] for one in readings):
        return found, ()
    return found, readings[0]


@lru_cache(maxsize=16_384)
def unread(text: str) -> str | None:
    """The language of a text that the English rules do not read, "German", or "another language"; None for English.

    >>> unread("Keine Emojis bitte"), unread("Ei emojeita, kiitos"), unread("no emojis please")
    ('German', 'another language', None)
    """
    text = text[:LONGEST]
    if found := tongues_of(text):
        return found[0].name if len(found) == 1 else "another language"
    letters = [letter for letter in text if letter.isalpha()]
    if 2 * sum(not _LATIN.match(letter) for letter in letters) > len(letters):
        return "another language"
    words = _words(text)
    strange = foreign(text) or any(word in tongues()["-"].words for word in words)
    return "another language" if strange and _english(words) <= len(words) / 2 else None


def _words(text: str) -> list[str]:
    return [part for word in _WORD.findall(bare(text)) for part in {word, *word.split("'")}]


def _english(words: list[str]) -> int:
    return sum(word in vocabulary() and word not in THINGS for word in words)
