"""An evaluation's figures as report.md with plots, and report.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pad_langchain.evaluation.config import CONTROLS, METHODS
from pad_langchain.evaluation.plots import draw_beta, draw_k, draw_pareto

__all__ = ["write_report"]

LONGER, LESS_FLUENT = 1.25, 1.5  # times the base's tokens and perplexity: worth a word
READING = """\
Brackets are 95% bootstrap intervals over prompts. **β** is the strength of guidance, **k** the number of candidate
tokens it chooses from; β = 0 is the base. **tokens**: mean length. **ended**: share of answers that end by themselves.
**distinct-2**: different word pairs ÷ all word pairs, over all answers; low where they repeat each other.
**perplexity**: of the answers under the base told nothing; its own greedy answers have next to the least there is.
**tokens/s** and **GiB**: of the whole batch, beside whatever else the machine did, and the peak of the whole process
meanwhile."""


def write_report(found: Mapping[str, Any], folder: Path) -> Path:
    """Write report.json, the plots and report.md; returns the last."""
    (folder / "report.json").write_text(json.dumps(found, indent=1, default=list) + "\n", encoding="utf-8")
    config, counts, test = found["config"], found["cases"], found["test"]
    judge = next(iter(test["base"]["scores"]), None)
    alpha = "as recommended" if config["alpha"] is None else f"= {config['alpha']:g}"
    lines = [
        f"# Guidance for {config['base']}, judged",
        "",
        f"Head PersRM: {config['head'] or 'none'}. Text PersRM: {config['text'] or 'none'}. Of "
        f"{Path(config['prompts']).name}, {counts['validation']} prompts to choose β and k, {counts['test']} others to "
        f"test; greedy, α {alpha}, at most {config['max_tokens']} tokens.",
        "",
        *(f"Left out, line {line}: {reason.rstrip('.')}." for line, reason in found["left_out"]),
        *[""] * bool(found["left_out"]),
        *(_in_short(test, judge) if judge is not None else []),
        "## How to read it",
        "",
        READING,
        "",
        *(f"- **{method}**: {METHODS[method].says}" for method in test),
        "",
        "## Test",
        "",
        *_test(found),
        *_wins(test),
    ]
    if judge is not None:
        lines += [f"## Seen and unseen preferences: {judge}", "", *_by_preference(test, bool(config["unseen"]))]
    if found["paraphrases"]:
        lines += [
            "## In other words",
            "",
            f"The same {min(config['again'], counts['test'])} test prompts with each preference in other wordings.",
            "",
            *_paraphrases(found["paraphrases"]),
        ]
    if found.get("pareto"):
        lines += ["## Two preferences at once", "", *_pareto(found["pareto"], folder)]
    if "accuracy" in found:
        lines += [
            "## Pairwise accuracy",
            "",
            "Share of pairs whose chosen answer the PersRM rewards more; chance is 0.5. In brackets after a "
            "preference's share: pairs.",
            "",
            *_accuracy(found["accuracy"]),
        ]
    lines += ["## Validation: how β and k were chosen", "", *_sweep(found, judge, folder)]
    failed = {name: count for name, count in found["failed_verdicts"].items() if count}
    lines += [f"Verdicts that failed and are left out: {failed or 0}. {found['seconds']:.0f} s in all."]
    path = folder / "report.md"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)] + [""]


def _interval(values: Sequence[float]) -> str:
    mean, low, high = values[:3]
    return "" if math.isnan(mean) else f"{mean:.3f} [{low:.3f}, {high:.3f}]"


def _in_short(test: Mapping[str, Any], judge: str) -> list[str]:
    """What the tables say, one line a method, the best first; what did not work included."""
    base = test["base"]
    lines = ["## In short", "", f"Share of what was wished ({judge}) that the answers show:", ""]
    for method, each in sorted(test.items(), key=lambda item: -item[1]["scores"][judge][0]):
        said = f"- **{method}** {each['scores'][judge][0]:.3f}"
        if method != "base":
            won, low, high = each["against base"][judge]["won"]
            verdict = "better than the base" if low > 0.5 else "worse than the base" if high < 0.5 else None
            said += f": {verdict or 'no difference to the base is shown'} (win rate {won:.2f} [{low:.2f}, {high:.2f}])"
            if each["tokens"] > LONGER * base["tokens"] or each["tokens"] * LONGER < base["tokens"]:
                said += f"; answers have {each['tokens'] / base['tokens']:.2f} times the base's tokens"
            if each["perplexity"] > LESS_FLUENT * base["perplexity"]:
                said += f"; perplexity is {each['perplexity'] / base['perplexity']:.2f} times the base's"
        lines.append(said + ".")
    return [*lines, ""]


def _test(found: Mapping[str, Any]) -> list[str]:
    judges = list(found["test"]["base"]["scores"])
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
                f"{each['memory_gib']:.2f}",
            ]
        )
    heads = ["method", "β, k", *judges, "tokens", "ended", "distinct-2", "perplexity", "tokens/s", "GiB"]
    return _table(heads, rows)


def _wins(test: Mapping[str, Any]) -> list[str]:
    rows = [
        [method, other, judge, _interval(rate["won"]), f"{rate['ties']:.2f}", str(rate["judged"])]
        for method, each in test.items()
        if method != "base"  # the mirror of the next
        for other in CONTROLS
        for judge, rate in each.get(f"against {other}", {}).items()
    ]
    return _table(["method", "against", "judge", "win rate, ties half", "ties", "judged"], rows)


def _by_preference(test: Mapping[str, Any], unseen: bool) -> list[str]:
    names = list(test["base"]["by_preference"])
    groups = [name for name in ("seen", "unseen") if name in names]
    rows = [
        [
            f"**{name}**" if name in groups else name,
            str(test["base"]["by_preference"][name][3]),
            *(
                _interval(each["by_preference"][name]) if name in groups else f"{each['by_preference'][name][0]:.2f}"
                for each in test.values()
            ),
        ]
        for name in (groups if unseen else []) + [name for name in names if name not in groups]
    ]
    return _table(["preference", "prompts", *test], rows)


def _paraphrases(found: Mapping[str, Any]) -> list[str]:
    labels = list(next(iter(found.values())))
    rows = [[method, *(_interval(each[label]) for label in labels)] for method, each in found.items()]
    return _table(["method", *labels], rows)


def _pareto(found: Mapping[str, Any], folder: Path) -> list[str]:
    first, second = found["names"]
    rows = [
        [p["method"], f"{1 - p['weight']:g} : {p['weight']:g}", *(f"{s:.3f}" for s in p["scores"]), "yes" * p["front"]]
        for p in found["points"]
    ]
    draw_pareto(found, folder / "pareto.png")
    return [
        f"Every prompt with {first} and {second} at once, at changing weights. A point is on the front if no other "
        "point is better in one and not worse in the other.",
        "",
        "![Scores of two preferences while their weights change](pareto.png)",
        "",
        *_table(["method", "weights", first, second, "on the front"], rows),
    ]


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


def _sweep(found: Mapping[str, Any], judge: str | None, folder: Path) -> list[str]:
    rows, config = found["sweep"], found["config"]
    lines = [
        "For each method the β with the best score whose perplexity is at most "
        f"{config['fluency']:g} times the base's, of equals the gentlest; then k in the same way, at that β.",
        "",
    ]
    if judge is not None:
        draw_beta(rows, judge, folder / "beta.png")
        lines += ["![Score and perplexity by β](beta.png)", ""]
        if len(config["ks"] or ()) > 1:
            draw_k(rows, judge, found["chosen"], folder / "k.png")
            lines += ["![Score and perplexity by k](k.png)", ""]
    cells = [
        [
            row["method"],
            f"{row['beta']:g}",
            str(row["top_k"]) if row["beta"] else "",
            _interval(row["scores"][judge]) if judge is not None else "",
            f"{row['tokens']:.0f}",
            f"{row['perplexity']:.2f}",
        ]
        for row in rows
    ]
    return lines + _table(["method", "β", "k", judge or "", "tokens", "perplexity"], cells)
