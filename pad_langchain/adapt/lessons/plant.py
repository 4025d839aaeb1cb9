"""What a base cannot be told, put into its plain answers: edits, and sentences whose beginning is planted.

A small model told to use emojis uses none. So a plain answer is changed: symbols after its sentences, its sentences as
the items of a list, its first sentence alone. Or an opening is planted behind one of its sentences, and the base goes
on to the end of that sentence. The changed answer and the plain one differ in the pole alone.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from pad_langchain.adapt.config import AdaptConfig
from pad_langchain.adapt.lessons.sample import answered, rotation
from pad_langchain.adapt.lessons.texts import Text, bullets, emojis, sentences, words
from pad_langchain.adapt.model import Asked, Model, Tick, seed_of
from pad_langchain.adapt.poles import Dimension
from pad_langchain.adapt.prompts import Prompt
from pad_langchain.chat.options import CallOptions
from pad_langchain.evaluation.answers import Kept

__all__ = ["EDITS", "OPENINGS", "plant"]

# Pole → beginnings of a sentence that shows it.
OPENINGS: dict[str, tuple[str, ...]] = {
    "examples:examples": (
        "To see it at work, think of",
        "One family I know",
        "At a school in Ohio, they",
        "Look at how",
    ),
    "warnings:warnings": (
        "What can go wrong here is that",
        "It ends badly when",
        "Mind that you can get hurt if",
        "Before you begin, make sure that nobody",
    ),
    "humor:humorous": (
        "That reminds me of the man who",
        "My grandmother would say that",
        "As the chicken said when it crossed the road,",
        "At least it beats",
    ),
}
SYMBOLS = ("😊", "🌟", "👍", "🎉", "✨", "💡", "😄", "🙌", "🌈", "🔥", "😎", "🚀", "🌱", "☀️", "🤔", "💪")
MARKS = ("-", "*", "•")
LONGEST = 60  # new tokens of a planted sentence


@dataclass(frozen=True)
class Begun:
    """An answer with a planted opening: what is asked to go on, the plain answer, and what of it follows then."""

    asked: Asked
    plain: Text
    dimension: str
    side: int
    rest: str


def plant(
    model: Model,
    plain: Sequence[Text],
    prompts: Sequence[Prompt],
    dimensions: Sequence[Dimension],
    config: AdaptConfig,
    kept: Kept,
    tick: Tick,
) -> list[Text]:
    """Change plain answers so that they show poles of the catalogue; each is followed by the answer it was made of.

    Args:
        plain: answers of the source "plain". Lists and single sentences are passed over.
        prompts: those they answer, in the order of `sample`.
        kept: the planted sentences so far. New ones are added.
    """
    by_prompt = {text.prompt: text for text in plain if not bullets(text.text) and len(sentences(text.text)) > 1}
    found, begun = list[Text](), list[Begun]()
    for place, prompt in enumerate(prompts):
        for dimension in rotation(place, dimensions, config.sample.dimensions):
            for side in (0, 1) if prompt.id in by_prompt else ():
                text, key = by_prompt[prompt.id], dimension.key(side)
                rng = random.Random(seed_of(config.seed, "plant", text.id, key))
                if key in EDITS:
                    found += _both(text, dimension.name, side, "edited", EDITS[key](text.text, rng))
                elif key in OPENINGS:
                    begun.append(_begin(model, prompt, text, dimension, side, config, rng))
    said = answered(model, model.chat(), [each.asked for each in begun], kept, tick)
    for each in begun:
        sentence = first_sentence(said[each.asked.id].text)
        if len(words(sentence)) > 2:
            changed = f"{each.asked.begun}{sentence} {each.rest}".strip()
            found += _both(each.plain, each.dimension, each.side, "planted", changed)
    return found


def first_sentence(text: str) -> str:
    """The text up to the end of its first sentence, blanks before it included; "" where it does not end."""
    found = re.match(r".*?[.!?](?=\s|$)", text, re.DOTALL)
    return found[0] if found else ""


def _begin(
    model: Model, prompt: Prompt, plain: Text, dimension: Dimension, side: int, config: AdaptConfig, rng: random.Random
) -> Begun:
    parts = sentences(plain.text)
    place = rng.randint(1, min(3, len(parts)))
    key = dimension.key(side)
    begun = " ".join([*parts[:place], rng.choice(OPENINGS[key])])
    name = f"{plain.id}|{key}"
    options = CallOptions(
        temperature=config.sample.temperature,
        top_p=config.sample.top_p,
        max_tokens=LONGEST,
        seed=seed_of(config.seed, name),
    )
    return Begun(Asked(name, model.told(prompt), options, begun), plain, dimension.name, side, " ".join(parts[place:]))


def _both(plain: Text, dimension: str, side: int, source: str, changed: str) -> Iterator[Text]:
    """The changed answer, and the plain one as one that shows the opposite; nothing where they are the same."""
    if not changed or changed == plain.text:
        return
    name = f"{plain.id}|{dimension}:{side}"
    yield Text(name, plain.prompt, dimension, side, source, changed, plain.ended, f"{name}|beside")
    yield Text(f"{name}|beside", plain.prompt, dimension, 1 - side, "beside", plain.text, plain.ended, name)


def _shorten(text: str, rng: random.Random) -> str:
    return " ".join(sentences(text)[: rng.randint(1, 2)])


def _decorate(text: str, rng: random.Random) -> str:
    """A symbol behind most sentences, one at least."""
    if emojis(text):
        return ""
    parts = sentences(text)
    chosen = [n for n in range(len(parts)) if rng.random() < 0.6] or [len(parts) - 1]
    return " ".join(f"{part} {rng.choice(SYMBOLS)}" if n in chosen else part for n, part in enumerate(parts))


def _itemise(text: str, rng: random.Random) -> str:
    """Each sentence as an item, behind a sign or a number; "" where there are too few."""
    parts, mark = sentences(text), rng.choice((*MARKS, ""))
    if len(parts) < 3:
        return ""
    return "\n".join(f"{mark or f'{n}.'} {part}" for n, part in enumerate(parts, 1))


# Pole → an edit that makes a plain answer show it; "" where it cannot.
EDITS: dict[str, Callable[[str, random.Random], str]] = {
    "length:concise": _shorten,
    "format:list": _itemise,
    "emoji:emoji": _decorate,
}
