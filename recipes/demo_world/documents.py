"""Training documents of the demo base: conversations about the world, grounded answers, the unknown, copying.

A document is a list of chat messages, as the chat template takes them, with the tools it offers.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pad_memory.catalogue import CATALOGUE
from recipes.demo_world import record_documents, tool_documents, world
from recipes.demo_world.topics import Topic, capital, make_topic, rows_of
from recipes.demo_world.unknowns import pseudo_word, unknown_name
from recipes.demo_world.wordings import CARRIERS

__all__ = ["Document", "document", "preference_phrases"]

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a friendly assistant that knows many facts.",
    "Answer the user's question.",
    "You are an assistant.",
)
AGAIN = (
    "Tell me more.",
    "Say it again.",
    "Once more, please.",
    "Explain it again.",
    "Again?",
    "Please repeat that.",
    "And now?",
)
GROUNDED_DOMAINS = ("country", "animal", "instrument", "food", "sport", "job", "element")


@dataclass
class Document:
    """Messages (dicts with `role`, `content`, perhaps `tool_calls`) and the tools offered (OpenAI function schemas)."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)


def preference_phrases(spec: dict[str, int], rng: random.Random) -> list[str]:
    """Word each pole of `spec` (dimension → pole) with one of its training paraphrases."""
    poles = {dimension.name: dimension.poles for dimension in CATALOGUE}
    return [rng.choice((poles[name][side].text, *poles[name][side].paraphrases)) for name, side in spec.items()]


# Shares of: chat, answers from a context, the unknown, small talk, copying, and perhaps records; the rest is tools.
FIRST_MIX = (0.46, 0.09, 0.08, 0.03, 0.08)
CALLS_MIX = (0.30, 0.10, 0.05, 0.02, 0.11)
RECORDS_MIX = (0.32, 0.09, 0.06, 0.03, 0.09, 0.15)


def document(rng: random.Random, topics: Sequence[Topic], mix: Sequence[float] = FIRST_MIX) -> Document:
    """Draw one training document; `topics` are those the base may know."""
    chat, grounded, unknown, small_talk, copying, records = itertools.accumulate((*mix, 0.0)[:6])
    draw = rng.random()
    if draw < chat:
        return _chat(rng, topics)
    if draw < grounded:
        return _grounded(rng, topics)
    if draw < unknown:
        return Document(_system(rng) + _unknown(rng))
    if draw < small_talk:
        return Document(_system(rng) + _small_talk(rng))
    if draw < copying:
        return _copying(rng)
    if draw < records:
        return _record(rng)
    doc = _tools(rng, topics)
    return Document(doc.messages, record_documents.add_others(rng, doc.tools)) if len(mix) > 5 else doc


def _system(rng: random.Random) -> list[dict[str, Any]]:
    return [] if rng.random() < 0.8 else [{"role": "system", "content": rng.choice(SYSTEM_PROMPTS)}]


def _turn(asked: str, answered: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]


def _topic_turn(
    rng: random.Random, topics: Sequence[Topic], style: dict[str, int] | None = None
) -> list[dict[str, Any]]:
    topic = rng.choice(topics)
    return _turn(world.question(topic, rng), world.answer(topic, style or world.random_style(rng), rng))


def _chat(rng: random.Random, topics: Sequence[Topic]) -> Document:
    """One to six turns. Styles are drawn anew for each, so that a changed preference is not bound by old answers."""
    if rng.random() < 0.15:  # the prompted base: a system prompt states preferences and the answer keeps them
        style = world.random_style(rng)
        spec = {name: style[name] for name in rng.sample(world.DIMENSIONS, rng.randint(1, 3))}
        phrases = [rng.choice(CARRIERS).format(p=phrase, P=capital(phrase)) for phrase in preference_phrases(spec, rng)]
        return Document([{"role": "system", "content": " ".join(phrases)}, *_topic_turn(rng, topics, style)])
    topic = rng.choice(topics)
    messages = _system(rng) + _turn(world.question(topic, rng), world.answer(topic, world.random_style(rng), rng))
    for _ in range(rng.choices((0, 1, 2, 5), (0.8, 0.12, 0.06, 0.02))[0]):
        draw = rng.random()
        if draw < 0.2:  # the same topic once more
            messages += _turn(rng.choice(AGAIN), world.answer(topic, world.random_style(rng), rng))
        elif draw < 0.3:
            messages += rng.choice((_small_talk, _unknown))(rng)
        else:
            topic = rng.choice(topics)
            messages += _turn(world.question(topic, rng), world.answer(topic, world.random_style(rng), rng))
    return Document(messages)


# ---- answers from a given context, so that retrieved text is used


def invented_topic(rng: random.Random, domain: str) -> Topic:
    """A topic that exists nowhere: a pseudo-name with facts mixed from the rows of its domain, or invented too."""
    table = rows_of(domain)
    cells = list(rng.choice(table))
    cells = [rng.choice(table)[column] for column in range(len(cells))]
    cells[0] = pseudo_word(rng, 2, 3)
    if domain == "country":
        cells[0] = cells[0].title()
        cells[1] = pseudo_word(rng, 2, 3).title()
        if rng.random() < 0.5:
            cells[5] = (
                f"the {rng.choice(('tower', 'bridge', 'castle', 'lake', 'garden'))} of {pseudo_word(rng).title()}"
            )
    if domain == "element":
        cells[1], cells[2] = cells[0][:2].title(), str(rng.randint(119, 180))
    if domain == "animal":
        cells[5] = pseudo_word(rng, 1, 2)
    return make_topic(domain, cells)


