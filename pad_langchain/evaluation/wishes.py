"""Whether answers follow a wish and are still good answers, by rules that never see a reward.

    judge_all(answers) → verdicts → shares(verdicts), lead(verdicts, of the base)

*Shown*: the answer reads as the wish asks (`signs.RULES`). *Good*: it is about the question, does not loop, is no scrap
and does not recite the wish. *Both* is the figure that counts: a shown wish is worth nothing in a bad answer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import NamedTuple

import numpy as np

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.signs import RULES, words
from pad_langchain.evaluation.statistics import distinct, interval
from pad_memory.catalogue import find
from pad_memory.embedding import Embedder, default_embedder, embed

__all__ = [
    "Answer",
    "Share",
    "Shares",
    "Verdict",
    "by_pole",
    "echoes",
    "ends_as_often",
    "judge_all",
    "judge_wish",
    "lead",
    "loops",
    "masked",
    "shares",
]

LEAST_RELEVANCE = 0.4  # cosine of answer and question
LEAST_DISTINCT, LOOP_WORDS = 0.7, 12  # share of word triples that differ; shorter answers have too few
LEAST_WORDS = 6
ECHO = 0.75  # likeness of a sentence and the wish, in [0, 1]
_POLITE = frozenset("please i will shall you sure okay ok certainly here".split())


@dataclass(frozen=True)
class Answer:
    """What is judged.

    Args:
        question: what was asked; of a conversation, what it is about.
        pole: the wish, a key of the catalogue such as "length:concise".
        text: the answer.
        finish_reason: why it ended; "stop" is by itself.
        wish: the words in which the model was told the wish, besides the catalogue's; "" where it was told none.
    """

    question: str
    pole: str
    text: str
    finish_reason: str = "stop"
    wish: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the rules say of one answer.

    Args:
        shown: it reads as the wish asks.
        relevance: cosine of answer and question, in [-1, 1].
        loops, scrap, echo: it repeats itself; it is too few words; a sentence of it is the wish itself.
        ended: it ended by itself within the limit of tokens. No part of `good`: see `ends_as_often`.
    """

    question: str
    pole: str
    shown: bool
    relevance: float
    loops: bool
    scrap: bool
    echo: bool
    ended: bool

    @property
    def good(self) -> bool:
        """Whether it is a fair answer to its question, whatever its style."""
        return self.relevance >= LEAST_RELEVANCE and not (self.loops or self.scrap or self.echo)

    @property
    def both(self) -> bool:
        """Whether it is a good answer that shows the wish."""
        return self.shown and self.good


