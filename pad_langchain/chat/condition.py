"""What steers one turn: preferences that the call names, or those the memory has for its user, question and thread.

Beneath either lie the operator's defaults. One steers unless something else that steers is about the same matter: a
dimension of the catalogue, or the same words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from pad_langchain.chat.contrast import reader_of
from pad_langchain.chat.routes import MOST_TOLD, USUAL
from pad_langchain.engine.regions import free_fields
from pad_langchain.engine.types import Route, WeightedPreference
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.chat.options import CallOptions, ChatSettings
    from pad_memory import Condition, Preference, PreferenceMemory
    from pad_memory.embedding import Embedder
    from pad_memory.language import Occasion, Reader, Reading
    from pad_memory.profile import Taste
    from pad_memory.values import Guard

NUMBERS = (int, float, np.integer, np.floating)

__all__ = [
    "Conditioned",
    "HeldBack",
    "Wish",
    "binds",
    "check_defaults",
    "condition_of",
    "embedder_of",
    "explicit",
    "parse_preference",
    "plain_only",
    "steering",
]

Part = tuple[str, frozenset[str]]  # a wish in words, and the matters it is about
_parts: WeakKeyDictionary[Reader, dict[str, tuple[Part, ...]]] = WeakKeyDictionary()  # of defaults


@dataclass(frozen=True)
class Wish:
    """A preference that steers, and whose it is.

    Args:
        preference: its text, weight and, where the guide reads vectors, embedding.
        source: "call" where the call names it; else as `pad_memory.Preference` has it: "stated", "inferred",
            "population", or "operator" for the floor and for defaults.
        key: the memory's key, "length:concise"; None where it is not of the memory.
        worth: how much it bears on the question, times how sure it is; infinite where nobody may leave it out.
        route: which way it goes. None: it cannot steer, as there is no PersRM, and is not told either.
    """

    preference: WeightedPreference
    source: str
    key: str | None = None
    worth: float = math.inf
    route: Route | None = "guide"

    @property
    def own_words(self) -> bool:
        """Whether the words are a user's, which the base is only ever told as data."""
        return self.key is not None and self.key.startswith("text:")


HeldBack = tuple[str, str]  # a wish that does not steer here, in words, and the reason


class Conditioned(NamedTuple):
    """What conditions one call: wishes, those that are held back, and the user's taste where they have one."""

    wishes: tuple[Wish, ...] = ()
    held: tuple[HeldBack, ...] = ()
    taste: Taste | None = None


def steering(said: CallOptions, settings: ChatSettings, question: str, *, vectors: bool) -> tuple[Wish, ...]:
    """Choose what conditions one call; see `condition_of`, which says what is held back as well."""
    return condition_of(said, settings, question, vectors=vectors).wishes


def condition_of(said: CallOptions, settings: ChatSettings, question: str, *earlier: str, vectors: bool) -> Conditioned:
    """Choose what conditions a call: its own preferences or else the memory's, and the defaults they leave room for.

    What the user wishes of answers to them does not belong into JSON and arguments (`style_arguments`), nor into texts
    for others (`selective`). What a call itself names is never held back.

    Args:
        said: the call's options, with those it leaves out taken from the settings.
        settings: the face's; they have the memory, the defaults and the embedder.
        question: what the user asks, which the memory chooses for.
        earlier: what they said before it, the oldest first: "make it shorter" asks for what was asked for there.
        vectors: whether preferences that are not of the memory get embeddings.

    Raises:
        InvalidRequestError: the call's preference cannot be read, or the memory's policy refuses it or a default.
        pad_memory.PadMemoryError: the memory cannot be read.
    """
    memory, embedder = settings.memory, embedder_of(settings) if vectors else None
    wishes: list[Wish] = []
    held: tuple[HeldBack, ...] = ()
    taste: Taste | None = None
    unsaid: list[str] = []
    bound = plain_only(said)
    if said.preference is not None:
        wishes = [Wish(one, "call") for one in explicit(said.preference, embedder)]
        if not wishes:
            return Conditioned()  # a call that asks for nothing is not told the defaults either
        _check_call(wishes, memory)
    elif memory is not None and said.user_id is not None:
        condition = memory.condition(
            said.user_id,
            query=question,
            thread=said.thread_id,
            own=MOST_TOLD,
            now=_occasion(said, question, earlier),
            selective=True if bound else said.selective,
        )
        wishes = [_wish(item, condition) for item in condition]
        held = tuple((item.text, reason) for item, reason in condition.held_back)
        taste = None if bound else condition.taste
        unsaid = _crowded_out(condition, memory, said.thread_id) if settings.defaults else []
    check_defaults(settings.defaults, memory)
    if bound and settings.defaults and said.preference is None:
        reason = "it is the operator's style of answers, and a program reads this"
        return Conditioned(tuple(wishes), (*held, *((text, reason) for text, _ in settings.defaults)))
    if not wishes or not settings.defaults:
        defaults = (Wish(one, "operator") for one in explicit(settings.defaults, embedder))
        return Conditioned((*wishes, *defaults), held, taste)
    return Conditioned(_with_defaults(wishes, unsaid, settings, embedder), held, taste)


