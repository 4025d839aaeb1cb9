"""Does guidance cost truth? Facts, tool calls and JSON, guided against plain, on a real model.

    python benchmarks/persrm/truth.py                              # SmolLM2 with the shipped head
    python benchmarks/persrm/truth.py --questions 30 --each 2 --cases 10
    python benchmarks/persrm/truth.py --stages facts --each 16     # every question under every wish

The 300 questions of `facts.tsv` have a short answer, which is right if it has the expected word. Each is answered
plainly, and under some of the catalogue's 16 wishes, which take turns, so that all have as many questions: told only,
and told and guided as the head recommends. A tool has to be called with the arguments that the user's words give; a
JSON object has to have the values that a sentence gives. Both are bound by their schema. Greedy; ratios have a 95%
bootstrap interval over questions.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.answering import PENALTY, Answering, Asked, Said, answering, model_options
from pad_memory import CATALOGUE

FACTS = Path(__file__).with_name("facts.tsv")
WISHES = {f"{dimension.name}:{pole.name}": pole.text for dimension in CATALOGUE for pole in dimension.poles}
WAYS: dict[str, dict[str, Any]] = {"told": {"beta": 0.0, "repetition_penalty": PENALTY}, "told + head": {}}


def read_facts(count: int) -> list[tuple[str, str]]:
    """Questions, each with a pattern of its answer; some of them spread over all kinds."""
    rows = [line.split("\t") for line in FACTS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    picked = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return [(rows[n][0], rows[n][1]) for n in picked]


def is_right(pattern: str, answer: str) -> bool:
    """Whether an answer has the expected word, whole.

    >>> is_right("4|four", "It is 4."), is_right("4|four", "It is 42.")
    (True, False)
    """
    return bool(re.search(rf"(?<![\w.])(?:{pattern})(?![\w])", answer, re.IGNORECASE))


def facts(answers: Answering, options: argparse.Namespace) -> None:
    asked = read_facts(options.questions)
    plain = answers([call(question, []) for question, _ in asked], "facts, plain")
    right_N = np.array([is_right(pattern, said.text) for (_, pattern), said in zip(asked, plain, strict=True)], float)
    print(f"\nfacts: {len(asked)} questions, plain {right_N.mean():.3f} right\n")
    turns = itertools.cycle(WISHES)
    plan = [(n, next(turns)) for n in range(len(asked)) for _ in range(options.each)]
    ratios: dict[str, dict[str, str]] = defaultdict(dict)
    for way, keywords in WAYS.items():
        said = answers([call(asked[n][0], [WISHES[key]], **keywords) for n, key in plan], f"facts, {way}")
        hits = np.array([is_right(asked[n][1], one.text) for (n, _), one in zip(plan, said, strict=True)], float)
        rows = np.array([n for n, _ in plan])
        keys = np.array([key for _, key in plan])
        for key in (*WISHES, "all"):
            mask = np.full(len(plan), True) if key == "all" else keys == key
            ratios[key][way] = f"{hits[mask].mean():.3f} | {ratio(hits[mask], right_N[rows[mask]], rows[mask])}"
            ratios[key]["plain"] = f"{right_N[rows[mask]].mean():.3f}"
            ratios[key]["count"] = str(int(mask.sum()))
    print("| wish | questions | plain | told | ÷ plain | told + head | ÷ plain |\n|---|---|---|---|---|---|---|")
    for key, row in ratios.items():
        print(f"| {key} | {row['count']} | {row['plain']} | " + " | ".join(row[way] for way in WAYS) + " |")


def ratio(guided: np.ndarray, plain: np.ndarray, groups: np.ndarray, draws: int = 2000) -> str:
    """Right guided ÷ right plain, with its interval over questions."""
    rng = np.random.default_rng(0)
    names = np.unique(groups)
    sums = np.array([[guided[groups == name].sum(), plain[groups == name].sum()] for name in names])
    drawn = sums[rng.integers(len(names), size=(draws, len(names)))].sum(1)
    low, high = np.percentile(drawn[:, 0] / np.maximum(drawn[:, 1], 1), [2.5, 97.5])
    return f"{guided.sum() / max(plain.sum(), 1):.3f} [{low:.3f}, {high:.3f}]"


def call(question: str, wishes: Sequence[str], **keywords: Any) -> Asked:
    if not wishes:
        keywords = {"repetition_penalty": PENALTY, **keywords}
    return Asked([{"role": "user", "content": question}], {"preference": list(wishes), **keywords})


# ---- tools and JSON

BOUND = {"max_tokens": 96, "repetition_penalty": 1.0}  # what a schema repeats has to be repeated
CITIES = "Rome Paris Berlin Madrid Oslo Vienna Tokyo Cairo Lima Dublin".split()
PEOPLE = "Anna Ben Carla David Emma Felix Gina Hugo Ida Jonas".split()
TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": {"city": "string"},
    "convert_money": {"amount": "integer", "to": "string"},
    "set_timer": {"minutes": "integer"},
    "send_message": {"to": "string"},
    "book_table": {"name": "string", "people": "integer"},
}
REQUESTS: tuple[tuple[str, str], ...] = (
    ("get_weather", "What is the weather like in {city} today?"),
    ("convert_money", "Convert {number} dollars to {money}."),
    ("set_timer", "Set a timer for {number} minutes."),
    ("send_message", "Send a message to {person} that I am late."),
    ("book_table", "Book a table for {number} people under the name {person}."),
)
NUMBERS = (3, 5, 7, 12, 15, 20, 25, 30, 45, 60)
MONEY = "euros yen pounds francs rupees".split()
RECORDS: tuple[tuple[str, dict[str, str]], ...] = (
    ("{person} is {number} years old and lives in {city}.", {"name": "string", "age": "integer", "city": "string"}),
    ("A ticket to {city} costs {number} dollars.", {"city": "string", "price": "integer"}),
    ("{person} ordered {number} apples.", {"name": "string", "count": "integer"}),
    ("The meeting in {city} has {number} guests.", {"city": "string", "guests": "integer"}),
    ("{person} flies to {city} on day {number} of the month.", {"name": "string", "city": "string", "day": "integer"}),
)
SLOT = {
    "city": "city", "name": "person", "to": "person", "age": "number", "price": "number", "count": "number",
    "guests": "number", "day": "number", "minutes": "number", "people": "number", "amount": "number",
}  # fmt: skip


def values(n: int) -> dict[str, Any]:
    return {
        "city": CITIES[n % 10], "person": PEOPLE[n // 2 % 10], "number": NUMBERS[n // 3 % 10],
        "money": MONEY[n // 5 % 5],
    }  # fmt: skip


def schema(fields: dict[str, str]) -> dict[str, Any]:
    properties = {name: {"type": kind} for name, kind in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields), "additionalProperties": False}


def tools(answers: Answering, options: argparse.Namespace) -> None:
    def one(n: int, wishes: Sequence[str], **keywords: Any) -> Asked:
        name, words = REQUESTS[n % len(REQUESTS)]
        function = {"name": name, "description": name.replace("_", " "), "parameters": schema(TOOLS[name])}
        bound = {"tools": [{"type": "function", "function": function}], "tool_choice": name, **BOUND}
        return call(words.format(**values(n)), wishes, **bound, **keywords)

    def grade(n: int, said: Said) -> tuple[bool, bool]:
        name, _ = REQUESTS[n % len(REQUESTS)]
        if len(said.calls) != 1 or said.calls[0][0] != name:
            return False, False
        given = dict(said.calls[0][1])
        wanted = {
            field: values(n)["money" if (name, field) == ("convert_money", "to") else SLOT[field]]
            for field in TOOLS[name]
        }
        return given.keys() == wanted.keys(), same(given, wanted)

    bound_table(answers, options, "tool calls", one, grade)


def records(answers: Answering, options: argparse.Namespace) -> None:
    def one(n: int, wishes: Sequence[str], **keywords: Any) -> Asked:
        words, fields = RECORDS[n % len(RECORDS)]
        form = {"type": "json_schema", "json_schema": {"name": "record", "schema": schema(fields)}}
        asked = f"Write as JSON what this says: {words.format(**values(n))}"
        return call(asked, wishes, response_format=form, **BOUND, **keywords)

    def grade(n: int, said: Said) -> tuple[bool, bool]:
        _, fields = RECORDS[n % len(RECORDS)]
        try:
            given = json.loads(said.text)
        except ValueError:
            return False, False
        return given.keys() == fields.keys(), same(given, {field: values(n)[SLOT[field]] for field in fields})

    bound_table(answers, options, "JSON", one, grade)


def same(given: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return given.keys() == wanted.keys() and all(
        str(given[name]).strip().lower() == str(value).lower() for name, value in wanted.items()
    )


def bound_table(answers: Answering, options: argparse.Namespace, what: str, one: Any, grade: Any) -> None:
    """Cases plainly and under wishes that take turns, one for each case."""
    keys = list(WISHES)
    wish = [WISHES[keys[n % len(keys)]] for n in range(options.cases)]
    print(f"\n| {what}, {options.cases} cases | valid | values right | right ÷ plain |\n|---|---|---|---|")
    first: np.ndarray | None = None
    for way, keywords in {"plain": None, **WAYS}.items():
        asked = [
            one(n, []) if keywords is None else one(n, [wish[n]], **{"beta": keywords["beta"]} if keywords else {})
            for n in range(options.cases)
        ]
        graded = np.array([grade(n, said) for n, said in enumerate(answers(asked, f"{what}, {way}"))], float)
        first = graded[:, 1] if first is None else first
        valid, right = graded.mean(0)
        share = ratio(graded[:, 1], first, np.arange(len(graded)))
        print(f"| {way} | {valid:.2f} | {right:.2f} | {share} |")


STAGES = {"facts": facts, "tools": tools, "json": records}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_options(parser, 64)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--each", type=int, default=4, help="wishes of each question")
    parser.add_argument("--cases", type=int, default=100, help="tool calls, and JSON objects")
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    options = parser.parse_args()
    with answering(options, "truth") as answers:
        for stage in options.stages:
            STAGES[stage](answers, options)


if __name__ == "__main__":
    main()
