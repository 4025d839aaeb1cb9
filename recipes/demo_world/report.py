"""What the embedded pair can do, measured from its shipped weights: `python -m recipes.demo_world.report`.

Answers are decoded by the engine, greedily with k = 10, and judged by the rules of `judges`, which never see a reward.
Strength beta and cut alpha were chosen on the development split (other topics, other wordings); the table is the test
split.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pad_langchain.defaults import WEIGHTS
from pad_langchain.evaluation.accuracy import margins
from pad_langchain.evaluation.cases import Case
from pad_langchain.evaluation.config import Setting
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.training.layouts import Pair
from pad_memory.embedding import Embedder, SentenceEmbedder
from recipes.demo_world.evaluation import (
    WORDS,
    Kind,
    admits_unknown,
    cases,
    decode_cases,
    grounded_factual,
    judge_cases,
    opposite,
    prompted,
    tool_exactness,
)
from recipes.demo_world.pairs import TEST_TOPICS, Words, draw_pair, draw_spec, wordings

__all__ = ["measure", "rows"]


def measure(weights: Path, scale: float, progress: Progress) -> dict[str, Any]:
    """Run everything; `scale` shrinks the number of cases for a quick look."""
    embedder = SentenceEmbedder()
    with load_engine(weights / "base", weights / "persrm", embedder=embedder) as engine:
        beta, alpha = engine.recommended.beta, engine.recommended.alpha
        runs = _runs(scale, Setting("head", beta, alpha=alpha))
        task = progress.add_task("decoding", total=sum(len(group) for _, group, _ in runs))
        outcomes = {
            name: judge_cases(group, decode_cases(engine, group, setting, lambda: progress.advance(task)))
            for name, group, setting in runs
        }
        tools = max(40, int(200 * scale))
        other = progress.add_task("tools, the unknown, context", total=2 * tools + 2)
        abilities = {
            "tool_calls_constrained": tool_exactness(engine, tools, True, lambda: progress.advance(other)),
            "tool_calls_free": tool_exactness(engine, tools, False, lambda: progress.advance(other)),
            "admits_unknown": admits_unknown(engine),
            "grounded_factual": grounded_factual(engine, max(20, int(60 * scale))),
        }
        progress.advance(other, 2)
    return {
        "beta": beta,
        "alpha": alpha,
        "outcomes": {name: vars(outcome) for name, outcome in outcomes.items()},
        "pair_accuracy": _pair_accuracy(weights, scale, embedder, progress),
        **abilities,
    }


def _runs(scale: float, guided: Setting) -> list[tuple[str, Sequence[Case], Setting]]:
    """What is answered, and how: each kind guided, plain and prompted, and the opposite of what is judged."""
    sizes: dict[Kind, int] = {"single": 224, "combined": 240, "new_keywords": 160}
    given = {kind: cases(kind, max(16, int(size * scale)), "test", 1) for kind, size in sizes.items()}
    rng, plain = random.Random(9), Setting("base")
    runs: list[tuple[str, Sequence[Case], Setting]] = []
    for kind, group in given.items():
        runs += [(kind, group, guided), (f"{kind}, beta 0", group, plain)]
        runs += [(f"{kind}, prompted base", [prompted(case) for case in group], plain)]
    return [*runs, ("opposite wish", [opposite(case, rng) for case in given["single"]], guided)]


def _pair_accuracy(weights: Path, scale: float, embedder: Embedder, progress: Progress) -> dict[str, float]:
    """Share of pairs on new topics whose chosen answer has the larger reward; chance is 0.5."""
    persrm = PersRM.from_pretrained(weights / "persrm", base=str(weights / "base"), embedder=embedder)
    kinds: list[tuple[str, Words, bool, int]] = [
        ("seen", "seen", False, 1),
        ("held-out combinations", "reworded", True, 2),
        ("new keywords", "new_keywords", False, 1),
    ]
    accuracy = {}
    task = progress.add_task("pair accuracy", total=len(kinds))
    for name, words, held_out, low in kinds:
        rng, worder = random.Random(f"pairs/{name}"), random.Random(5)
        pairs = []
        for _ in range(max(64, int(400 * scale))):
            drawn = draw_pair(rng, TEST_TOPICS, draw_spec(rng, low, 3 if low > 1 else 2, held_out))
            asked = ({"role": "user", "content": drawn.question},)
            pairs.append(Pair(asked, "; ".join(wordings(drawn.spec, worder, words)), drawn.chosen, drawn.rejected))
        accuracy[name] = float(np.mean(margins(persrm, pairs) > 0))
        progress.advance(task)
    return accuracy


def rows(found: Mapping[str, Any]) -> list[tuple[str, str, str, bool]]:
    """The table: what, reached, asked for, whether it holds."""
    out = found["outcomes"]

    def ratio(key: str) -> float:
        guided = sum(out[kind][key] * out[kind]["cases"] for kind in WORDS)
        plain = sum(out[f"{kind}, beta 0"][key] * out[kind]["cases"] for kind in WORDS)
        return float(guided / plain)

    ended = min(out[kind]["ended"] for kind in WORDS)
    accuracy = found["pair_accuracy"]
    facts: list[tuple[str, float, float, bool]] = [
        ("single preferences satisfied", out["single"]["each"], 0.97, True),
        ("unseen pairs and triples, reworded, new topics: each", out["combined"]["each"], 0.90, True),
        ("the same: all at once", out["combined"]["together"], 0.75, True),
        ("wordings with new keywords", out["new_keywords"]["each"], 0.90, True),
        ("opposite preference (control)", out["opposite wish"]["each"], 0.06, False),
        ("well-formed sentences, ÷ beta 0", ratio("well_formed"), 0.98, True),
        ("factual sentences, ÷ beta 0", ratio("factual"), 0.97, True),
        ("ends by itself", ended, 0.99, True),
        ("pair accuracy: seen", accuracy["seen"], 0.95, True),
        ("pair accuracy: held-out combinations", accuracy["held-out combinations"], 0.93, True),
        ("pair accuracy: new keywords", accuracy["new keywords"], 0.85, True),
        ("exact tool calls, names and keys constrained", found["tool_calls_constrained"], 0.95, True),
    ]
    return [
        (name, f"{value:.3f}", f"{'≥' if more else '≤'} {bar:.2f}", value >= bar if more else value <= bar)
        for name, value, bar, more in facts
    ]


def main(weights: Path = WEIGHTS, scale: float = 1.0, output: Path | None = None) -> None:
    """Print the table for the pair in WEIGHTS; --output writes all figures as JSON."""
    console = Console()
    started = time.monotonic()
    with Progress(console=console) as progress:
        found = measure(weights, scale, progress)
    table = Table(title=f"Embedded pair, test split, greedy, k = 10, beta = {found['beta']}, alpha = {found['alpha']}")
    for heading in ("", "reached", "asked", ""):
        table.add_column(heading)
    for name, value, bar, held in rows(found):
        table.add_row(name, value, bar, "yes" if held else "[red]no")
    console.print(table)
    detail = Table(title="All runs")
    for heading in ("", "cases", "each", "all", "well-formed", "factual", "ended", "tokens"):
        detail.add_column(heading)
    for name, o in found["outcomes"].items():
        detail.add_row(
            name,
            str(o["cases"]),
            *(f"{o[k]:.3f}" for k in ("each", "together", "well_formed", "factual", "ended")),
            f"{o['tokens']:.0f}",
        )
    console.print(detail)
    for name in ("single", "combined", "new_keywords"):
        console.print(
            f"{name}: " + ", ".join(f"{d} {v:.2f}" for d, v in found["outcomes"][name]["by_dimension"].items())
        )
    console.print(
        f"exact tool calls unconstrained {found['tool_calls_free']:.3f}; says it does not know "
        f"{found['admits_unknown']:.3f}; "
        f"facts from a given context {found['grounded_factual']:.3f}; {time.monotonic() - started:.0f} s"
    )
    if output is not None:
        output.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    typer.run(main)
