"""Which answers a head may learn from. What is dropped is counted by reason.

An answer has to be one: of some words, without loops, about its prompt. Where a pole can be counted, it has to show
the pole. Whether it leans to its pole in every other respect, the base itself says when its features are there: by how
much likelier the answer is when the base is told the pole than when it is told the opposite.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pad_langchain.adapt.config import FilterSettings
from pad_langchain.adapt.lessons.texts import Text, bullets, emojis, fresh, words
from pad_langchain.adapt.prompts import Prompt
from pad_memory.embedding import Embedder, embed

__all__ = ["COUNTS", "good", "leans"]

SHORT, LONG = 50, 70  # words
ITEMS = 2  # of a list, at least

# Pole → whether a text shows it, where that can be counted.
COUNTS: dict[str, Callable[[str], bool]] = {
    "length:concise": lambda text: len(words(text)) <= SHORT,
    "length:detailed": lambda text: len(words(text)) >= LONG,
    "format:list": lambda text: bullets(text) >= ITEMS,
    "format:prose": lambda text: bullets(text) == 0,
    "emoji:emoji": lambda text: emojis(text) > 0,
    "emoji:no-emoji": lambda text: emojis(text) == 0,
}


def good(
    texts: Sequence[Text],
    prompts: Mapping[str, Prompt],
    keys: Mapping[tuple[str, int], str],
    settings: FilterSettings,
    embedder: Embedder,
) -> tuple[list[Text], Counter[str]]:
    """Return the texts that are answers and, as far as it can be counted, show their pole; and why others are not.

    Args:
        prompts: by id.
        keys: (dimension, side) → the name of a pole, such as "length:concise".
    """
    on_topic = _on_topic(texts, prompts, embedder)
    kept, dropped = list[Text](), Counter[str]()
    for text, cosine in zip(texts, on_topic, strict=True):
        key = keys[text.dimension, text.side]
        if len(words(text.text)) < settings.least_words:
            reason = "too short"
        elif fresh(text.text) < settings.least_fresh:
            reason = "repeats itself"
        elif cosine < settings.least_on_topic:
            reason = "off topic"
        elif text.source != "plain" and key in COUNTS and not COUNTS[key](text.text):
            reason = "does not show its pole"
        else:
            kept.append(text)
            continue
        dropped[reason] += 1
    return kept, dropped


def leans(text: Text, lean: float, settings: FilterSettings) -> bool:
    """Whether an answer that was told its pole leans to it. Others need not: they were made to show it, or show none.

    Args:
        lean: mean of log p(token | told the pole) − log p(token | told the opposite), in nats.
    """
    return text.source not in ("told", "guided") or lean >= settings.least_lean


def _on_topic(texts: Sequence[Text], prompts: Mapping[str, Prompt], embedder: Embedder) -> np.ndarray:
    """Cosine of each text and its prompt."""
    if not texts:
        return np.zeros(0)
    asked_NE = embed(embedder, [prompts[text.prompt].text for text in texts])
    said_NE = embed(embedder, [text.text for text in texts])
    cosines_N: np.ndarray = np.einsum("ne,ne->n", asked_NE, said_NE)
    return cosines_N
