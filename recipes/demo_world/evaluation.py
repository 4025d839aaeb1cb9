"""What the demo pair is asked, and what its answers are worth: wishes by kind, and abilities of the base.

Decoding and judging are `pad_langchain.evaluation`'s; the judges are the rules of this world.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pad_langchain.engine.protocol import Engine
from pad_langchain.engine.types import Request
from pad_langchain.evaluation.answers import Answer, decode, request_of, wishes_in
from pad_langchain.evaluation.cases import Case
from pad_langchain.evaluation.config import Setting
from pad_langchain.evaluation.grading import Grader
from recipes.demo_world import tool_documents, world
from recipes.demo_world.documents import context_of, grounded_prompt, invented_topic
from recipes.demo_world.judges import DemoFactsJudge, DemoFormJudge, check_sentences, satisfied, spec_of
from recipes.demo_world.pairs import DEV_TOPICS, TEST_TOPICS, Spec, Split, Words, draw_spec, pole_name, wordings
from recipes.demo_world.unknowns import HELD_OUT_UNKNOWNS
from recipes.demo_world.world import DIMENSIONS, GENERAL_QUESTIONS

__all__ = [
    "WORDS",
    "Kind",
    "Outcome",
    "admits_unknown",
    "cases",
    "decode_cases",
    "grounded_factual",
    "judge_cases",
    "opposite",
    "prompted",
    "tool_exactness",
]

Kind = Literal["single", "combined", "new_keywords"]
WORDS: dict[Kind, Words] = {"single": "seen", "combined": "reworded", "new_keywords": "new_keywords"}
MAX_TOKENS = 200
Tick = Callable[[], None]


@dataclass(frozen=True)
class Outcome:
    """Shares in [0, 1] over cases.

    Args:
        each: of the wished dimensions, those satisfied. together: cases with all wishes satisfied.
        well_formed, factual: of sentences. ended: answers that end by themselves. tokens: mean length.
        by_dimension: `each` for every dimension.
    """

    cases: int
    each: float
    together: float
    well_formed: float
    factual: float
    ended: float
    tokens: float
    by_dimension: Mapping[str, float]


def cases(kind: Kind, count: int, split: Split, seed: int) -> list[Case]:
    """Draw cases; single wishes go evenly through all poles."""
    rng = random.Random(f"{kind}/{split}/{seed}")
    topics = TEST_TOPICS if split == "test" else DEV_TOPICS
    poles = [{name: side} for name in DIMENSIONS for side in (0, 1)]
    found = []
    for index in range(count):
        spec = draw_spec(rng, 2, 3, held_out=True) if kind == "combined" else poles[index % len(poles)]
        topic = rng.choice(topics)
        asked = world.question(topic, rng)
        found.append(_case(asked, spec, wordings(spec, rng, WORDS[kind], split)))
    return found


def _case(asked: str, spec: Spec, texts: Sequence[str]) -> Case:
    name = "+".join(map(pole_name, spec.items()))
    return Case(({"role": "user", "content": asked},), name, "; ".join(texts))


def opposite(case: Case, rng: random.Random) -> Case:
    """The same case, asked for the opposite of what it is judged by."""
    flipped: Spec = {name: 1 - side for name, side in spec_of(case).items()}
    return Case(case.messages, case.name, "; ".join(wordings(flipped, rng)))


def prompted(case: Case) -> Case:
    """The same case with its wishes in a system prompt, for the base alone."""
    told = " ".join(text for text, _ in wishes_in(case))
    return Case(({"role": "system", "content": told}, *case.messages), case.name, case.text)


def decode_cases(engine: Engine, given: Sequence[Case], setting: Setting, tick: Tick = lambda: None) -> list[Answer]:
    """Answer all cases in one batch after another."""
    answers = []
    for answer in decode(engine, [request_of(case, wishes_in(case), setting, {}, MAX_TOKENS) for case in given]):
        answers.append(answer)
        tick()
    return answers


def judge_cases(given: Sequence[Case], answers: Sequence[Answer]) -> Outcome:
    """Judge answers by rule."""
    kept = [satisfied(answer.text, spec_of(case)) for case, answer in zip(given, answers, strict=True)]
    flat = [(name, ok) for verdict in kept for name, ok in verdict.items()]
    form, facts = DemoFormJudge(), DemoFactsJudge()
    figures = Grader([form, facts]).figures(given, answers)
    return Outcome(
        cases=len(given),
        each=_mean(ok for _, ok in flat),
        together=_mean(all(verdict.values()) for verdict in kept),
        well_formed=figures["scores"][form.name][0],
        factual=figures["scores"][facts.name][0],
        ended=figures["ended"],
        tokens=figures["tokens"],
        by_dimension={
            name: _mean(ok for n, ok in flat if n == name) for name in DIMENSIONS if any(n == name for n, _ in flat)
        },
    )


def _mean(values: Any) -> float:
    values = list(values)
    return sum(map(float, values)) / len(values) if values else float("nan")


# ---- abilities of the base


def tool_exactness(engine: Engine, count: int, constrained: bool, tick: Tick = lambda: None) -> float:
    """Share of requests answered by exactly the call they ask for, on tools with names never seen in training."""
    rng = random.Random(f"tools/{count}")
    asked: list[tuple[Any, Any]] = []
    while len(asked) < count:
        tools = [tool_documents.random_tool(rng) for _ in range(rng.choice((1, 1, 2, 3)))]
        if len({tool["function"]["name"] for tool in tools}) < len(tools):
            continue
        text, arguments = tool_documents.tool_request(rng, tools[0]["function"])
        wanted = {"name": tools[0]["function"]["name"], "arguments": arguments}
        rng.shuffle(tools)
        grammar = engine.grammars.tool_calls(tools) if constrained else None
        request = Request(messages=[{"role": "user", "content": text}], tools=tools, grammar=grammar, max_tokens=150)
        asked.append((engine.submit(request), wanted))
    right = 0
    for stream, wanted in asked:
        right += _parse_call(stream.result().text) == wanted
        tick()
    return right / count


def _parse_call(text: str) -> Any:
    body = text.strip().removeprefix("<tool_call>").removesuffix("</tool_call>")
    try:
        return json.loads(body)
    except ValueError:
        return None


def admits_unknown(engine: Engine) -> float:
    """Share of held-out things outside its world that the model says it does not know."""
    rng = random.Random(3)
    streams = [
        engine.submit(
            Request(
                messages=[{"role": "user", "content": rng.choice(GENERAL_QUESTIONS[:8]).format(s=name)}], max_tokens=120
            )
        )
        for name in HELD_OUT_UNKNOWNS
    ]
    return _mean("not know" in stream.result().text for stream in streams)


def grounded_factual(engine: Engine, count: int) -> float:
    """Share of sentences that are true of an invented thing the model only knows from the context it was given."""
    rng = random.Random(4)
    asked = []
    for _ in range(count):
        topic = invented_topic(rng, rng.choice(("country", "animal", "instrument", "food")))
        text = grounded_prompt(context_of(topic, rng), world.question(topic, rng))
        asked.append((engine.submit(Request(messages=[{"role": "user", "content": text}], max_tokens=200)), topic))
    return _mean(check_sentences(stream.result().text, topic).factual for stream, topic in asked)
