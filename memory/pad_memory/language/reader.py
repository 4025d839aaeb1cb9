"""Reads wishes from words: which pole of which dimension "never use emojis" asks for, without an LLM.

Sentence embeddings know what a text is about but hardly whether it is wanted: "use emojis" and "do not use emojis" are
neighbours. So negation is taken out first. Every catalogue wording and every clause of the user becomes (core, sign):
the words that are left, and whether an odd number of negations was removed. A negated wording of "no-emoji" is a plain
wording of "emoji". A ridge classifier on the cores names the pole, and the clause's own sign turns it round.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder, embed
from pad_memory.language.courtesies import without_filler
from pad_memory.language.plain import LONGEST, tidy, understood
from pad_memory.language.polarity import long_forms, polarity, taken_back
from pad_memory.language.scopes import THREAD, Scoped, scoped_parts
from pad_memory.paths import replacing

__all__ = ["KEPT", "Reader", "Reading", "ReadsWishes"]

logger = logging.getLogger(__name__)

KEPT = "catalogue.npz"

_CLAUSE = re.compile(
    r"[.;!?\n。！？；，、]+|,| but "
    r"| and (?=(?:please |also |do |don|never |no |not |use |be |keep |add |give |with |stop ))"
)
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


# Words people use for a pole that no head has to be trained on.
_SYNONYMS = {
    "length:concise": "be terse; terse; be succinct; laconic; crisp; snappy; pithy; curt; stick to the point",
    "length:detailed": "exhaustive; comprehensive; elaborate; extensive; go deep; long-winded; wordy; verbose",
    "tone:formal": "courteous; businesslike; stiff; official",
    "tone:casual": "chatty; laid-back; colloquial; informal; relaxed",
    "humor:humorous": "witty; funny; hilarious; jokes; puns; humor; play the clown",
    "humor:serious": "earnest; sober; matter-of-fact; deadpan",
    "format:list": "bulleted; itemized; bullet points; bullets; lists",
    "format:prose": "paragraphs; flowing text; prose; running text",
    "level:simple": "layman's terms; simple; basic; easy; dumb it down",
    "level:technical": "rigorous; scholarly; complicated; technical; scientific; jargon; technical terms",
    "examples:examples": "examples; illustrations; sample cases",
    "warnings:warnings": "warnings; caveats; disclaimers; safety notices; risks; dangers",
    "emoji:emoji": "emojis; emoticons; smileys",
}


# Words of the catalogue that other languages have as well.
THINGS = frozenset(
    "emoji emojis emoticon emoticons smiley smileys formal formel formale casual informal humor list lista listas liste"
    " listen lists jargon ironic neutral professional detail details direct text note bullet bullets technical"
    " icon icons elegant original normal special serious colorful format".split()
)


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

    def __init__(self, catalogue: Sequence[Dimension], embedder: Embedder, folder: Path | None = None) -> None:
        self._folder = folder
        self._catalogue = tuple(catalogue)
        self._embedder = embedder
        self._fitted: _Ridge | None = None
        self._exact = {
            long_forms(wording): _Pole(dimension, f"{dimension.name}:{pole.name}")
            for dimension in self._catalogue
            for pole in dimension.poles
            for wording in (pole.text, *pole.paraphrases, *_synonyms(f"{dimension.name}:{pole.name}"))
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
        if self._fitted is None:
            self._fitted = _Ridge(self._catalogue, self._embedder, self._folder)
        about_ND, side_ND, near_N = self._fitted.scores(texts)
        found = []
        for text, known, about_D, side_D, near in zip(texts, exact, about_ND, side_ND, near_N, strict=True):
            if known:
                found.append(known)
                continue
            best = int(about_D.argmax())
            unsure = near < self.NEAR or about_D[best] < self.ABOUT
            if unsure or _NAME.search(text) or not understood(text, THINGS):
                found.append(_Pole())
                continue
            dimension = self._catalogue[best]
            name = dimension.poles[0 if side_D[best] > 0 else 1].name
            sure = abs(side_D[best]) >= self.SIDE
            found.append(_Pole(dimension, f"{dimension.name}:{name}" if sure else None))
        return found


class _Pole(NamedTuple):
    """What a clause is about, and the key of the pole it asks for; each None where that is not clear."""

    dimension: Dimension | None = None
    key: str | None = None


def _synonyms(key: str) -> list[str]:
    return _SYNONYMS[key].split("; ") if key in _SYNONYMS else []


class _Ridge:
    """Ridge regressions on the cores of the catalogue's wordings: which of D dimensions, and which pole of it (±1)."""

    PENALTY = 1.0

    def __init__(self, catalogue: tuple[Dimension, ...], embedder: Embedder, folder: Path | None) -> None:
        self._embedder = embedder
        wordings = [
            (wording, row, side)
            for row, dimension in enumerate(catalogue)
            for pole, side in zip(dimension.poles, (1, -1), strict=True)
            for wording in (pole.text, *pole.paraphrases, *_synonyms(f"{dimension.name}:{pole.name}"))
        ]
        self._core_NF, sign_N = self._features([wording for wording, _, _ in wordings], folder)
        about_ND = np.zeros((len(wordings), len(catalogue)))
        about_ND[np.arange(len(wordings)), [row for _, row, _ in wordings]] = 1.0
        side_ND = about_ND * (sign_N * [side for _, _, side in wordings])[:, None]
        gram_FF = self._core_NF.T @ self._core_NF + self.PENALTY * np.eye(self._core_NF.shape[1])
        self._about_FD, self._side_FD = (
            np.linalg.solve(gram_FF, self._core_NF.T @ target_ND) for target_ND in (about_ND, side_ND)
        )

    def scores(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (about_ND, side_ND, near_N) for N texts."""
        core_NF, sign_N = self._features([without_filler(text) or text for text in texts])
        near_N = np.sort(core_NF[:, :-1] @ self._core_NF[:, :-1].T, axis=1)[:, -3:].mean(axis=1)
        return core_NF @ self._about_FD, core_NF @ self._side_FD * sign_N[:, None], near_N

    def _features(self, texts: list[str], folder: Path | None = None) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings of the texts' cores with a constant 1 appended [N, E + 1], and the texts' signs [N]."""
        cores, signs = zip(*(polarity(text) for text in texts), strict=True)
        vectors_NE = _kept(folder, self._embedder, cores).astype(np.float64)
        return np.hstack([vectors_NE, np.ones((len(texts), 1))]), np.array(signs, dtype=np.float64)


def _kept(folder: Path | None, embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Embed texts [N, E], or take their vectors from the file in `folder` where an earlier process put them."""
    if folder is None:
        return embed(embedder, texts)
    key = hashlib.sha256(json.dumps([embedder.name, *texts]).encode()).hexdigest()
    path = folder / KEPT
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as kept:
            if str(kept["key"]) == key:
                found: np.ndarray = kept["vectors"]
                return found
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        pass  # not there, damaged or of another version: it is only a copy, and written anew
    vectors_NE = embed(embedder, texts)
    try:
        with replacing(path) as file:
            np.savez(file, key=np.array(key), vectors=vectors_NE)
    except OSError as error:  # a full disk costs time, not the wish
        logger.debug("The vectors of the catalogue's wordings are not kept for the next process: %s", error)
    return vectors_NE
