"""One language: its words, and how it turns a wish round. What its table does not surely know stays as it was said."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

__all__ = ["FILE", "Part", "Tongue", "bare", "tongues"]

FILE = Path(__file__).with_name("tongues.txt")
_COMMA = r"[,，、]"
_UNSPACED = ("zh", "ja")


class Part(NamedTuple):
    """A wish in a text: as it was said, what is left of it without what turns it round, and −1 where that is there."""

    said: str
    core: str
    sign: int


@dataclass(frozen=True)
class Tongue:
    """A language in which wishes are read.

    Args:
        code: ISO 639-1, "de"; "-" stands for all that nobody reads.
        name: "German".
        words: bare words that tell it from others.
        exam: what an embedder has to find in order to know it: (key of a pole, wording).
        signs: matches what makes a clause unclear or turns it round, as groups "clear", "turn" and "also".
        joints: matches what parts two wishes, as groups "and" and "but".
        courtesies: matches "please".
    """

    code: str
    name: str
    words: frozenset[str]
    exam: tuple[tuple[str, str], ...]
    signs: re.Pattern[str]
    joints: re.Pattern[str]
    courtesies: re.Pattern[str]

    def parts(self, sentence: str) -> tuple[Part, ...]:
        """The wishes in one sentence; empty where it is unclear which of them a negation is meant for, or what it does.

        >>> tongues()["de"].parts("sei kurz und bitte keine Emojis")
        (Part(said='sei kurz', core='sei kurz', sign=1), Part(said='keine Emojis', core='Emojis', sign=-1))
        """
        found: list[Part] = []
        sentence = self._without_courtesies(sentence)
        for joint, said in self._pieces(sentence):
            part = self._part(said)
            if part is None or not (joint == "but" or not found or self._apart(found[-1], part)):
                return ()
            found.append(part)
        return tuple(found)

    def _without_courtesies(self, sentence: str) -> str:
        kept, start = [], 0
        for match in self.courtesies.finditer(bare(sentence)):
            kept.append(sentence[start : match.start()])
            start = match.end()
        return " ".join(" ".join([*kept, sentence[start:]]).split())

    def _pieces(self, sentence: str) -> list[tuple[str, str]]:
        """The pieces between the joints, each with what is before it: "and", "but" or ""."""
        found, start, joint = [], 0, ""
        for match in self.joints.finditer(bare(sentence)):
            if re.search(r"\w", sentence[start : match.start()]):
                found.append((joint, sentence[start : match.start()].strip()))
                joint = ""
            start, joint = match.end(), "but" if "but" in (joint, match.lastgroup) else "and"
        if re.search(r"\w", sentence[start:]):
            found.append((joint, sentence[start:].strip()))
        return found

    def _part(self, said: str) -> Part | None:
        """Take out what turns a piece round; None where that is unclear."""
        turns, also, core, start = 0, 0, [], 0
        for match in self.signs.finditer(bare(said)):
            if match.lastgroup == "clear":
                return None
            turns += match.lastgroup == "turn"
            also += match.lastgroup == "also"
            core.append(said[start : match.start()])
            start = match.end()
        rest = " ".join(" ".join([*core, said[start:]]).split())
        if turns > 1 or not re.search(r"\w", rest):  # "no" alone turns away what was said before
            return None
        return Part(said, rest, -1 if turns or also else 1)

    def _apart(self, before: Part, part: Part) -> bool:
        """Whether no negation of two joined wishes may be meant for both: for the second one, it has to begin that."""
        if before.sign == part.sign:
            return True
        first = self.signs.search(bare(part.said))
        if before.sign < 0 or first is None or self.code in _UNSPACED:
            return False
        return all(word in self.words for word in re.findall(r"\w+", bare(part.said[: first.start()])))


def bare(text: str) -> str:
    """The text in lower case without accents, letter by letter: as long as it is in its composed form."""
    return "".join(_bare(letter) for letter in text)


@lru_cache(maxsize=4096)
def _bare(letter: str) -> str:
    if letter in "\u2018\u2019":
        return "'"
    if "\u3040" <= letter <= "\u30ff":  # が without its marks is か
        return letter
    return unicodedata.normalize("NFKD", letter)[0].lower()[:1] or letter


@lru_cache(maxsize=1)
def tongues() -> dict[str, Tongue]:
    """All languages of the table by code, that of those nobody reads the last."""
    found: dict[str, Tongue] = {}
    start, *blocks = FILE.read_text(encoding="utf-8").replace("\n  ", " ").split("\n# ")
    keys = [key.strip() for key in start.rpartition("\nkeys ")[2].split(";")]
    for block in blocks:
        head, *lines = [line for line in block.splitlines() if line and not line.startswith(";")]
        code, _, name = head.partition(" ")
        rows = {key: text.strip() for key, _, text in (line.partition(" ") for line in lines)}
        exam = rows.get("exam", "").split(";")
        found[code] = Tongue(
            code,
            name,
            frozenset(bare(rows.get("words", "")).split()),
            tuple((key, word.strip()) for key, each in zip(keys, exam, strict=False) for word in each.split("/")),
            _signs(code, rows),
            _joints(code, rows),
            _whole(_either(rows.get("please", "(?!)")), code),
        )
    return found


def _signs(code: str, rows: dict[str, str]) -> re.Pattern[str]:
    """At one place the unclear goes first, then the longer phrase."""
    groups = "|".join(f"(?P<{name}>{_either(rows[name])})" for name in ("clear", "turn", "also") if name in rows)
    return _whole(groups or "(?!)", code)


def _joints(code: str, rows: dict[str, str]) -> re.Pattern[str]:
    groups = "|".join(f"(?P<{name}>{_either(rows[name])})" for name in ("but", "and") if name in rows)
    return re.compile(rf"{_COMMA}|{_whole(groups or '(?!)', code).pattern}")


def _either(phrases: str) -> str:
    return "|".join(sorted((phrase.strip() for phrase in bare(phrases).split(";")), key=len, reverse=True))


def _whole(groups: str, code: str) -> re.Pattern[str]:
    return re.compile(groups if code in _UNSPACED else rf"(?<!\w)(?:{groups})(?!\w)")