def plain_only(said: CallOptions) -> bool:
    """Whether no word of an answer is for people: a program reads all of it, and no field is free text."""
    return binds(said) and not said.style_arguments and not free_fields([said.tools, said.response_format])


def binds(said: CallOptions) -> bool:
    """Whether all of an answer is for a program: JSON, or a call of a tool that has to come."""
    format_ = (said.response_format or {}).get("type", "text")
    return format_ != "text" or bool(said.tools and said.tool_choice not in (None, False, "auto", "none"))


def _occasion(said: CallOptions, question: str, earlier: Sequence[str]) -> Occasion:
    from pad_memory.language import ANSWER, DATA, occasion

    if binds(said):
        return DATA if plain_only(said) else ANSWER
    return occasion(*earlier, question)


def _wish(item: Preference, condition: Condition) -> Wish:
    """A preference of the memory. What is about style bears on every question alike."""
    own = item.key.startswith("text:")
    bearing = condition.bearing.get(item.key, 1.0) if own else USUAL
    worth = math.inf if item.source == "operator" else bearing * item.confidence
    return Wish(WeightedPreference(item.text, item.weight, item.embedding), item.source, item.key, worth)


def check_defaults(defaults: Iterable[tuple[str, float]], memory: PreferenceMemory | None) -> None:
    """Hold defaults to the memory's policy; without a memory, to the rules that every memory has.

    Raises:
        InvalidRequestError: a text is refused or quarantined, whatever its weight.
    """
    for text, _ in defaults:
        verdict = (_rules() if memory is None else memory.guard).check(text)
        if not verdict.allowed:
            raise InvalidRequestError(
                f"The default {text!r} may not steer: {verdict.reason}. Word it otherwise, or list it in the memory's "
                "policy: PreferenceMemory(values=Values(allow=[…]))."
            )


def _check_call(wishes: Iterable[Wish], memory: PreferenceMemory | None) -> None:
    """Hold a call's preferences to the rules of the memory's policy, whoever wrote them; a classifier is not asked.

    Raises:
        InvalidRequestError: a text is refused or quarantined, whatever its weight.
    """
    guard = _rules() if memory is None else memory.guard
    for wish in wishes:
        text = wish.preference.text
        verdict = guard.check(text, rules_only=True)
        if not verdict.allowed:
            raise InvalidRequestError(
                f"The preference {text!r} may not steer: {verdict.reason}. Word it otherwise, or list it in the "
                "memory's policy: PreferenceMemory(values=Values(allow=[…]))."
            )


@cache
def _rules() -> Guard:
    from pad_memory.values import Guard, Values

    return Guard(Values(classifier=False))


def _crowded_out(condition: Condition, memory: PreferenceMemory, thread: str | None) -> list[str]:
    """Keys of what the user said in words that holds here, but found no room in the condition's budget."""
    from pad_memory.language import thread_scope

    here = {None, thread_scope(thread)} if thread is not None else {None}
    return [
        item.key
        for item, _ in condition.left_out
        if item.source == "stated" and item.scope in here and memory.guard.check(item.text, rules_only=True).allowed
    ]


