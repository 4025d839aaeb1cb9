"""Reads wishes from words: which pole of which dimension "never use emojis" asks for, without an LLM.

Sentence embeddings know what a text is about but hardly whether it is wanted: "use emojis" and "do not use emojis" are
neighbours. So negation is taken out first. Every catalogue wording and every clause of the user becomes (core, sign):
the words that are left, and whether an odd number of negations was removed. A negated wording of "no-emoji" is a plain
wording of "emoji". A ridge classifier on the cores names the pole, and the clause's own sign turns it round.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pad_memory.catalogue import Dimension
from pad_memory.embedding import Embedder, embed

__all__ = ["Reader", "Reading", "polarity"]


def _any_of(phrases: str) -> re.Pattern[str]:
    """Match any of some regular expressions parted by semicolons, as whole words, the longest first."""
    parts = sorted((" ".join(phrase.split()) for phrase in phrases.split(";")), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(parts)})\b")


# What looks like a negation but asks for the thing: an absence complained of, or an encouragement.
_WANTED = _any_of(
    """there (?:was|were|is|are) (?:no|not enough|too few|too little|hardly any|never any);
    (?:you )?(?:gave|used|made|told|wrote|offered|had) (?:me )?no; you (?:never|did not|do not|have not)(?: ever)?;
    (?:do not|never) (?:forget|hesitate|be afraid|be shy|hold back|skimp)(?: (?:to|on|with|of))?;
    not (?:nearly |quite )?enough; too few; too little; not without; never without; lack(?:s|ing|ed)?;
    miss(?:ing|es|ed)?; no problem with; no matter how; not only; not just; forgot(?: the)?; why not"""
)
_NEGATION = _any_of(
    """(?:(?:do|does|did|is|are|was|were|will|would|should|can|need) )?not(?: so| that)?; cannot; no; never; none;
    nothing; nobody; neither; nor; without; less; fewer; least; free of; used to; avoid(?:ing)?; stop(?:ped)?;
    quit; skip(?:ping)?; drop(?:ping)?; omit(?:ting)?; leave out; leave off; leaving out; cut out; cut the; cut
    down on; cut back on; ditch; lose the; spare me; enough with; enough of; refrain from; keep out; rid of;
    forget; remove; ban; banned; away with; hold off on; go easy on; ease off; hate; dislike; detest; despise;
    loathe; can ?not stand; can ?not bear; tired of; sick of; fed up with; annoy(?:s|ing)?; bores?; too; too many;
    too much; way too; overly"""
)
_NOT_ENOUGH = re.compile(r"\bnot ((?:\w+ )?\w+) enough\b")  # "not formal enough" wants it more formal
_NOT_TOO = re.compile(r"\b((?:not|never)(?: \w+){0,4}) too\b(?! (?:few|little))")  # one negation, not two
_SHORT_FORMS = (
    (re.compile(r"\bwon['’]?t\b"), "will not"),
    (re.compile(r"\bcan['’]t\b"), "can not"),
    (re.compile(r"(?<=[a-z])n['’]t\b"), " not"),
    (re.compile(r"\b(do|does|did|is|are|was|were|would|should|could)nt\b"), r"\1 not"),
    (re.compile(r"['’](?:re|m)\b"), " are"),
)
_FILLER = re.compile(
    r"\b(?:please|kindly|thanks|thank you|sorry|from now on|in (?:the )?future|next time|as a rule|if possible|for me"
    r"|(?:the user|i|we)(?: would| really)? (?:prefers?|likes?|wants?) (?:this|it|the following)?:)"
)
_CLAUSE = re.compile(
    r"[.;!?\n]+|,| but | and (?=(?:please |also |do |don|never |no |not |use |be |keep |add |give |with |stop ))"
)


def polarity(text: str) -> tuple[str, int]:
    """Split `text` into (core, sign): the words without negations, and -1 where an odd number of them was removed.

    >>> polarity("Don't use emojis")
    ('use emojis', -1)
    >>> polarity("not too long")
    ('long', -1)
    """
    text = " ".join(text.lower().split()).strip(" .!?,;:")
    for pattern, long_form in _SHORT_FORMS:
        text = pattern.sub(long_form, text)
    text = _NOT_TOO.sub(r"\1", _NOT_ENOUGH.sub(r"\1", text))
    text = _WANTED.sub(" ", text)
    core, count = _NEGATION.subn(" ", text)
    return " ".join(core.split()) or text, -1 if count % 2 else 1


@dataclass(frozen=True)
class Reading:
    """One wish found in a user's words.

    Args:
        text: the clause it was read from, as the user wrote it.
        key: the pole of the catalogue it asks for, "length:concise"; None: it fits no dimension and stands for itself.
    """

    text: str
    key: str | None

    def to_dict(self) -> dict[str, Any]:
        return {"text": self.text, "key": self.key}


class Reader:
    """Names the poles of a catalogue that a text asks for.

    Args:
        catalogue: the dimensions to choose from.
        embedder: any sentence embedder; it sees every wording of the catalogue once, at the first text.
    """

    # A clause that is not clearly about a dimension, or not clearly for one pole, stays the user's own wording.
    # Chosen on 60 wishes for catalogue dimensions and 46 for something else (tests/unit/test_memory_reading.py).
    NEAR = 0.50  # mean cosine to the three nearest wordings
    ABOUT = 0.50  # ridge score of the best dimension, about 1 for a wording of the catalogue
    SIDE = 0.15  # absolute ridge score of the pole, about 1 for a wording of the catalogue

    def __init__(self, catalogue: Sequence[Dimension], embedder: Embedder) -> None:
        self._catalogue = tuple(catalogue)
        self._embedder = embedder
        self._fitted: _Ridge | None = None

    def read(self, text: str, *, keep_rest: bool = True) -> tuple[Reading, ...]:
        """Return the wishes in `text`, in its order, at most one for each dimension.

        Args:
            text: what the user said: "be brief, and no jokes please".
            keep_rest: also return what fits no dimension, as wishes of their own. If nothing fits, that is the
                whole text.
        """
        clauses = [clause.strip() for clause in _CLAUSE.split(text) if clause and len(clause.strip()) > 1]
        keys = self._keys([text, *clauses])
        if len(clauses) < 2 or not any(keys[1:]):
            clauses, keys = [text.strip()], keys[:1]
        else:
            keys = keys[1:]
        found: dict[str, Reading] = {}
        for clause, key in zip(clauses, keys, strict=True):
            if key:
                found[key.partition(":")[0]] = Reading(clause, key)
            elif keep_rest and (len(clauses) == 1 or len(_FILLER.sub(" ", clause.lower()).split()) > 1):
                found[f"text:{clause}"] = Reading(clause, None)
        return tuple(found.values())

    def _keys(self, texts: list[str]) -> list[str | None]:
        if self._fitted is None:
            self._fitted = _Ridge(self._catalogue, self._embedder)
        about_ND, side_ND, near_N = self._fitted.scores(texts)
        keys: list[str | None] = []
        for about_D, side_D, near in zip(about_ND, side_ND, near_N, strict=True):
            best = int(about_D.argmax())
            sure = near >= self.NEAR and about_D[best] >= self.ABOUT and abs(side_D[best]) >= self.SIDE
            dimension = self._catalogue[best]
            keys.append(f"{dimension.name}:{dimension.poles[0 if side_D[best] > 0 else 1].name}" if sure else None)
        return keys


class _Ridge:
    """Ridge regressions on the cores of the catalogue's wordings: which of D dimensions, and which pole of it (±1)."""

    PENALTY = 1.0

    def __init__(self, catalogue: tuple[Dimension, ...], embedder: Embedder) -> None:
        self._embedder = embedder
        wordings = [
            (wording, row, side)
            for row, dimension in enumerate(catalogue)
            for pole, side in zip(dimension.poles, (1, -1), strict=True)
            for wording in (pole.text, *pole.paraphrases)
        ]
        self._core_NF, sign_N = self._features([wording for wording, _, _ in wordings])
        about_ND = np.zeros((len(wordings), len(catalogue)))
        about_ND[np.arange(len(wordings)), [row for _, row, _ in wordings]] = 1.0
        side_ND = about_ND * (sign_N * [side for _, _, side in wordings])[:, None]
        gram_FF = self._core_NF.T @ self._core_NF + self.PENALTY * np.eye(self._core_NF.shape[1])
        self._about_FD, self._side_FD = (
            np.linalg.solve(gram_FF, self._core_NF.T @ target_ND) for target_ND in (about_ND, side_ND)
        )

    def scores(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return (about_ND, side_ND, near_N) for N texts."""
        core_NF, sign_N = self._features([_FILLER.sub(" ", text.lower()).strip() or text for text in texts])
        near_N = np.sort(core_NF[:, :-1] @ self._core_NF[:, :-1].T, axis=1)[:, -3:].mean(axis=1)
        return core_NF @ self._about_FD, core_NF @ self._side_FD * sign_N[:, None], near_N

    def _features(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """The embeddings of the texts' cores with a constant 1 appended [N, E + 1], and the texts' signs [N]."""
        cores, signs = zip(*(polarity(text) for text in texts), strict=True)
        vectors_NE = embed(self._embedder, cores).astype(np.float64)
        return np.hstack([vectors_NE, np.ones((len(texts), 1))]), np.array(signs, dtype=np.float64)
