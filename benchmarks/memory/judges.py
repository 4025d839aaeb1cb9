"""Simulated users who judge a real model's answers: tastes of the catalogue, and fixed rules that see no reward.

What a user sees of an answer is what `pad_langchain.evaluation.wishes` sees: which of their tastes it shows, and
whether it is good.

- A thumb is up where the answer is good and shows half of their tastes or more.
- Of two answers the one that shows more tastes is picked, a bad one showing none; else there is no difference.
- An edit changes what the hand changes easily, so that one more taste is shown: `EDITS`. Else they give a thumb.
- A wrong judgement is the thumb turned over, one of the other two answers to the choice, or the edit undone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pad_langchain.evaluation.signs import (
    CAUTION_HINTS,
    CAUTIONS,
    EXAMPLE_HINTS,
    EXAMPLES,
    JOKES,
    MOST_CONCISE,
    PLAYFUL,
)
from pad_langchain.evaluation.wishes import Answer, judge_all, judge_wish
from pad_memory import CATALOGUE, Choice, Edit, Thumb
from pad_memory.embedding import default_embedder
from pad_memory.profile.elicitation import Question

__all__ = ["EDITS", "EMBEDDER", "TEXTS", "Seen", "User", "draw_users", "see"]

TEXTS = {f"{dimension.name}:{pole.name}": pole.text for dimension in CATALOGUE for pole in dimension.poles}


class OnceEmbedder:
    """The default embedder, asked once for each text: many users see the same answers."""

    def __init__(self) -> None:
        self._embedder = default_embedder()
        self.name = self._embedder.name
        self._known: dict[str, np.ndarray] = {}

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        if new := [text for text in dict.fromkeys(texts) if text not in self._known]:
            self._known.update(zip(new, self._embedder.embed(new), strict=True))
        return np.stack([self._known[text] for text in texts])


EMBEDDER = OnceEmbedder()


@dataclass(frozen=True)
class User:
    """Their tastes, keys of the catalogue, and the share of judgements that are wrong."""

    name: str
    tastes: tuple[str, ...]
    wrong: float = 0.0


@dataclass(frozen=True)
class Seen:
    """An answer as its user sees it: the tastes it shows, and whether it is good."""

    prompt: str
    text: str
    shown: tuple[str, ...]
    good: bool

    @property
    def worth(self) -> int:
        """How many tastes it shows; a bad answer shows none that counts."""
        return len(self.shown) if self.good else 0


def draw_users(count: int, seed: int, wrong: float = 0.0) -> list[User]:
    """Users with two to four tastes of different dimensions."""
    rng, users = random.Random(seed), []
    for number in range(count):
        chosen = rng.sample(CATALOGUE, rng.randint(2, 4))
        tastes = tuple(f"{each.name}:{each.poles[rng.randrange(2)].name}" for each in chosen)
        users.append(User(f"user {number}", tastes, wrong))
    return users


def see(rows: Sequence[tuple[User, str, str, str]]) -> list[Seen]:
    """What users see of answers: rows of (user, prompt, text, why it ended)."""
    answers = [Answer(prompt, taste, text, ended) for user, prompt, text, ended in rows for taste in user.tastes]
    verdicts = iter(judge_all(answers, embedder=EMBEDDER))
    found = []
    for user, prompt, text, _ in rows:
        said = [next(verdicts) for _ in user.tastes]
        shown = tuple(verdict.pole for verdict in said if verdict.shown)
        found.append(Seen(prompt, text, shown, all(verdict.good for verdict in said)))
    return found


def thumb(user: User, seen: Seen, rng: random.Random) -> Thumb:
    up = seen.good and 2 * len(seen.shown) >= len(user.tastes)
    return Thumb(seen.prompt, seen.text, up != (rng.random() < user.wrong))


def choice(user: User, question: Question, first: Seen, second: Seen, rng: random.Random) -> Choice:
    picked = None if first.worth == second.worth else 1 if first.worth > second.worth else 2
    if rng.random() < user.wrong:
        picked = rng.choice([other for other in (1, 2, None) if other != picked])
    return question.choice(first.prompt, first.text, second.text, picked)


def edit(user: User, seen: Seen, rng: random.Random) -> Edit | Thumb:
    for taste in user.tastes:
        if taste in EDITS and taste not in seen.shown:
            changed = EDITS[taste](seen.text).strip()
            if changed != seen.text and judge_wish(changed, taste):
                before, after = (seen.text, changed) if rng.random() >= user.wrong else (changed, seen.text)
                return Edit(seen.prompt, before, after)
    return thumb(user, seen, rng)


# ---- what a hand changes

_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")
_BULLET = re.compile(r"(?m)^\s*(?:[-*•–·▪]|\(?\d{1,2}[.):]|#{1,6})\s+")
_EMOJI = re.compile(
    "[\U0001f1e6-\U0001f1ff\U0001f300-\U0001faff☀-➿⭐⭕⌚⌛⏰⏳]\ufe0f?|(?<!\\w)[:;=]['-]?[)(DPp](?!\\w)|<3"
)
_WRITTEN_OUT = (("n't", " not"), ("'re", " are"), ("'ll", " will"), ("'ve", " have"), ("'m", " am"), ("'s", " is"))


def _sentences(text: str) -> list[str]:
    return [part.strip() for part in _SENTENCE.split(_BULLET.sub("", text)) if part.strip()]


def _shortened(text: str) -> str:
    kept: list[str] = []
    for sentence in _sentences(text):
        if len(" ".join([*kept, sentence]).split()) > MOST_CONCISE - 5:
            break
        kept.append(sentence)
    return " ".join(kept)


def _formal(text: str) -> str:
    for short, long in (("can't", "cannot"), ("won't", "will not"), *_WRITTEN_OUT):
        text = text.replace("’", "'").replace(short, long)
    return text.replace("!", ".")


def _without(*signs: str) -> Callable[[str], str]:
    """Drops the sentences that have one of some signs."""
    found = [re.compile(sign, re.IGNORECASE) for sign in signs]
    return lambda text: " ".join(each for each in _sentences(text) if not any(sign.search(each) for sign in found))


EDITS: Mapping[str, Callable[[str], str]] = {
    "length:concise": _shortened,
    "tone:formal": _formal,
    "humor:serious": _without(*JOKES, *PLAYFUL),
    "format:list": lambda text: "\n".join(f"- {sentence}" for sentence in _sentences(text)),
    "format:prose": lambda text: " ".join(_sentences(text)),
    "examples:no-examples": _without(*EXAMPLES, *EXAMPLE_HINTS),
    "warnings:no-warnings": _without(*CAUTIONS, *CAUTION_HINTS),
    "emoji:emoji": lambda text: f"{text} 🙂",
    "emoji:no-emoji": lambda text: _EMOJI.sub("", text),
}