def _with_defaults(
    wishes: Sequence[Wish], unsaid: Sequence[str], settings: ChatSettings, embedder: Embedder | None
) -> tuple[Wish, ...]:
    """The wishes, and each default, or the part of it, that is about another matter than all of them.

    A default goes before what the population wants, which is only a guess.
    """
    reader = reader_of(settings.memory, settings.embedder)
    known = _parts.setdefault(reader, {})
    taken = {_matter_of_key(key) for key in unsaid}
    taken |= {matter for wish in wishes if wish.source != "population" for matter in _matters(wish, reader)}
    kept: list[tuple[str, float]] = []
    matters: set[str] = set()
    for text, weight in settings.defaults:
        if text not in known:
            known[text] = _split(reader, text)
        parts = [part for part in known[text] if not part[1] & taken]
        whole = len(parts) == len(known[text])
        kept += [(text, weight)] if whole else [(part, weight) for part, _ in parts]
        matters = matters.union(*(about for _, about in parts))
    others = [wish for wish in wishes if wish.source != "population" or not _matters(wish, reader) & matters]
    return (*others, *(Wish(one, "operator") for one in explicit(kept, embedder)))


def _matters(wish: Wish, reader: Reader) -> frozenset[str]:
    if wish.key is not None and not wish.key.startswith("floor:"):
        return frozenset({_matter_of_key(wish.key)})
    return frozenset[str]().union(*(about for _, about in _split(reader, wish.preference.text)))


def _split(reader: Reader, text: str) -> tuple[Part, ...]:
    """The wishes in a text, each with its matter; one that holds only somewhere stays whole."""
    from pad_memory.errors import EmbedderError
    from pad_memory.profile import text_key

    def about(reading: Reading) -> str:
        return text_key(reading.text) if reading.key is None else _matter_of_key(reading.key)

    try:
        readings = reader.read(text)
    except EmbedderError:  # only wordings of the catalogue are recognised without it
        return ((text, frozenset({text_key(text)})),)
    if len(readings) < 2 or any(reading.scope or reading.ends for reading in readings):
        return ((text, frozenset(map(about, readings))),)
    return tuple((reading.text, frozenset({about(reading)})) for reading in readings)


def _matter_of_key(key: str) -> str:
    key = key.partition("@")[0]
    return key if key.startswith("text:") else key.partition(":")[0]


def embedder_of(settings: ChatSettings) -> Embedder | None:
    """What embeds preferences: the settings' own, else the memory's, so that what is told and what is known meet."""
    if settings.embedder is not None or settings.memory is None:
        return settings.embedder
    memory: PreferenceMemory = settings.memory
    return memory.embedder


def explicit(preference: Any, embedder: Embedder | None) -> tuple[WeightedPreference, ...]:
    """The preferences of a call that names them, see `parse_preference`.

    Args:
        embedder: gives them the vectors a head reads; None means the guide embeds if it needs to.
    """
    preferences = parse_preference(preference)
    if not preferences or embedder is None:
        return preferences
    from pad_memory.language import embed_wishes

    vectors_PE = embed_wishes(embedder, [preference.text for preference in preferences])
    return tuple(replace(one, embedding=vector_E) for one, vector_E in zip(preferences, vectors_PE, strict=True))


def parse_preference(preference: Any, name: str = "preference") -> tuple[WeightedPreference, ...]:
    """Read a call's `preference`: a text, or a list of texts and (text, weight) pairs. An empty list is no preference.

    Args:
        name: what it is called, for the error.

    Raises:
        InvalidRequestError: it has another form, a text is blank or a weight is not finite.

    >>> [(p.text, p.weight) for p in parse_preference(["be brief", ("be formal", -0.5)])]
    [('be brief', 1.0), ('be formal', -0.5)]
    """
    if isinstance(preference, str):
        return (WeightedPreference(preference),)
    if not isinstance(preference, Sequence):
        raise _unreadable(name, preference)
    return tuple(_one_preference(name, item) for item in preference)


def _one_preference(name: str, item: Any) -> WeightedPreference:
    if isinstance(item, WeightedPreference):
        return item
    if isinstance(item, str):
        return WeightedPreference(item)
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise _unreadable(name, item)
    text, weight = item
    if not isinstance(text, str) or isinstance(weight, bool) or not isinstance(weight, NUMBERS):
        raise _unreadable(name, item)
    return WeightedPreference(*item)


def _unreadable(name: str, got: Any) -> InvalidRequestError:
    return InvalidRequestError(
        f"{name} has to be a text, or a list of texts and (text, weight) pairs, but is {got!r}. "
        'For example [("be concise", 1.0), ("be formal", -0.5)].'
    )