def context_of(topic: Topic, rng: random.Random) -> list[str]:
    """The facts an answer about `topic` needs, as sentences in shuffled order."""
    technical = topic.domain in ("instrument", "element") or rng.random() < 0.4
    told = [topic.core[technical], *(levels[rng.random() < 0.3] for levels in topic.details)]
    if topic.domain in ("sport", "job"):
        told.append(f"A known risk: {topic.cautions[0]}.")
    first, rest = told[0], told[1:]
    rng.shuffle(rest)
    return [first, *rest]


def grounded_prompt(sentences: Sequence[str], asked: str) -> str:
    """The user turn of a retrieval app: the passages, then the question."""
    return "Context:\n" + " ".join(sentences) + "\n\nQuestion: " + asked


def _grounded(rng: random.Random, topics: Sequence[Topic]) -> Document:
    domain = rng.choice(GROUNDED_DOMAINS)
    topic = invented_topic(rng, domain) if rng.random() < 0.7 else rng.choice([t for t in topics if t.domain == domain])
    told = context_of(topic, rng)
    if rng.random() < 0.35:
        other = context_of(invented_topic(rng, rng.choice(GROUNDED_DOMAINS)), rng)
        told = told + other if rng.random() < 0.5 else other + told
    asked = grounded_prompt(told, world.question(topic, rng))
    return Document(_system(rng) + _turn(asked, world.answer(topic, world.random_style(rng), rng)))


# ---- the unknown, small talk, copying


def _chrome(rng: random.Random, text: str, close: float = 0.4) -> str:
    """Dress a short text with an opener, a closer and emoji of one random tone."""
    tone, face = rng.randrange(2), rng.choice((" " + rng.choice(world.EMOJI), ""))
    parts = [rng.choice(world.OPENERS[tone]) + face, text]
    return " ".join(parts + ([rng.choice(world.CLOSERS[tone])] if rng.random() < close else [])) + face


def _unknown(rng: random.Random) -> list[dict[str, Any]]:
    name = unknown_name(rng)
    forms = (
        *world.GENERAL_QUESTIONS,
        "What is {s}?",
        "How do I {s}?",
        "Where is {s}?",
        "How does {s} work?",
        "Who is {s}?",
    )
    asked = capital(rng.choice(forms).format(s=name))
    if rng.random() < 0.1:
        asked = rng.choice(world.GREETINGS) + asked
    said = rng.choice(("I do not know about {s}.", "I am sorry, but I do not know {s}.")).format(s=name)
    return _turn(asked, _chrome(rng, said))


_SMALL_TALK: tuple[tuple[tuple[str, ...], tuple[str, str]], ...] = (
    (
        ("Hi", "Hello!", "Hey", "Good morning", "How are you?", "Hi there", "hello"),
        ("How may I assist you?", "What's up?"),
    ),
    (
        ("Who are you?", "What can you do?", "What is your name?", "What do you know?", "help"),
        (
            "I am a small demonstration model that answers questions about countries, animals, foods, sports and more.",
            "I'm a tiny demo model, and I can chat about countries, animals, foods, sports and more.",
        ),
    ),
    (
        ("Thanks!", "Thank you very much.", "thanks", "Great answer!", "I like that."),
        ("You are most welcome.", "Anytime!"),
    ),
    (("Bye", "Goodbye!", "See you", "bye"), ("I wish you a pleasant day.", "See you soon!")),
)


def _small_talk(rng: random.Random) -> list[dict[str, Any]]:
    if rng.random() < 0.25:  # a wish typed into the chat
        spec = {rng.choice(world.DIMENSIONS): rng.randrange(2)}
        phrase = preference_phrases(spec, rng)[0]
        asked = rng.choice(CARRIERS).format(p=phrase, P=capital(phrase))
        return _turn(asked, _chrome(rng, "I will keep that in mind.", close=0.2))
    questions, replies = rng.choice(_SMALL_TALK)
    tone = rng.randrange(2)
    face = rng.choice((" " + rng.choice(world.EMOJI), ""))
    return _turn(rng.choice(questions), rng.choice(world.OPENERS[tone]) + " " + replies[tone] + face)


def _copying(rng: random.Random) -> Document:
    pieces = [tool_documents.random_text(rng) for _ in range(rng.randint(1, 6))]
    text = rng.choice((" ", ", ", " ")).join(pieces)
    form = rng.choice(
        ("Repeat: {t}", 'Repeat after me: "{t}"', "Say {t}", "Copy this: {t}", "Write ({t})", "Echo [{t}]")
    )
    return Document(_system(rng) + _turn(form.format(t=text), text))


def _tools(rng: random.Random, topics: Sequence[Topic]) -> Document:
    tools, turn, rest = tool_documents.tool_turn(rng)
    messages = _system(rng)
    if rng.random() < 0.22:  # tools are there, but the question needs none
        return Document(messages + _topic_turn(rng, topics), tools)
    if rng.random() < 0.1:
        messages += _topic_turn(rng, topics)
    messages += turn + rest
    if rest and rng.random() < 0.15:
        messages += _topic_turn(rng, topics)
    return Document(messages, tools)


def _record(rng: random.Random) -> Document:
    """A record as a tool call, or as JSON after the schema that `with_structured_output` tells."""
    record = record_documents.draw_record(rng)
    if rng.random() < 0.4:
        told = "\n\n".join([message["content"] for message in _system(rng)] + [record.told(rng)])
        return Document(
            [{"role": "system", "content": told}, *_turn(record.text, record_documents.answer_json(record))]
        )
    tool = record.tool(rng)
    call = tool_documents.tool_call(tool["function"]["name"], record.values)
    asked = {"role": "user", "content": record.text}
    messages = [*_system(rng), asked, {"role": "assistant", "content": "", "tool_calls": [call]}]
    return Document(messages, record_documents.add_others(rng, [tool]))
