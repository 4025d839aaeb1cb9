"""Two hundred scripted users who change their mind: flip, refine, scope, restate, retract, decay, end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from fakes import PoleScorer
from pad_memory import CATALOGUE, Choice, Critique, PreferenceMemory, SentenceEmbedder, Statement

DAY = 86_400.0
START = 1_735_700_000.0  # Unix seconds; in the past, so that every step can say its day

# Each pole with two wordings, and the thing one could get over: "I used to like …".
WORDS = {
    "length:concise": ("keep it short", "be brief please", "short answers"),
    "length:detailed": ("give me all the details", "I want long answers", "long answers"),
    "tone:formal": ("be more formal", "please be polite", "a formal tone"),
    "tone:casual": ("don't be so formal", "talk like a friend", "a casual tone"),
    "humor:humorous": ("tell a joke now and then", "be funny", "jokes"),
    "humor:serious": ("no jokes please", "stop joking around", "serious answers"),
    "format:list": ("use bullet points", "answer with lists", "bullet points"),
    "format:prose": ("don't use bullet points", "write in paragraphs", "paragraphs"),
    "level:simple": ("explain like I'm a beginner", "use simple words", "simple words"),
    "level:technical": ("be more technical", "use technical terms", "technical terms"),
    "examples:examples": ("always give an example", "I need more examples", "examples"),
    "examples:no-examples": ("never give examples", "skip the examples", "answers without examples"),
    "warnings:warnings": ("warn me about risks", "tell me the dangers", "warnings"),
    "warnings:no-warnings": ("don't warn me", "skip the warnings", "answers without warnings"),
    "emoji:emoji": ("please use emojis", "more emojis", "emojis"),
    "emoji:no-emoji": ("stop using emojis", "I can't stand emojis", "answers without emojis"),
}
POLES = list(WORDS)
OTHER = {f"{d.name}:{d.poles[side].name}": f"{d.name}:{d.poles[1 - side].name}" for d in CATALOGUE for side in (0, 1)}
# What a wish can be limited to, a question about it, and one about something else.
TOPICS = {
    "code": ("Why does my Python function return None?", "How long do I boil an egg?"),
    "cooking": ("What can I cook with leftover rice?", "Why does my Python function return None?"),
    "math": ("What is the derivative of x squared?", "Who was the first Roman emperor?"),
    "history": ("Who was the first Roman emperor?", "What is the derivative of x squared?"),
    "health": ("What helps against a headache?", "How do I sort a list in Python?"),
    "travel": ("What should I see in Lisbon?", "What is the derivative of x squared?"),
    "gardening": ("When do I plant tomatoes in my garden?", "What is the capital of Peru?"),
    "music": ("How do I tune a guitar?", "What helps against a headache?"),
}
LIMITED = (
    "For {topic}, {wish}", "When I ask about {topic}, {wish}", "{wish} when I ask about {topic}",
    "{wish} for {topic} questions",
)  # fmt: skip


@dataclass
class Case:
    """Steps, and what has to come of them.

    Args:
        steps: (verb, argument, day): say, criticise, prefer (ten choices of a pole), retract (a step's number), undo.
        now: keys of the profile.
        past: keys of its history, in the order they ended.
        asked: (query, thread) → keys of the condition.
        counted: key → events behind it.
    """

    name: str
    steps: list[tuple[str, object, float]]
    now: set[str]
    past: list[str] = field(default_factory=list)
    asked: dict[tuple[str | None, str | None], set[str]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)


def said(*words: str) -> list[tuple[str, object, float]]:
    return [("say", text, float(day)) for day, text in enumerate(words)]


def flips() -> Iterator[Case]:
    for key in POLES:
        yield Case(f"flip to {key}", said(WORDS[OTHER[key]][0], WORDS[key][1]), {key}, [OTHER[key]])
    for key in POLES[::2]:
        words = [WORDS[key][0], WORDS[OTHER[key]][0], WORDS[key][1]]
        yield Case(f"back again to {key}", said(*words), {key}, [key, OTHER[key]], counted={key: 1})
    for key in POLES[1::2]:
        steps = [*said(WORDS[OTHER[key]][0]), ("criticise", WORDS[key][0], 1.0)]
        yield Case(f"a critique asks for {key}", steps, {key}, [OTHER[key]])
    for key in POLES[::4]:
        steps = [("prefer", OTHER[key], 0.0), ("say", WORDS[key][0], 1.0)]
        yield Case(f"words beat choices: {key}", steps, {key})
    for key in POLES[1::4]:
        steps = [("say", WORDS[key][0], 0.0), ("prefer", OTHER[key], 1.0)]
        yield Case(f"choices do not beat words: {key}", steps, {key})
    yield Case("a new name", said("call me Sam", "call me Max"), {"text:name"}, ["text:name"])
    yield Case(
        "a new language", said("answer in German", "please answer in French"), {"text:language"}, ["text:language"]
    )
    yield Case("other units", said("use metric units", "use imperial units"), {"text:units"}, ["text:units"])


def refinements() -> Iterator[Case]:
    for (topic, (inside, outside)), key in zip(TOPICS.items(), POLES[::2], strict=True):
        wish, other = WORDS[key][0], OTHER[key]
        yield Case(
            f"{key} in general, but not for {topic}",
            said(wish, f"For {topic}, {WORDS[other][0]}"),
            {key, f"{other}@{topic}"},
            asked={(inside, None): {f"{other}@{topic}"}, (outside, None): {key}, (None, None): {key}},
        )
    for (topic, (inside, outside)), key in zip(TOPICS.items(), POLES[1::2], strict=True):
        other = OTHER[key]
        yield Case(
            f"for {topic} {key}, later the opposite in general",
            said(f"When I ask about {topic}, {WORDS[key][0]}", WORDS[other][1]),
            {other, f"{key}@{topic}"},
            asked={(inside, None): {f"{key}@{topic}"}, (outside, None): {other}},
        )
    for (topic, (inside, outside)), key in zip(TOPICS.items(), POLES[::2], strict=True):
        text = f"For {topic} {WORDS[key][0]}, otherwise {WORDS[OTHER[key]][0]}"
        yield Case(
            f"both at once for {topic}: {key}",
            said(text),
            {OTHER[key], f"{key}@{topic}"},
            asked={(inside, None): {f"{key}@{topic}"}, (outside, None): {OTHER[key]}},
        )


def scopes() -> Iterator[Case]:
    for number, key in enumerate(POLES):
        topic = list(TOPICS)[number % len(TOPICS)]
        inside, outside = TOPICS[topic]
        text = LIMITED[number % len(LIMITED)].format(topic=topic, wish=WORDS[key][0].removesuffix(" please"))
        yield Case(
            f"only for {topic}: {key}",
            said(text),
            {f"{key}@{topic}"},
            asked={(inside, None): {f"{key}@{topic}"}, (outside, None): set(), (None, None): set()},
        )
    for topic, key in zip(TOPICS, POLES[::2], strict=True):
        yield Case(
            f"a flip within {topic}: {OTHER[key]}",
            said(f"For {topic}, {WORDS[key][0]}", f"For {topic}, {WORDS[OTHER[key]][0]}"),
            {f"{OTHER[key]}@{topic}"},
            [f"{key}@{topic}"],
        )
    for key in POLES[::2]:
        scope = f"{key}@thread:t1"
        yield Case(
            f"only in this conversation: {key}",
            said(f"In this conversation, {WORDS[key][0]}"),
            {scope},
            asked={("What is a lion?", "t1"): {scope}, ("What is a lion?", "t2"): set(), (None, None): set()},
        )


def restatements() -> Iterator[Case]:
    for key in POLES:
        yield Case(f"said twice: {key}", said(*WORDS[key][:2]), {key}, counted={key: 2})
    for text in ("call me Sam", "answer in German", "use metric units"):
        key = {"call": "text:name", "answ": "text:language", "use ": "text:units"}[text[:4]]
        yield Case(f"said three times: {text}", said(text, f"please {text}", text.upper()), {key}, counted={key: 3})
    for topic, key in zip(TOPICS, POLES[::2], strict=True):
        scoped = f"{key}@{topic}"
        words = said(f"For {topic}, {WORDS[key][0]}", f"When I ask about {topic}, {WORDS[key][1]}")
        yield Case(f"said twice for {topic}: {key}", words, {scoped}, counted={scoped: 2})


def retractions() -> Iterator[Case]:
    for key in POLES:
        steps = [*said(WORDS[OTHER[key]][0], WORDS[key][0]), ("retract", 1, 2.0)]
        yield Case(f"took back {key}", steps, {OTHER[key]})
    for key in POLES[::2]:
        steps = [*said(WORDS[key][0]), ("retract", 0, 1.0), ("retract", 0, 2.0)]
        yield Case(f"took back {key} twice", steps, set())
    for key in POLES[1::2]:
        steps = [*said(WORDS[key][0]), ("retract", 0, 1.0), ("retract", 1, 2.0)]
        yield Case(f"took back taking back {key}", steps, {key}, counted={key: 1})
    for key in POLES[::4]:
        steps = [*said(WORDS[OTHER[key]][0], WORDS[key][0], WORDS[key][1]), ("undo", None, 3.0), ("undo", None, 4.0)]
        yield Case(f"undid {key}", steps, {OTHER[key]})
    for key in POLES[1::4]:
        steps = [("prefer", OTHER[key], 0.0), ("say", WORDS[key][0], 1.0), ("retract", 10, 2.0)]
        yield Case(f"took back {key}, choices count again", steps, {OTHER[key]})


def decays() -> Iterator[Case]:
    for key in POLES:
        steps = [("prefer", OTHER[key], 0.0), ("prefer", key, 600.0)]
        yield Case(f"newer choices win: {key}", steps, {key})
    for key in POLES[::2]:
        elsewhere = POLES[(POLES.index(key) + 4) % len(POLES)]
        steps = [("prefer", key, 0.0), ("say", WORDS[elsewhere][0], 650.0)]
        yield Case(f"old choices fade: {key}", steps, {elsewhere})
    for key in POLES[1::2]:
        elsewhere = POLES[(POLES.index(key) + 4) % len(POLES)]
        steps = [("say", WORDS[key][0], 0.0), ("say", WORDS[elsewhere][0], 650.0)]
        yield Case(f"old words do not fade: {key}", steps, {key, elsewhere})


def endings() -> Iterator[Case]:
    for key in POLES:
        yield Case(f"used to: {key}", said(WORDS[key][0], f"I used to like {WORDS[key][2]}"), set(), [key])
    for key in POLES[::2]:
        steps = [("prefer", key, 0.0), ("say", f"I used to like {WORDS[key][2]}", 1.0)]
        yield Case(f"used to, by choices: {key}", steps, set())
    for key, name in (("emoji:emoji", "emojis"), ("format:list", "bullet points"), ("humor:humorous", "jokes")):
        yield Case(f"does not care: {name}", said(WORDS[key][0], f"I don't care about {name} anymore"), set(), [key])
    both = "I used to like short answers, but now I prefer long answers"
    yield Case("used to, now the opposite", said("be brief please", both), {"length:detailed"}, ["length:concise"])


CASES = [
    *flips(), *refinements(), *scopes(), *restatements(), *retractions(), *decays(), *endings(),
]  # fmt: skip


@pytest.fixture(scope="module")
def understanding() -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=SentenceEmbedder(), scorer=PoleScorer()) as memory:
        yield memory


def play(memory: PreferenceMemory, case: Case) -> None:
    ids: list[str] = []
    for number, (verb, value, day) in enumerate(case.steps):
        time = START + day * DAY + number
        if verb == "say":
            ids.append(memory.record(case.name, Statement(str(value), time=time, thread="t1")))
        elif verb == "criticise":
            ids.append(memory.record(case.name, Critique("q", "a", str(value), time=time)))
        elif verb == "prefer":
            for _ in range(10):
                choice = Choice("q", str(value), OTHER[str(value)], time=time)
                ids.append(memory.record(case.name, choice))
        elif verb == "retract":
            ids.append(memory.retract(case.name, ids[int(str(value))]))
        else:
            memory.undo(case.name)


def test_there_are_two_hundred() -> None:
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_case(understanding: PreferenceMemory, case: Case) -> None:
    play(understanding, case)
    profile = understanding.profile(case.name)
    assert {item.key for item in profile.preferences} == case.now
    assert [item.key for item in profile.history] == case.past
    for item in profile.history:
        assert item.valid_from is not None
        assert item.valid_to is not None
        assert item.valid_from < item.valid_to
        assert item.ended_by in {event.id for event in understanding.events(case.name)}
    for key, count in case.counted.items():
        (item,) = (item for item in profile.preferences if item.key == key)
        assert len(item.evidence) == count
        assert item.valid_to is None
    for (query, thread), keys in case.asked.items():
        condition = understanding.condition(case.name, query=query, thread=thread)
        assert {item.key for item in condition} == keys
        assert {item.key for item, _ in condition.left_out} == case.now - keys
