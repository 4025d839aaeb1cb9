"""What a head learns to steer between: dimensions of two opposite poles, the catalogue's or a user's own.

A pole has more than a wish in words: an instruction by which the base itself can be told to answer like that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.judges import Rule
from pad_langchain.training.settings import load_yaml
from pad_memory import catalogue
from pad_memory.catalogue import CATALOGUE

__all__ = ["Dimension", "Pole", "choose_dimensions", "of_catalogue", "read_poles"]

# How a base is told to show a pole of the catalogue, at the end of the user's turn, and the same said otherwise.
INSTRUCTIONS = {
    "length:concise": (
        "Answer in one or two short sentences.",
        "In one sentence, please.",
    ),
    "length:detailed": (
        "Answer at length and go into every detail.",
        "Please go into detail.",
    ),
    "tone:formal": (
        "Answer in a formal, polite and professional tone.",
        "Use the polite, formal language of an official report.",
    ),
    "tone:casual": (
        "Answer in a relaxed, casual tone, as if we were old friends.",
        "Talk to me like a friend.",
    ),
    "humor:humorous": (
        "Answer in a funny way and put a joke into your answer.",
        "Be funny and tell me a joke, please! 😂",
    ),
    "humor:serious": (
        "Answer in an earnest, matter-of-fact way and do not joke.",
        "This is a serious question.",
    ),
    "format:list": (
        "Answer with a list of bullet points.",
        "Use bullet points.",
    ),
    "format:prose": (
        "Answer in flowing paragraphs and do not make a list.",
        "Write one paragraph.",
    ),
    "level:simple": (
        "Use easy, everyday words, as if you spoke to a child.",
        "Explain it to a small child in short, easy sentences.",
    ),
    "level:technical": (
        "Use precise technical and scientific words, as if you wrote for experts.",
        "Explain it as a scientific paper would.",
    ),
    "examples:examples": (
        "Illustrate your answer with concrete examples.",
        "Explain it with two or three examples.",
    ),
    "examples:no-examples": (
        "Answer in general statements only, and give no examples.",
        "Keep it general.",
    ),
    "warnings:warnings": (
        "Say in your answer what is dangerous and what to look out for.",
        "Tell me what can go wrong.",
    ),
    "warnings:no-warnings": (
        "Answer without any warnings or safety advice.",
        "Stay positive.",
    ),
    "emoji:emoji": (
        "Use many emojis in your answer.",
        "Please use some emojis in your answer! 🎉",
    ),
    "emoji:no-emoji": (
        "Answer in plain text and use no emojis.",
        "Words only, please.",
    ),
}
COLUMNS = ("instruction", "name", "other", "rule", "text", "wordings")


@dataclass(frozen=True)
class Pole:
    """One end of a dimension.

    Args:
        name: short, as reports show it.
        text: the wish in words, as a user would say it.
        wordings: other ways to say it. The head learns to read them all.
        instruction: tells the base to answer like that, a sentence of its own. Answers are sampled under it.
        other: another sentence that tells it. Bases differ in what they heed. "" means there is none.
        rule: by which answers are judged. None means the package's own judge knows the pole.
    """

    name: str
    text: str
    wordings: tuple[str, ...]
    instruction: str
    rule: Rule | None = None
    other: str = ""

    @property
    def texts(self) -> tuple[str, ...]:
        """All ways to say the wish, the first as it is usually said."""
        return (self.text, *self.wordings)


@dataclass(frozen=True)
class Dimension:
    """One way in which answers differ: two poles that exclude each other."""

    name: str
    poles: tuple[Pole, Pole]

    def key(self, side: int) -> str:
        """The name of a pole among all, such as "length:concise"."""
        return f"{self.name}:{self.poles[side].name}"


def of_catalogue() -> tuple[Dimension, ...]:
    """Return the dimensions that the package knows by name."""
    return tuple(
        Dimension(
            known.name,
            (_known(f"{known.name}:{first.name}", first), _known(f"{known.name}:{second.name}", second)),
        )
        for known in CATALOGUE
        for first, second in [known.poles]
    )


def _known(key: str, pole: catalogue.Pole) -> Pole:
    instruction, other = INSTRUCTIONS[key]
    return Pole(pole.name, pole.text, pole.paraphrases, instruction, other=other)


def read_poles(path: str | Path) -> tuple[Dimension, ...]:
    """Read dimensions from a YAML file.

    Args:
        path: a mapping, dimension → its two poles, each a mapping of name, text, wordings (a list), instruction, and
            perhaps other (the instruction said otherwise) and rule: what an answer that shows the pole must be like
            (see `evaluation.judges.Rule`).

    Raises:
        InvalidRequestError: the file does not read, a field is missing, unknown or empty, or the two poles of a
            dimension say the same.
    """
    found = tuple(_dimension(name, poles, str(path)) for name, poles in load_yaml(path).items())
    if not found:
        raise InvalidRequestError(f"{str(path)!r} has no dimensions. Write one, or leave the file out.")
    return found


def choose_dimensions(dimensions: Sequence[Dimension], names: Sequence[str]) -> tuple[Dimension, ...]:
    """Return the dimensions of these names in the order they are known in; all of them without names.

    Raises:
        InvalidRequestError: there is none of a name.
    """
    known = [dimension.name for dimension in dimensions]
    if unknown := sorted(set(names) - set(known)):
        raise InvalidRequestError(f"dimensions have to be of {known}, but name {unknown}.")
    return tuple(dimension for dimension in dimensions if not names or dimension.name in names)


def _dimension(name: str, poles: Any, where: str) -> Dimension:
    if not isinstance(poles, list) or len(poles) != 2:
        raise InvalidRequestError(
            f"The dimension {name!r} in {where!r} has to be a list of two poles, but is {poles!r}."
        )
    first, second = (_pole(pole, f"{where}: {name}") for pole in poles)
    same = {_plain(text) for text in first.texts} & {_plain(text) for text in second.texts}
    if same or first.name == second.name or _plain(first.instruction) == _plain(second.instruction):
        shared = sorted(same) or [first.name if first.name == second.name else first.instruction]
        raise InvalidRequestError(
            f"The two poles of {name!r} in {where!r} have to be opposites, but both say {shared[0]!r}. Answers "
            "that are told the same do not differ, and nothing could be learned from them."
        )
    return Dimension(name, (first, second))


def _pole(said: Any, where: str) -> Pole:
    if not isinstance(said, Mapping) or not {"name", "text", "wordings", "instruction"} <= said.keys() <= {*COLUMNS}:
        raise InvalidRequestError(
            f"A pole in {where!r} has to be a mapping of name, text, wordings, instruction and perhaps other and rule, "
            f"but is {said!r:.300}."
        )
    texts = [
        *(said[name] for name in ("name", "text", "instruction", "other") if name in said),
        *_listed(said["wordings"], where),
    ]
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise InvalidRequestError(f"A pole in {where!r} has to say something in every field, but is {said!r:.300}.")
    name, text, instruction = (said[name].strip() for name in ("name", "text", "instruction"))
    wordings = tuple(each.strip() for each in said["wordings"])
    return Pole(name, text, wordings, instruction, _rule(said.get("rule"), where), said.get("other", "").strip())


def _listed(wordings: Any, where: str) -> list[Any]:
    if not isinstance(wordings, list):
        raise InvalidRequestError(f"wordings of a pole in {where!r} have to be a list of texts, but are {wordings!r}.")
    return wordings


def _rule(said: Any, where: str) -> Rule | None:
    if said is None:
        return None
    try:
        return Rule(**said)
    except TypeError as error:
        raise InvalidRequestError(f"The rule {said!r} in {where!r} is none that a judge knows: {error}") from error


def _plain(text: str) -> str:
    """A text without what does not change its meaning: case, spaces and the full stop."""
    return " ".join(text.lower().split()).rstrip(".!")
