"""Ways to answer a wish, and how well each does: answers under every pole, judged by rules that never see a reward."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pad_langchain.adapt.job import Job
from pad_langchain.adapt.lessons.plant import OPENINGS
from pad_langchain.adapt.lessons.sample import answered
from pad_langchain.adapt.model import Asked, Said
from pad_langchain.adapt.poles import Pole
from pad_langchain.adapt.prompts import Prompt
from pad_langchain.chat.chat import Chat
from pad_langchain.chat.messages import with_preferences, with_preferences_at_end
from pad_langchain.chat.options import CallOptions, WishPlace
from pad_langchain.evaluation.wishes import Answer, Verdict, judge_all
from pad_memory.catalogue import find

__all__ = ["Judged", "Panel", "Way", "Words", "words_of"]

ANY_POLE = "length:detailed"  # stands in where a verdict's own rule is a user's
PLANTED = tuple(opening for openings in OPENINGS.values() for opening in openings)


Words = Literal["own", "instruction", "other"]


@dataclass(frozen=True)
class Way:
    """One way to answer.

    Args:
        guide: what guides: the "head" of this run, "self", or "" for nothing.
        place: where in the prompt the base is told the wish. None means it is not told.
        beta, top_k, alpha: of the guide. None means as it recommends.
        words: in which words the base is told: the user's "own", the pole's "instruction" or its "other" one.
        each: (pole, way), for poles that are answered in ways of their own.
    """

    guide: str = ""
    place: WishPlace | None = None
    beta: float | None = None
    top_k: int | None = None
    alpha: float | None = None
    words: Words = "own"
    each: tuple[tuple[str, Way], ...] = ()

    @property
    def name(self) -> str:
        """What reports call it, without its strength."""
        told = ""
        if self.place is not None:
            told = f"told in {'both turns' if self.place == 'both' else f'the {self.place} turn'}"
            told += {"own": "", "instruction": " by an instruction", "other": " by another instruction"}[self.words]
        return (" + ".join(filter(None, (told, self.guide))) or "base") + (", by pole" if self.each else "")

    @property
    def key(self) -> str:
        """The way with its strength, as answers are kept under it."""
        strength = [f"{value:g}" for value in (self.beta, self.top_k, self.alpha) if value is not None]
        return " ".join((self.name, *strength))

    def of(self, pole: str) -> Way:
        """Return how a pole is answered."""
        return dict(self.each).get(pole, replace(self, each=()))

    @property
    def silent(self) -> Way:
        """The way without what guides."""
        return Way(place=self.place, words=self.words)

    @property
    def hears(self) -> bool:
        """Whether a wish makes a difference to it."""
        return bool(self.guide or self.place)


@dataclass(frozen=True, eq=False)
class Judged:
    """What a way answered, and the verdicts, prompt after prompt for each pole.

    Args:
        texts: the answers, in the order of the verdicts.
    """

    way: Way
    texts: tuple[str, ...]
    verdicts: tuple[Verdict, ...]


class Panel:
    """Has prompts answered in some ways, and judges; a context manager that closes what it opened.

    Poles that no judge knows are left out: those of a user that have no rule.

    Args:
        part: the file of the run's folder that keeps the answers, without its ending.
        prompts: what is asked.
        head: the head's folder.
    """

    def __init__(self, job: Job, part: str, prompts: Sequence[Prompt], head: Path) -> None:
        self.job, self.part, self.prompts, self.head = job, part, prompts, head
        self.kept = job.kept(part)
        self.poles = {
            each.key(side): each.poles[side]
            for each in job.dimensions
            for side in (0, 1)
            if each.poles[side].rule is not None or _in_the_catalogue(each.key(side))
        }
        self._chats: dict[str, Chat] = {}

    def __enter__(self) -> Panel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for guide, chat in self._chats.items():
            if guide:  # the base's own engine is the process's
                chat.engine.close()

    def judge(self, way: Way) -> Judged:
        """Answer every prompt under every pole in one way, and judge the answers."""
        ways = {key: _possible(way.of(key), pole) for key, pole in self.poles.items()}
        asked = {
            (key, prompt.id): (ways[key].guide, self._asked(ways[key], key, pole, prompt))
            for key, pole in self.poles.items()
            for prompt in self.prompts
        }
        said: dict[str, Said] = {}
        with self.job.stage(f"{self.part}: {way.key}") as tick:
            for guide in dict.fromkeys(guide for guide, _ in asked.values()):
                unique = {each.id: each for by, each in asked.values() if by == guide}
                said |= answered(self.job.model, self._chat(guide), list(unique.values()), self.kept, tick)
        found = [(key, prompt, said[asked[key, prompt.id][1].id]) for key in self.poles for prompt in self.prompts]
        verdicts = judge_all(
            [self._answer(ways[each[0]], *each) for each in found], planted=PLANTED, embedder=self.job.embedder
        )
        named = [self._named(key, each.text, verdict) for (key, _, each), verdict in zip(found, verdicts, strict=True)]
        return Judged(way, tuple(each.text for *_, each in found), tuple(named))

    def _chat(self, guide: str) -> Chat:
        if guide not in self._chats:
            source = {"": None, "self": "self", "head": self.head}[guide]
            self._chats[guide] = self.job.model.chat(source, self.job.embedder if guide == "head" else None)
        return self._chats[guide]

    def _asked(self, way: Way, key: str, pole: Pole, prompt: Prompt) -> Asked:
        name = f"{way.key}|{key if way.hears else ''}|{prompt.id}"
        options = CallOptions(
            preference=pole.text if way.guide else [],
            condition_base=way.guide == "self",
            wish_place=way.place,
            beta=way.beta,
            top_k=way.top_k,
            alpha=way.alpha,
            repetition_penalty=self.job.config.choice.repetition_penalty,
            temperature=0.0,
            max_tokens=self.job.config.choice.max_tokens,
        )
        told: list[Any] = self.job.model.told(prompt)
        if way.guide != "self":  # which tells the base itself
            told = _told(told, way.place, [(words_of(way, pole), 1.0)])
        return Asked(name, told, options)

    def _answer(self, way: Way, key: str, prompt: Prompt, said: Said) -> Answer:
        question = "\n".join(message["content"] for message in prompt.messages if message["role"] == "user")
        pole = self.poles[key]
        return Answer(
            question,
            key if pole.rule is None else ANY_POLE,
            said.text,
            "stop" if said.ended else "length",
            words_of(way, pole) if way.place else "",
        )

    def _named(self, key: str, text: str, verdict: Verdict) -> Verdict:
        rule = self.poles[key].rule
        return verdict if rule is None else replace(verdict, pole=key, shown=rule.holds(text))


def words_of(way: Way, pole: Pole) -> str:
    """In which words a base is told to show a pole."""
    return {"own": pole.text, "instruction": pole.instruction, "other": pole.other or pole.instruction}[way.words]


def _possible(way: Way, pole: Pole) -> Way:
    """The way, told by the one instruction where a pole has no other."""
    return replace(way, words="instruction") if way.words == "other" and not pole.other else way


def _told(messages: list[Any], place: WishPlace | None, wishes: list[tuple[str, float]]) -> list[Any]:
    """A conversation whose base is told wishes, as `Chat` tells them."""
    if place in ("user", "both"):
        messages = with_preferences_at_end(messages, wishes)
    return with_preferences(messages, wishes) if place in ("system", "both") else messages


def _in_the_catalogue(key: str) -> bool:
    with suppress(ValueError):
        return bool(find(key))
    return False
