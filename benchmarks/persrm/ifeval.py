"""IFEval's constraints of style, in the prompt against as wishes in the memory, on a real model.

    python benchmarks/persrm/ifeval.py --data input_data.jsonl     # SmolLM2 with the shipped head

The checkers are those of `if-verifiable` (`pip install if-verifiable`), which has no prompts: --data is IFEval's own
file (google-research, `instruction_following_eval/data/input_data.jsonl`, Apache-2.0).

Prompts with one constraint, of `STYLE`, are taken. The sentence that says it is the one that has most words of the
official description; it is cut out, and the description is recorded as a user's statement. What the memory then says
of that user is told, and told and steered. Without a wish the answer is the plain one. Greedy, strict checkers;
differences are paired by prompt, with a bootstrap interval.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.answering import PENALTY, Asked, answering, model_options
from pad_langchain.evaluation.statistics import interval
from pad_memory import PreferenceMemory, Statement

# Fixed beforehand; the number of sentences is left out, as its checker fetches data of NLTK.
STYLE = (
    "length_constraints:number_words", "length_constraints:number_paragraphs",
    "detectable_format:number_bullet_lists", "detectable_format:number_highlighted_sections", "punctuation:no_comma",
    "change_case:english_lowercase", "change_case:english_capital",
)  # fmt: skip
LEAST_SHARED = 0.4  # of the description's words, in the sentence that is cut out


@dataclass(frozen=True)
class Case:
    """A prompt of one constraint.

    Args:
        kind: of the constraint. checker: the official one.
        prompt: as it is. rest: without the sentence that says the constraint. wish: the official description.
    """

    kind: str
    checker: Any
    prompt: str
    rest: str
    wish: str


def read_cases(path: Path, count: int) -> list[Case]:
    from if_verifiable.ifeval.instructions_registry import INSTRUCTION_DICT

    found = []
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        if len(row["instruction_id_list"]) != 1 or (kind := row["instruction_id_list"][0]) not in STYLE:
            continue
        checker = INSTRUCTION_DICT[kind](kind)
        wish = checker.build_description(**{k: v for k, v in row["kwargs"][0].items() if v is not None})
        parts = [part for part in re.split(r"(?<=[.!?])\s+|\n+", row["prompt"]) if part.strip()]
        said = max(parts, key=lambda part: shared(part, wish))
        if len(parts) > 1 and shared(said, wish) >= LEAST_SHARED:
            rest = " ".join(part for part in parts if part is not said)
            found.append(Case(kind, checker, row["prompt"], rest, wish))
    return found[:count]


def shared(part: str, wish: str) -> float:
    """Share of a wish's words that a sentence has."""
    words, wanted = (set(re.findall(r"\w+", text.lower())) for text in (part, wish))
    return len(words & wanted) / len(wanted)


def remembered(cases: Sequence[Case]) -> list[list[list[Any]]]:
    """What a memory says of users who said these things."""
    with PreferenceMemory() as memory:
        for n, case in enumerate(cases):
            memory.record(f"user {n}", Statement(case.wish))
        return [
            [[item.text, item.weight] for item in memory.condition(f"user {n}", query=case.rest)]
            for n, case in enumerate(cases)
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    model_options(parser, 256)
    parser.add_argument("--data", type=Path, required=True, help="IFEval's input_data.jsonl")
    parser.add_argument("--count", type=int, default=1000)
    options = parser.parse_args()
    cases = read_cases(options.data, options.count)
    wishes = remembered(cases)
    ways: dict[str, list[Asked]] = {
        "without the constraint": [ask(case.rest, []) for case in cases],
        "in the prompt": [ask(case.prompt, []) for case in cases],
        "in the memory, prompting": [ask(c.rest, w, beta=0.0) for c, w in zip(cases, wishes, strict=True)],
        "in the memory, prompting + head": [ask(c.rest, w) for c, w in zip(cases, wishes, strict=True)],
    }
    hits: dict[str, list[float]] = {}
    with answering(options, "ifeval") as answers:
        for name, asked in ways.items():
            said = answers(asked, name)
            hits[name] = [
                float(bool(one.text.strip()) and case.checker.check_following(one.text))
                for case, one in zip(cases, said, strict=True)
            ]
    report(cases, wishes, hits)


def ask(text: str, wishes: Sequence[Any], **keywords: Any) -> Asked:
    if not wishes or "beta" in keywords:
        keywords = {**keywords, "repetition_penalty": PENALTY}
    return Asked([{"role": "user", "content": text}], {"preference": list(wishes), **keywords})


def report(cases: Sequence[Case], wishes: Sequence[Any], hits: dict[str, list[float]]) -> None:
    own = sum(all(text == case.wish for text, _ in known) for case, known in zip(cases, wishes, strict=True) if known)
    print(f"\n{len(cases)} prompts; the memory keeps the words of {own}, names none for {wishes.count([])}.\n")
    print("| followed | all | " + " | ".join(kind for kind in STYLE) + " |\n|" + "---|" * (len(STYLE) + 2))
    counts = Counter(case.kind for case in cases)
    print(f"| prompts | {len(cases)} | " + " | ".join(str(counts[kind]) for kind in STYLE) + " |")
    for name, found in hits.items():
        by = [[hit for case, hit in zip(cases, found, strict=True) if case.kind == kind] for kind in STYLE]
        means = [f"{sum(each) / len(each):.2f}" if each else "–" for each in by]
        print(f"| {name} | **{sum(found) / len(found):.3f}** | " + " | ".join(means) + " |")
    best = hits["in the memory, prompting + head"]
    for name in ("in the memory, prompting", "in the prompt"):
        mean, low, high = interval([a - b for a, b in zip(best, hits[name], strict=True)])
        print(f"\nprompting + head − {name}: {mean:+.3f} [{low:+.3f}, {high:+.3f}]")


if __name__ == "__main__":
    main()
