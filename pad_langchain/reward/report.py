"""An evaluation's figures as report.md with plots, and report.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pad_langchain.errors import MissingDependencyError

__all__ = ["write_report"]


def write_report(found: Mapping[str, Any], folder: Path) -> Path:
    """Write report.json, the plots and report.md; returns the last."""
    (folder / "report.json").write_text(json.dumps(found, indent=1, default=list) + "\n")
    config, counts = found["config"], found["cases"]
    lines = [
        f"# Evaluation of {config['head'] or config['text'] or 'self-guidance'}",
        "",
        f"Base {config['base']}, {counts['validation']} prompts to choose β and k, {counts['test']} to test, greedy, "
        f"α = {config['alpha']:g}, at most {config['max_tokens']} tokens. Brackets: 95% bootstrap intervals.",
        "",
    ]
    if "accuracy" in found:
        lines += ["## Pairwise accuracy", "", *_accuracy(found["accuracy"])]
    lines += ["## Test", "", *_test(found), *_wins(found["test"])]
    if found["paraphrases"]:
        lines += ["## In other words", "", *_paraphrases(found["paraphrases"])]
    if found.get("pareto"):
        lines += ["## Two preferences at once", "", *_pareto(found["pareto"], folder)]
    lines += ["## Validation", "", *_sweep(found["sweep"], folder)]
    failed = {name: count for name, count in found["failed_verdicts"].items() if count}
    lines += [f"Peak memory {found['peak_memory_gib']:.2f} GiB. Verdicts that failed and are left out: {failed or 0}."]
    path = folder / "report.md"
    path.write_text("\n".join(lines) + "\n")
    return path


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)] + [""]


def _interval(values: Sequence[float]) -> str:
    mean, low, high = values
    return "" if math.isnan(mean) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _accuracy(found: Mapping[str, Any]) -> list[str]:
    rows = []
    for kind, each in found.items():
        rows.append([kind, "**all**", *(_interval(each["all"][way]) for way in ("as worded", "paraphrased"))])
        for name, ways in each["by_preference"].items():
            cells = [
                f"{ways[way][0]:.3f} ({ways[way][1]})" if way in ways else "" for way in ("as worded", "paraphrased")
            ]
            rows.append([kind, name, *cells])
    return _table(["PersRM", "preference", "as worded", "paraphrased"], rows)


def _test(found: Mapping[str, Any]) -> list[str]:
    judges = list(next(iter(found["test"].values()))["scores"])
    rows = []
    for method, each in found["test"].items():
        chosen = found["chosen"].get(method, {})
        strength = f"{chosen['beta']:g}, {chosen['top_k']}" if chosen.get("beta") else ""
        rows.append(
            [
                method,
                strength,
                *(_interval(each["scores"][judge]) for judge in judges),
                f"{each['tokens']:.0f}",
                f"{each['ended']:.2f}",
                f"{each['distinct_2']:.3f}",
                f"{each['perplexity']:.2f}",
                f"{each['tokens_per_second']:.0f}",
            ]
        )
    heads = ["method", "β, k", *judges, "tokens", "ended", "distinct-2", "perplexity under the base", "tokens/s"]
    return _table(heads, rows)


def _wins(test: Mapping[str, Any]) -> list[str]:
    rows = [
        [method, other, judge, _interval(rate["won"]), f"{rate['ties']:.2f}", str(rate["judged"])]
        for method, each in test.items()
        for other in ("base", "prompted")
        for judge, rate in each.get(f"against {other}", {}).items()
    ]
    return _table(["method", "against", "judge", "win rate, ties half", "ties", "judged"], rows)


def _paraphrases(found: Mapping[str, Any]) -> list[str]:
    rows = [[method, _interval(each["as worded"]), _interval(each["paraphrased"])] for method, each in found.items()]
    return _table(["method", "as worded", "paraphrased"], rows)


def _pareto(found: Mapping[str, Any], folder: Path) -> list[str]:
    first, second = found["names"]
    rows = [
        [p["method"], f"{1 - p['weight']:g} : {p['weight']:g}", *(f"{s:.3f}" for s in p["scores"]), "yes" * p["front"]]
        for p in found["points"]
    ]
    figure, axes = _figure(first, second)
    for method in dict.fromkeys(p["method"] for p in found["points"]):
        places = [p["scores"] for p in found["points"] if p["method"] == method]
        axes.plot(*zip(*places, strict=True), marker="o", label=method)
    axes.legend()
    figure.savefig(folder / "pareto.png", dpi=120)
    return ["![Pareto front](pareto.png)", "", *_table(["method", "weights", first, second, "on the front"], rows)]


def _sweep(rows: Sequence[Mapping[str, Any]], folder: Path) -> list[str]:
    judge = next(iter(rows[0]["scores"]), None)
    lines: list[str] = []
    if judge is not None:
        figure, axes = _figure("β", f"mean score, {judge}")
        for method in dict.fromkeys(row["method"] for row in rows if row["method"] != "base"):
            mine = [row for row in rows if row["method"] == method]
            line = [(0.0, rows[0]["scores"][judge][0])]
            line += [(row["beta"], row["scores"][judge][0]) for row in mine if row["top_k"] == mine[0]["top_k"]]
            axes.plot(*zip(*line, strict=True), marker="o", label=method)
        axes.legend()
        figure.savefig(folder / "beta.png", dpi=120)
        lines = ["![Score by β](beta.png)", ""]
    cells = [
        [
            row["method"],
            f"{row['beta']:g}",
            str(row["top_k"]),
            _interval(row["scores"][judge]) if judge is not None else "",
            f"{row['tokens']:.0f}",
            f"{row['perplexity']:.2f}",
        ]
        for row in rows
    ]
    return lines + _table(["method", "β", "k", judge or "", "tokens", "perplexity under the base"], cells)


def _figure(x: str, y: str) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError('Plots need matplotlib: pip install "pad-langchain[plot]"') from error
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes
