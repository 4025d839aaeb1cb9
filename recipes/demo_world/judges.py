"""Rule judges for the demo's answers: which pole of each dimension a text shows, and whether its sentences are true.

The judges count words, markers and lines. They never see a reward or a preference's wording. An evaluation takes those
that end in `Judge` by their import path: `judges: [{kind: "recipes.demo_world.judges:DemoJudge"}]`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.cases import Case
from pad_langchain.evaluation.judges import ScoringJudge
from pad_memory.catalogue import find
from recipes.demo_world import world
from recipes.demo_world.topics import TOPICS, Topic, lower

__all__ = [
    "DemoFactsJudge",
    "DemoFormJudge",
    "DemoJudge",
    "SentenceCheck",
    "check_sentences",
    "judge",
    "satisfied",
    "spec_of",
    "topic_of",
]

_FORMAL = (
    "certainly", "with pleasure", "thank you for your question", "furthermore", "in addition", "i trust", "disposal",
    "kindly", "please be careful", "a word of caution",
)  # fmt: skip
_CASUAL = (
    "sure thing", "hey there", "no worries", "got you", "plus,", "oh, and", "hope that helps", "pal!", "catch you",
    "check out", "like, for", "heads up", "quick safety",
)  # fmt: skip
_TECHNICAL = set(
    """
sovereign situated administrative principal official characteristic cuisine comprises heritage chemical atomic
standard symbol industrial application periodic classification primary occurrence organism taxonomic diet
predominantly natural habitat distinctive adaptation juvenile termed defined significance extensively documented
literature manifestations empirically observable analysis systematic methodology procedure operation operations
initial subsequent intermediate terminal musical instrument acoustic excitation predominant repertoire
conventional venue component culinary preparation profile historical provenance constituent method accompaniment
competitive discipline contested requisite equipment regulation scoring criterion requirement professional
function occupational setting qualification essential attribute comprehensive merits relevant parameters warrant
rigorous
""".split()
)
_SIMPLE = set(
    """
government sits people there often speak well loved many go see basic building block things short sign use
belongs group name find kind likes eat lives known baby matters because looked long time notice days easy read
home hard start here then next end thing makes sound play hear has food tastes comes made goes need win helps
meet them they lot more say good know bit game
""".split()
)
_HUMOR = ("on a lighter note", "joke", "laugh", "giggle", "goldfish", "comedy", "toaster", "barman")
_EXAMPLE = re.compile(r"for example|for instance|an example", re.IGNORECASE)
_WARNING = re.compile(r"careful|caution|safety|heads up", re.IGNORECASE)
_BULLET = re.compile(r"(?m)^\s*(?:[-*•]|\d+\.)\s")
_EMOJI = re.compile("[\U0001f300-\U0001faff\u2600-\u27bf]")
_CONTENT_LIMIT = 4  # content sentences: at most this many is concise


def sentences(text: str) -> list[str]:
    """Split into sentences and list items, without bullets and emoji."""
    return [
        part for part in (piece.strip(" -") for piece in re.split(r"(?<=[.!?])\s+|\n", _EMOJI.sub("", text))) if part
    ]


def judge(text: str) -> dict[str, int | None]:
    """Read the pole of every dimension off a text: 0 or 1, None where it shows neither (tone, level)."""
    lowered = text.lower()
    words = re.findall(r"[a-z']+", lowered)
    formal, casual = (sum(lowered.count(marker) for marker in markers) for markers in (_FORMAL, _CASUAL))
    technical, simple = (sum(word in vocabulary for word in words) for vocabulary in (_TECHNICAL, _SIMPLE))
    return {
        "length": int(_content_sentences(text) > _CONTENT_LIMIT),
        "tone": _more(formal, casual),
        "humor": int(not any(marker in lowered for marker in _HUMOR)),
        "format": int(len(_BULLET.findall(text)) < 2),
        "level": _more(simple, 2 * technical),
        "examples": int(_EXAMPLE.search(text) is None),
        "warnings": int(_WARNING.search(text) is None),
        "emoji": int(_EMOJI.search(text) is None),
    }


def satisfied(text: str, spec: Mapping[str, int]) -> dict[str, bool]:
    """For each dimension of `spec` (dimension → pole), whether the text shows that pole."""
    shown = judge(text)
    return {dimension: shown[dimension] == pole for dimension, pole in spec.items()}


@dataclass(frozen=True)
class SentenceCheck:
    """Shares in [0, 1] of a text's sentences: well formed (true of some topic), factual (true of this one)."""

    well_formed: float
    factual: float


def check_sentences(text: str, topic: Topic) -> SentenceCheck:
    """Compare each sentence with the closed set the world can say of any topic, and of this one."""
    parts = sentences(text)
    if not parts:
        return SentenceCheck(0.0, 0.0)
    own, every = _allowed(topic), _allowed_anywhere()
    return SentenceCheck(
        sum(part in every or part in own for part in parts) / len(parts),
        sum(part in own for part in parts) / len(parts),
    )


def spec_of(case: Case) -> dict[str, int]:
    """What a case wishes, dimension → pole; its name is a pole of the catalogue, or several joined by "+"."""
    poles = [find(name) for name in case.name.split("+")]
    return {dimension.name: dimension.poles.index(pole) for dimension, pole in poles}


def topic_of(case: Case) -> Topic:
    """The thing of the world that a case's question names.

    Raises:
        InvalidRequestError: it names none.
    """
    asked = case.messages[-1]["content"].lower()
    named = [topic for topic in TOPICS if re.search(rf"\b{re.escape(topic.subject.lower())}\b", asked)]
    if not named:
        raise InvalidRequestError(f"The question {asked!r} names nothing that the demo world knows.")
    return max(named, key=lambda topic: len(topic.subject))


class DemoJudge(ScoringJudge):
    """The share of wished poles that the text shows."""

    name = "demo rules"

    def score(self, case: Case, answer: str) -> float:
        shown = satisfied(answer, spec_of(case))
        return sum(shown.values()) / len(shown)


class DemoFactsJudge(ScoringJudge):
    """The share of an answer's sentences that are true of what the question names."""

    name = "demo facts"

    def score(self, case: Case, answer: str) -> float:
        return check_sentences(answer, topic_of(case)).factual


class DemoFormJudge(ScoringJudge):
    """The share of an answer's sentences that are true of anything in the world."""

    name = "demo form"

    def score(self, case: Case, answer: str) -> float:
        return check_sentences(answer, topic_of(case)).well_formed


def _more(first: int, second: int) -> int | None:
    return None if first == second else int(second > first)


def _content_sentences(text: str) -> int:
    skip = (*_HUMOR, "for example", "for instance", "careful", "caution", "safety", "heads up")
    chrome = {s.lower() for group in (*world.OPENERS, *world.CLOSERS, *world.LIST_LEADS) for s in group}
    chrome |= {part.lower() for entry in list(chrome) for part in sentences(entry)}
    return sum(
        part.lower() not in chrome and not any(marker in part.lower() for marker in skip) for part in sentences(text)
    )


@lru_cache(maxsize=4096)
def _allowed(topic: Topic) -> frozenset[str]:
    told: list[str] = []
    for tone in (0, 1):
        told += [*world.OPENERS[tone], *world.CLOSERS[tone]]
        told += [f.format(e=e) for f in world.EXAMPLES[tone] for e in topic.examples]
        told += [f.format(c=c) for f in world.WARNINGS[tone] for c in topic.cautions]
    cores = list(topic.core)
    told += cores + [world.BRIEFLY + text for core in cores for text in (core, lower(core))]
    told += [f"{core} {lead}" for core in cores for group in world.LIST_LEADS for lead in group]
    told += [lead for group in world.LIST_LEADS for lead in group]
    for levels in (*topic.details, *topic.brief):
        for text in levels:
            told += [text] + [link + lower(text) for group in world.CONNECTORS for link in group]
    told += [text for group in world.ELABORATIONS for text in group]
    told += [lead + joke.format(n=topic.joke_name) for lead in world.JOKE_LEADS for joke in world.JOKES]
    return frozenset(part for text in told for part in sentences(text))


@lru_cache(maxsize=1)
def _allowed_anywhere() -> frozenset[str]:
    return frozenset().union(*(_allowed(topic) for topic in TOPICS))
