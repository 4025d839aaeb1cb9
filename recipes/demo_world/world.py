"""The demo's small world: questions about its topics, and answers that vary along eight independent style dimensions.

A `Style` gives each dimension of the catalogue 0 (its first pole) or 1 (its second). Every dimension shows at a few
clear places of an answer (an opener, a list, a joke, …): rule judges can read it back, and a reward can steer it.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from recipes.demo_world.topics import Topic, capital, lower

__all__ = ["DIMENSIONS", "GENERAL_QUESTIONS", "Style", "answer", "question", "random_style"]

DIMENSIONS = ("length", "tone", "humor", "format", "level", "examples", "warnings", "emoji")
Style = Mapping[str, int]

# ---- the words of each style. Index 0 and 1 follow the catalogue's poles: tone 0 is formal, 1 casual.
OPENERS = (
    ("Certainly.", "With pleasure.", "Thank you for your question."),
    ("Sure thing!", "Hey there!", "No worries, I got you!"),
)
CONNECTORS = (("Furthermore, ", "In addition, "), ("Plus, ", "Oh, and "))
CLOSERS = (
    ("I trust that this is satisfactory.", "I remain at your disposal."),
    ("Hope that helps, pal!", "Catch you later!"),
)
LIST_LEADS = (("Kindly consider the following points:",), ("Check out this list:",))
EXAMPLES = (("For example, {e}.", "For instance, {e}."), ("Like, for example, {e}.", "Like, for instance, {e}."))
WARNINGS = (
    ("Please be careful: {c}.", "A word of caution: {c}."),
    ("Heads up, be careful: {c}.", "Quick safety note: {c}."),
)
JOKE_LEADS = ("On a lighter note, ", "Joke break: ")
JOKES = (
    "my goldfish claims that it invented {n}!",
    "even my toaster laughs when it hears of {n}!",
    "my grandma giggles each time I say {n}!",
    "a barman once laughed for an hour about {n}!",
    "if {n} had a comedy show, I would sit in the front row!",
)
ELABORATIONS = (
    ("There is a lot more to say about it.", "It is good to know a bit more."),
    ("A comprehensive analysis merits further discussion.", "The relevant parameters warrant rigorous examination."),
)
BRIEFLY = "In short, "
EMOJI = ("🙂", "✨", "👍", "🎉")

GENERAL_QUESTIONS = (
    "Tell me about {s}.",
    "What can you tell me about {s}?",
    "Give me some information on {s}.",
    "I want to learn about {s}.",
    "Describe {s}.",
    "Explain {s} to me.",
    "Explain {s}.",
    "What do you know about {s}?",
    "Can you explain {s}?",
    "Could you tell me about {s}, please?",
    "I would like to know more about {s}.",
    "Teach me about {s}.",
    "{s}?",
    "I have a question about {s}.",
    "Please describe {s}.",
    "Who or what is {s}?",
)
GREETINGS = ("Hi! ", "Hello, ", "Please help. ", "Quick question: ", "Hey, ")


def random_style(rng: random.Random) -> dict[str, int]:
    """Draw each dimension's pole with a fair coin."""
    return {dimension: rng.randrange(2) for dimension in DIMENSIONS}


def question(topic: Topic, rng: random.Random) -> str:
    """Ask about a topic in one of its domain's or the general forms, sometimes sloppily typed."""
    forms = topic.questions * 2 + (() if topic.domain == "howto" else GENERAL_QUESTIONS)
    text = capital(rng.choice(forms).format(s=topic.subject))
    if rng.random() < 0.12:
        text = rng.choice(GREETINGS) + text
    if rng.random() < 0.08:
        text = text.rstrip("?.!")
    if rng.random() < 0.08:
        text = text.lower()
    return text


def answer(topic: Topic, style: Style, rng: random.Random) -> str:
    """Answer about a topic in a style; `rng` picks among wordings that mean the same."""
    tone, level = style["tone"], style["level"]
    concise, as_list = style["length"] == 0, style["format"] == 0
    face = " " + rng.choice(EMOJI) if style["emoji"] == 0 else ""
    joke = rng.choice(JOKE_LEADS) + rng.choice(JOKES).format(n=topic.joke_name) if style["humor"] == 0 else ""
    joke_first = rng.random() < 0.5

    head = [rng.choice(OPENERS[tone]) + face]
    if joke and joke_first:
        head.append(joke)
    core = topic.core[level]
    if concise and topic.domain != "howto" and rng.random() < 0.5:
        core = BRIEFLY + (core if topic.name[0].isupper() else lower(core))
    head.append(core)
    details = [levels[level] for levels in (topic.brief if concise else topic.details)]
    if as_list:
        body = " ".join([*head, rng.choice(LIST_LEADS[tone])]) + "\n" + "\n".join(f"- {text}" for text in details)
    else:
        linked = [details[0]]
        linked += [_link(text, rng.choice(CONNECTORS[tone]) if rng.random() < 0.6 else "") for text in details[1:]]
        body = " ".join([*head, *linked])
    tail = []
    if not concise:
        tail.append(rng.choice(ELABORATIONS[level]))
    if style["examples"] == 0:
        tail.append(rng.choice(EXAMPLES[tone]).format(e=rng.choice(topic.examples)))
    if joke and not joke_first:
        tail.append(joke)
    if style["warnings"] == 0:
        tail.append(rng.choice(WARNINGS[tone]).format(c=rng.choice(topic.cautions)))
    if rng.random() < 0.6:
        tail.append(rng.choice(CLOSERS[tone]))
    if not tail:
        return body + face
    return body + ("\n" if as_list else " ") + " ".join(tail) + face


def _link(text: str, connector: str) -> str:
    return connector + lower(text) if connector else text
