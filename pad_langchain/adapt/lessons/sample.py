"""Contrasting answers: the base is told to show a pole, then its opposite, and is asked plainly as well.

Every prompt is answered under some of the dimensions, in rotation, so that all get equally many.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace

from pad_langchain.adapt.config import AdaptConfig
from pad_langchain.adapt.lessons.texts import Text, whole
from pad_langchain.adapt.model import Asked, Model, Said, Tick, seed_of
from pad_langchain.adapt.poles import Dimension
from pad_langchain.adapt.prompts import Prompt
from pad_langchain.chat.chat import Chat
from pad_langchain.chat.options import CallOptions
from pad_langchain.evaluation.answers import Kept

__all__ = ["answered", "rotation", "sample", "sample_guided"]


def rotation(place: int, dimensions: Sequence[Dimension], many: int) -> list[Dimension]:
    """The dimensions under which the prompt at a place is answered; neighbours get the next ones."""
    many = min(many, len(dimensions))
    return [dimensions[(place * many + n) % len(dimensions)] for n in range(many)]


def sample(
    model: Model,
    prompts: Sequence[Prompt],
    dimensions: Sequence[Dimension],
    config: AdaptConfig,
    kept: Kept,
    tick: Tick,
) -> list[Text]:
    """Answer prompts under both poles of their dimensions, and plainly.

    Args:
        prompts: in an order that does not change when more follow.
        kept: the answers so far. New ones are added.

    Returns:
        all answers that came to something, those that were cut off up to their last whole sentence. A plain answer
        goes with the first dimension of its prompt.
    """
    wanted = [each for place, prompt in enumerate(prompts) for each in _wanted(place, prompt, dimensions, config)]
    by_id = {prompt.id: prompt for prompt in prompts}
    asked = [
        Asked(text.id, model.told(by_id[text.prompt], instruction), _options(config, text.id))
        for text, instruction in wanted
    ]
    said = answered(model, model.chat(), asked, kept, tick)
    return [found for text, _ in wanted if (found := _said(text, said[text.id])) is not None]


def sample_guided(
    model: Model,
    chat: Chat,
    prompts: Sequence[Prompt],
    dimensions: Sequence[Dimension],
    config: AdaptConfig,
    kept: Kept,
    tick: Tick,
) -> list[Text]:
    """Answer prompts under the poles of their dimensions again, as an earlier head guides.

    Args:
        chat: the base with the head. The base is told the wish at the end of the user's turn as well.
    """
    poles = {(dimension.name, side): pole for dimension in dimensions for side, pole in enumerate(dimension.poles)}
    wanted = [
        replace(text, source="guided")
        for place, prompt in enumerate(prompts)
        for text, _ in _wanted(place, prompt, dimensions, config)
        if text.source == "told"
    ]
    by_id, first = {prompt.id: prompt for prompt in prompts}, config.choice
    asked = [
        Asked(
            text.id,
            model.told(by_id[text.prompt]),
            replace(
                _options(config, text.id),
                preference=poles[text.dimension, text.side].text,
                condition_base=True,
                wish_place="user",
                beta=first.betas[0],
                top_k=first.ks[0],
                alpha=first.alphas[0],
            ),
        )
        for text in wanted
    ]
    said = answered(model, chat, asked, kept, tick)
    return [found for text in wanted if (found := _said(text, said[text.id])) is not None]


def answered(model: Model, chat: Chat, asked: Sequence[Asked], kept: Kept, tick: Tick) -> dict[str, Said]:
    """Answer what is not kept yet; each answer is on disk as soon as it and those before it are there."""
    missing = [each for each in asked if kept.get(each.id) is None]
    for done, (each, said) in enumerate(model.answer(chat, missing), 1):
        kept.put(each.id, asdict(said))
        tick(done, len(missing))
    return {each.id: Said(**kept.get(each.id)) for each in asked}


def _wanted(
    place: int, prompt: Prompt, dimensions: Sequence[Dimension], config: AdaptConfig
) -> Iterator[tuple[Text, str]]:
    """The answers to one prompt, still without words, and the instruction of each."""
    chosen = rotation(place, dimensions, config.sample.dimensions)
    yield Text(f"{prompt.id}|plain", prompt.id, chosen[0].name, 0, "plain", "", False), ""
    for dimension in chosen:
        for side, pole in enumerate(dimension.poles):
            key = f"{prompt.id}|{dimension.key(side)}"
            other = f"{prompt.id}|{dimension.key(1 - side)}"
            yield Text(key, prompt.id, dimension.name, side, "told", "", False, other), pole.instruction


def _options(config: AdaptConfig, key: str) -> CallOptions:
    settings = config.sample
    return CallOptions(
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=settings.max_tokens,
        seed=seed_of(config.seed, key),
    )


def _said(text: Text, said: Said) -> Text | None:
    """The text with its words; None where it has none, as when the model was still thinking at the limit."""
    written = said.text if said.ended else whole(said.text)
    return replace(text, text=written, ended=said.ended) if written else None