class Share(NamedTuple):
    """A share of answers, or a difference of two, with its 95% bootstrap interval over prompts."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Shares:
    """Shares of `count` answers, each in [0, 1]; differences of shares are in [-1, 1]. A prompt weighs as any other."""

    shown: Share
    good: Share
    both: Share
    ended: Share
    count: int


def judge_wish(answer: str, pole: str, *, ended: bool = True) -> bool:
    """Whether an answer shows a wish.

    Args:
        answer: its text; one without words shows nothing.
        pole: a key of the catalogue, such as "length:concise".
        ended: False for an answer that was cut off: how long it would have been is not known, so it is not concise.

    Raises:
        InvalidRequestError: there is no such pole.

    >>> judge_wish("Tea is a drink. ☕", "emoji:emoji"), judge_wish("Tea is a drink. ☕", "emoji:no-emoji")
    (True, False)
    """
    if pole not in RULES:
        raise InvalidRequestError(f"A wish has to be one of {sorted(RULES)}, but is {pole!r}.")
    if not words(answer) or (pole == "length:concise" and not ended):
        return False
    return RULES[pole](answer.replace("’", "'"))


def masked(answer: str, strings: Iterable[str]) -> str:
    """The answer without some strings, wherever they stand as whole words and in whatever case.

    A recipe that plants words must not be judged by them. White space before and punctuation after a string
    are not asked for, and go with it where they are there.

    Raises:
        InvalidRequestError: a string is only white space and punctuation; bullets are layout and cannot be masked.

    >>> masked("Tea, For  example, is a drink.", [" For example,"])
    'Tea, is a drink.'
    """
    for string in sorted(strings, key=len, reverse=True):
        core = string.strip(" \t\r\n.,:;!?…\"'()[]*-–—•")
        if not core:
            raise InvalidRequestError(f"Strings to mask have to have a letter, digit or symbol, but one is {string!r}.")
        tail = re.escape(string.rstrip().rpartition(core)[2])
        left, right = (r"(?<!\w)" if core[0].isalnum() else "", r"(?!\w)" if core[-1].isalnum() else "")
        spaced = r"\s+".join(map(re.escape, core.split()))
        answer = re.sub(rf"\s*{left}{spaced}{right}(?:{tail})?", "", answer, flags=re.IGNORECASE)
    return answer.strip()


def loops(answer: str) -> bool:
    """Whether an answer of 12 words or more repeats itself: under .7 of its word triples differ."""
    return len(answer.split()) >= LOOP_WORDS and distinct([answer], size=3) < LEAST_DISTINCT


def echoes(answer: str, *wordings: str) -> bool:
    """Whether a sentence of an answer is, in almost the same words, one of a wish: "Do not use examples."."""
    said = _sentences(answer)
    asked = [wish for wording in wordings for wish in _sentences(wording) if len(wish) > 1]
    return any(SequenceMatcher(None, wish, sentence).ratio() >= ECHO for wish in asked for sentence in said)


def _sentences(text: str) -> list[list[str]]:
    """Its sentences as lists of words, contractions written out, without courtesies."""
    plain = re.sub(r"n't\b", " not", text.lower().replace("’", "'"))
    found = ([word for word in words(part) if word not in _POLITE] for part in re.split(r"[.!?:;\n]+", plain))
    return [sentence for sentence in found if sentence]


def judge_all(
    answers: Sequence[Answer], *, planted: Iterable[str] = (), embedder: Embedder | None = None
) -> list[Verdict]:
    """A verdict for each answer.

    Args:
        planted: strings of the recipe whose answers are judged. A wish is shown only if it is shown with and without
            them: planted words do not show a style, and are not overlooked where the style was not wanted.
        embedder: None means all-MiniLM-L6-v2, for which the least relevance was chosen.

    Raises:
        InvalidRequestError: an answer has an unknown pole, or a planted string has no words.
        EmbedderError: the embedder is not installed.
    """
    strings = tuple(planted)
    texts = [answer.question for answer in answers] + [answer.text for answer in answers]
    vectors_NE = embed(embedder or default_embedder(), texts) if texts else np.zeros((0, 1), np.float32)
    relevance_N = np.sum(vectors_NE[: len(answers)] * vectors_NE[len(answers) :], axis=1)
    return [_verdict(answer, float(near), strings) for answer, near in zip(answers, relevance_N, strict=True)]


def _verdict(answer: Answer, relevance: float, planted: Sequence[str]) -> Verdict:
    ended = answer.finish_reason == "stop"
    seen = [answer.text, masked(answer.text, planted)] if planted else [answer.text]
    count = len(words(answer.text))
    return Verdict(
        question=answer.question,
        pole=answer.pole,
        shown=all(judge_wish(text, answer.pole, ended=ended) for text in seen),
        relevance=relevance,
        loops=loops(answer.text),
        scrap=count < (1 if answer.pole == "length:concise" else LEAST_WORDS),
        echo=echoes(answer.text, find(answer.pole)[1].text, answer.wish),
        ended=ended,
    )


def shares(verdicts: Sequence[Verdict], seed: int = 0) -> Shares:
    """Shares of answers that are shown, good, both and ended, with intervals by prompt; NaN where there are none."""
    groups = _by_question(verdicts)
    return _shares([(group, None) for group in groups.values()], len(verdicts), seed)


def by_pole(verdicts: Sequence[Verdict], seed: int = 0) -> dict[str, Shares]:
    """Pole → shares of its answers, in the order in which the poles come."""
    poles = dict.fromkeys(verdict.pole for verdict in verdicts)
    return {pole: shares([verdict for verdict in verdicts if verdict.pole == pole], seed) for pole in poles}


def lead(verdicts: Sequence[Verdict], base: Sequence[Verdict], seed: int = 0) -> Shares:
    """Shares minus the base's shares on the same prompts, with intervals by prompt.

    Raises:
        InvalidRequestError: the two are of other prompts or wishes.
    """
    asked, of_base = ({(verdict.question, verdict.pole) for verdict in side} for side in (verdicts, base))
    if asked != of_base:
        raise InvalidRequestError(
            f"Both sides have to be of the same prompts and wishes, but {len(asked ^ of_base)} are on one side only, "
            f"such as {min(asked ^ of_base)!r}. Judge them on both."
        )
    groups, others = _by_question(verdicts), _by_question(base)
    return _shares([(group, others[question]) for question, group in groups.items()], len(verdicts), seed)


def ends_as_often(verdicts: Sequence[Verdict], base: Sequence[Verdict], seed: int = 0) -> bool:
    """Whether answers end by themselves as often as the base's: the 95% interval of their lead is not all below 0."""
    return lead(verdicts, base, seed).ended.high >= 0


def _by_question(verdicts: Sequence[Verdict]) -> dict[str, list[Verdict]]:
    groups = defaultdict[str, list[Verdict]](list)
    for verdict in verdicts:
        groups[verdict.question].append(verdict)
    return groups


def _shares(groups: Sequence[tuple[list[Verdict], list[Verdict] | None]], count: int, seed: int) -> Shares:
    """Means over prompts of what the first list of each has, minus what the second has where there is one."""

    def share(holds: Callable[[Verdict], bool]) -> Share:
        leads = [_mean(group, holds) - (_mean(base, holds) if base else 0.0) for group, base in groups]
        return Share(*interval(leads, seed))

    return Shares(
        shown=share(lambda verdict: verdict.shown),
        good=share(lambda verdict: verdict.good),
        both=share(lambda verdict: verdict.both),
        ended=share(lambda verdict: verdict.ended),
        count=count,
    )


def _mean(verdicts: Sequence[Verdict], holds: Callable[[Verdict], bool]) -> float:
    return sum(map(holds, verdicts)) / len(verdicts)
