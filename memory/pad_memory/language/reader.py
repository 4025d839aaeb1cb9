"""Reads wishes from words: which pole of which dimension "never use emojis" asks for, without an LLM.

Sentence embeddings know what a text is about but hardly whether it is wanted: "use emojis" and "do not use emojis" are
neighbours. So negation is taken out first. Every catalogue wording and every clause of the user becomes (core, sign):
the words that are left, and whether an odd number of negations was removed. A negated wording of "no-emoji" is a plain
wording of "emoji". A ridge classifier on the cores names the pole, and the clause's own sign turns it round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder
from pad_memory.language.courtesies import without_filler
from pad_memory.language.plain import LONGEST, THINGS, tidy, understood
from pad_memory.language.polarity import long_forms, taken_back
from pad_memory.language.ridge import PoleRidge, synonyms
from pad_memory.language.scopes import THREAD, Scoped, scoped_parts
from pad_memory.language.tongues import Part, Tongue, parts_abroad, tongues_of

__all__ = ["Reader", "Reading", "ReadsWishes"]

_CLAUSE = re.compile(
    r"[.;!?\n。！？；，、]+|,| but "
    r"| and (?=(?:please |also |do |don|never |no |not |use |be |keep |add |give |with |stop ))"
)
_SENTENCE = re.compile(r"[.;!?\n。！？；]+")
# A name is the user's own, whatever it is near to: "call me Captain" asks for no formal tone.
_NAME = re.compile(r"\b(?:(?:call|address)\s+me|refer\s+to\s+me|my\s+name\s+is|i\s+go\s+by)\b", re.IGNORECASE)
_REFUSED = re.compile(r"\?\s+(?=(?:no\b|never\b|nope\b|not for me\b|please don))", re.IGNORECASE)  # "emojis? no thanks"


@dataclass(frozen=True)
class Reading:
    """One wish found in a user's words.

    Args:
        text: the clause it was read from, as the user wrote it, without its scope.
        key: the pole of the catalogue it asks for, "length:concise", or "text:…" of an earlier wish of the user's own;
            None means it is a new one of their own.
        scope: what it is limited to: "code", or `pad_memory.language.scopes.THREAD`; None means nothing.
        ends: the wish is taken back: "I used to like short answers".
        replaces: it replaces what stood in its place, even under the same key.
        since, until: Unix seconds from and up to which it holds; None means from when it was said, and for good.
        answers: for how many answers it holds; None means any number.
    """

    text: str
    key: str | None
    scope: str | None = None
    ends: bool = False
    replaces: bool = False
    since: float | None = None
    until: float | None = None
    answers: int | None = None

    def to_dict(self) -> dict[str, Any]:
        limits = ("since", "until", "answers")
        return {name: value for name, value in asdict(self).items() if name not in limits or value is not None}


class ReadsWishes(Protocol):
    """Finds wishes in words: the built-in `Reader`, or one that asks a chat model."""

    def read(self, text: str, *, keep_rest: bool = True) -> Sequence[Reading]: ...


class Reader:
    """Names the poles of a catalogue that a text asks for.

    Args:
        catalogue: the dimensions to choose from.
        embedder: any sentence embedder; it sees every wording of the catalogue once, at the first text that is none of
            them.
        folder: where the vectors of these wordings are kept for the next process; None means nowhere.
    """

    # A clause that is not clearly about a dimension, or not clearly for one pole, stays the user's own wording.
    # Chosen on the 60 wishes for catalogue dimensions and the 46 for something else in test_memory_reading.py.
    NEAR = 0.50  # mean cosine to the three nearest wordings
    ABOUT = 0.50  # ridge score of the best dimension, about 1 for a wording of the catalogue
    SIDE = 0.15  # absolute ridge score of the pole, about 1 for a wording of the catalogue
    # In another language, whose words an embedder knows less well; chosen on tests/data/tongues.
    SIDE_ABROAD = 0.18  # of one wish
    SIDE_JOINED = 0.25  # of several that are none by themselves: "een losse, informele toon"
    # An embedder knows a language if the English wordings tell it the poles of so many of that language's wordings.
    EXAM = 0.7  # share of 26; all-MiniLM-L6-v2 has at most 0.62 (French), multilingual ones 0.77 to 1

    def __init__(self, catalogue: Sequence[Dimension], embedder: Embedder, folder: Path | None = None) -> None:
        self._folder = folder
        self._catalogue = tuple(catalogue)
        self._embedder = embedder
        self._fitted: PoleRidge | None = None
        self._abroad: dict[str, PoleRidge | None] = {}  # by language; None: the embedder does not know it
        self._exact = {
            long_forms(wording): _Pole(dimension, f"{dimension.name}:{pole.name}")
            for dimension in self._catalogue
            for pole in dimension.poles
            for wording in (pole.text, *pole.paraphrases, *synonyms(f"{dimension.name}:{pole.name}"))
        }

    def read(self, text: str, *, keep_rest: bool = True) -> tuple[Reading, ...]:
        """Return the wishes in `text`, in its order, at most one for each dimension.

        Args:
            text: what the user said: "be brief, and no jokes please". One over 2,000 characters is a document: no wish
                is looked for in it.
            keep_rest: also return what fits no dimension, as wishes of their own. If nothing fits, that is the
                whole text.
        """
        said = text.strip()
        text = tidy(said)
        if len(text) > LONGEST:
            return (Reading(said, None),) if keep_rest else ()
        if exact := self._exact.get(long_forms(text)):
            return (Reading(text, exact.key),)
        sentences = [sentence.strip() for sentence in _SENTENCE.split(text) if len(sentence.strip()) > 1]
        if any(tongues_of(sentence) for sentence in sentences):
            return self._read_abroad(said, sentences, keep_rest)
        return self._read_at_home(text, keep_rest)

    def _read_at_home(self, text: str, keep_rest: bool) -> tuple[Reading, ...]:
        parts = [self._resolved(part) for part in scoped_parts(text)]
        if not any(part.scope for part in parts):
            parts = [Scoped(text)]
        found: dict[tuple[str, str | None, bool], Reading] = {}
        for part in parts:
            for reading in self._read(part.text, part.scope, keep_rest):
                slot = (
                    reading.key if reading.ends else (reading.key or reading.text).partition(":")[0]
                ) or reading.text
                found[slot, reading.scope, reading.ends] = reading
        return tuple(found.values())

    def _read_abroad(self, text: str, sentences: list[str], keep_rest: bool) -> tuple[Reading, ...]:
        """The wishes in a text of which some sentence is in another language; all of it is one where that is unclear.

        A word beside such a sentence may be what it is about ("Emojis? Nein, danke"), so that one alone is not read.
        """
        found: list[Reading] = []
        for sentence in sentences:
            tongues, parts = parts_abroad(sentence)
            if tongues:
                found += self._wishes_abroad(sentence, tongues, parts)
            else:
                plain = len(sentence.split()) > 1
                found += self._read_at_home(sentence, True) if plain else (Reading(sentence, None),)
        keys = {reading.key for reading in found if reading.key is not None}
        if re.search(r"[?？]", text) or len({key.partition(":")[0] for key in keys}) < len(keys) or not keys:
            found = [Reading(text, None)]
        read = {(reading.key or reading.text, reading.scope, reading.ends): reading for reading in found}
        return tuple(reading for reading in read.values() if keep_rest or reading.key is not None)

    def _wishes_abroad(self, sentence: str, tongues: Sequence[Tongue], parts: Sequence[Part]) -> list[Reading]:
        """The wishes in one sentence, by its parts or as a whole; none where these contradict each other."""
        known = [ridge for tongue in tongues if (ridge := self._taught(tongue)) is not None]
        if not known or not parts:
            return [Reading(sentence, None)]
        keys = self._poles_abroad(known[0], parts, self.SIDE_ABROAD)
        whole = None
        if len(parts) > 1 and len({part.sign for part in parts}) == 1:
            joined = Part(sentence, " ".join(part.core for part in parts), parts[0].sign)
            (whole,) = self._poles_abroad(known[0], [joined], self.SIDE_JOINED)
        named = {key for key in (whole, *keys) if key is not None}
        if len({key.partition(":")[0] for key in named}) < len(named):
            return [Reading(sentence, None)]
        if not any(keys):
            return [Reading(sentence, whole)]
        return [Reading(part.said, key) for part, key in zip(parts, keys, strict=True)]

    def _poles_abroad(self, ridge: PoleRidge, parts: Sequence[Part], side: float) -> list[str | None]:
        scores = ridge.scored([part.core for part in parts])
        return [
            self._pole(about_D, side_D * part.sign, near, side=side).key
            for part, about_D, side_D, near in zip(parts, *scores, strict=True)
        ]

    def _taught(self, tongue: Tongue) -> PoleRidge | None:
        """What finds wishes in a language; None where the embedder does not know it."""
        if tongue.code not in self._abroad:
            have = {f"{dimension.name}:{pole.name}" for dimension in self._catalogue for pole in dimension.poles}
            exam = [(key, wording) for key, wording in tongue.exam if key in have]
            home = self._ridge()
            scores = zip(*home.scored([wording for _, wording in exam]), strict=True) if exam else ()
            named = [self._pole(about_D, side_D, near, whatever=True).key for about_D, side_D, near in scores]
            right = sum(key == name for (key, _), name in zip(exam, named, strict=True))
            self._abroad[tongue.code] = home.taught(exam) if right > self.EXAM * len(exam) else None
        return self._abroad[tongue.code]

    def opposites(self, text: str) -> tuple[str | None, ...]:
        """Return for each wish in `text` what asks for its opposite: the wording of its dimension's other pole.

        None stands for a wish that has none: it fits no dimension, or is taken back. What a wish is limited to, its
        opposite is limited to.
        """
        return tuple(self._opposite(reading) for reading in self.read(text))

    def _opposite(self, reading: Reading) -> str | None:
        if reading.key is None or reading.ends:
            return None
        name, _, side = reading.key.partition(":")
        poles = next(dimension.poles for dimension in self._catalogue if dimension.name == name)
        other = next(pole.text for pole in poles if pole.name != side)
        return other if reading.scope in (None, THREAD) else f"{other} for {reading.scope}"

    def _resolved(self, part: Scoped) -> Scoped:
        """Decide on a loose scope: "be formal in emails" has one, "answer in detail" has not."""
        if part.loose is None or part.scope is None:
            return part
        wish, topic = self._keys([part.text, part.scope])
        limited = wish.key and not topic.key and len(without_filler(part.text).split()) > 1
        return Scoped(part.text, part.scope) if limited else Scoped(part.loose)

    def _read(self, text: str, scope: str | None, keep_rest: bool) -> Iterator[Reading]:
        text = _REFUSED.sub(" ", text)
        clauses = [clause.strip() for clause in _CLAUSE.split(text) if clause and len(clause.strip()) > 1]
        taken = [taken_back(clause) for clause in (text, *clauses)]
        plain = [clause if back is None else back[0] for clause, back in zip((text, *clauses), taken, strict=True)]
        poles = self._keys(plain)
        if len(clauses) < 2 or not any(pole.key for pole in poles[1:]):
            found = [(text.strip(), plain[0], taken[0], poles[0])]
        else:
            found = list(zip(clauses, plain[1:], taken[1:], poles[1:], strict=True))
        for clause, core, back, pole in found:
            if back and back[1] and pole.dimension:
                for side in pole.dimension.poles:
                    yield Reading(clause, f"{pole.dimension.name}:{side.name}", scope, ends=True)
            elif pole.key:
                yield Reading(clause, pole.key, scope, ends=back is not None)
            elif keep_rest and (
                len(found) == 1 or len(without_filler(clause).split()) > 1 or any(c > "\u02ff" for c in clause)
            ):
                yield Reading(clause if back is None else core, None, scope, ends=back is not None)

    def _keys(self, texts: list[str]) -> list[_Pole]:
        exact = [self._exact.get(long_forms(text)) for text in texts]
        if all(exact):
            return [pole for pole in exact if pole]
        about_ND, side_ND, near_N = self._ridge().scores(texts)
        found = []
        for text, known, about_D, side_D, near in zip(texts, exact, about_ND, side_ND, near_N, strict=True):
            if known:
                found.append(known)
                continue
            strange = _NAME.search(text) or not understood(text, THINGS)
            found.append(_Pole() if strange else self._pole(about_D, side_D, near))
        return found

    def _ridge(self) -> PoleRidge:
        if self._fitted is None:
            self._fitted = PoleRidge(self._catalogue, self._embedder, self._folder)
        return self._fitted

    def _pole(
        self, about_D: np.ndarray, side_D: np.ndarray, near: float, *, side: float = SIDE, whatever: bool = False
    ) -> _Pole:
        """The pole that scores name, if they are clear enough, or any."""
        best = int(about_D.argmax())
        if not whatever and (near < self.NEAR or about_D[best] < self.ABOUT):
            return _Pole()
        dimension = self._catalogue[best]
        name = dimension.poles[0 if side_D[best] > 0 else 1].name
        sure = whatever or abs(side_D[best]) >= side
        return _Pole(dimension, f"{dimension.name}:{name}" if sure else None)


class _Pole(NamedTuple):
    """What a clause is about, and the key of the pole it asks for; each None where that is not clear."""

    dimension: Dimension | None = None
    key: str | None = None
