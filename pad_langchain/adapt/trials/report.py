"""A run's figures as report.md with plots, and report.json."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pad_langchain.adapt.trials.plots import draw_poles, draw_strength, draw_ways
from pad_langchain.paths import replacing

__all__ = ["write_report"]

READING = """\
**shown**: share of answers that show the wish, by rules that never see the reward. **good**: share that are about the
question, do not repeat themselves, are no scraps and do not recite the wish. **both** is the figure that counts.
Brackets are 95% bootstrap intervals over prompts. Answers are greedy."""


def write_report(found: Mapping[str, Any], folder: Path) -> Path:
    """Write report.json, the plots and report.md; return the last.

    Args:
        found: base, head, corpus (tried, kept, dropped, few), dev (what was tried), chosen, test (see
            `verdict.measured`), told (the best way without a head), texts, not judged.
    """
    _write(folder / "report.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    lines = [f"# A head for {found['base']}", "", *_corpus(found["corpus"])]
    if found["test"]:
        draw_ways(found["test"], folder / "ways.png")
        draw_strength(found["dev"], folder / "strength.png")
        head = found["chosen"]["name"]
        names = list(dict.fromkeys(("base", found["told"], head)))
        draw_poles(found["test"], names, folder / "poles.png")
        lines += [*_test(found, head), *_poles(found["test"], names), *_strength(found), *_texts(found["texts"])]
    if found["not judged"]:
        lines += [f"Not judged, as no rule knows them: {', '.join(found['not judged'])}.", ""]
    path = folder / "report.md"
    _write(path, "\n".join(lines))
    return path


def _write(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write_text(text, encoding="utf-8")


def _corpus(found: Mapping[str, Any]) -> list[str]:
    rows = [[pole, str(found["kept"].get(pole, 0)), str(tried)] for pole, tried in found["tried"].items()]
    dropped = ", ".join(f"{reason} {count}" for reason, count in sorted(found["dropped"].items()) if count)
    few = f"**Too few examples, so that the head is weak there:** {', '.join(found['few'])}."
    return [
        "## What it was made from",
        "",
        f"The base's own answers. Dropped: {dropped or 'none'}.",
        "",
        *([few, ""] if found["few"] else []),
        *_table(["pole", "examples", "of answers"], rows),
    ]


def _test(found: Mapping[str, Any], head: str) -> list[str]:
    rows = [
        [
            f"**{name}**" if name == head else name,
            *(_interval(each[what]) for what in ("shown", "good", "both")),
            f"{each['ended'][0]:.2f}",
            "" if name == found["told"] else _interval(each["over prompting"]["both"], signed=True),
        ]
        for name, each in found["test"].items()
    ]
    chosen = found["chosen"]
    count = found["test"]["base"]["count"]
    lead = found["test"][head]["over prompting"]["both"]
    verdict = (
        "better than" if lead[1] > 0 else "worse than" if lead[2] < 0 else "no different, as far as is shown, from"
    )
    return [
        "## Test",
        "",
        f"The head recommends **{head}**, β {chosen['beta']:g}, k {chosen['top_k']}, α {chosen['alpha']:g}, chosen on "
        f"other prompts. On {count} answers it is {verdict} the best prompting ({found['told']}): "
        f"{_interval(lead, signed=True)} in both.",
        "",
        READING,
        "",
        *_table(["way", "shown", "good", "both", "ended", "both, over the best prompting"], rows),
        "![Shown, good and both of every way](ways.png)",
        "",
    ]


def _poles(test: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    way = test[names[-1]]["way"]
    each = dict(way["each"])
    rows = [
        [pole, _said(each.get(pole, way)), *(_three(test[name]["by_pole"][pole]) for name in names)]
        for pole in test[names[0]]["by_pole"]
    ]
    return [
        "## By pole",
        "",
        "shown / good / **both**, and how the head answers a wish of the pole",
        "",
        *_table(["pole", "told, β", *names], rows),
        "![Both by pole](poles.png)",
        "",
    ]


def _said(way: Mapping[str, Any]) -> str:
    said = {"own": "own words", "instruction": "instruction", "other": "other instruction"}
    told = "not told" if way["place"] is None else said[way["words"]]
    return f"{told}, {way['beta'] or 0:g}"


def _strength(found: Mapping[str, Any]) -> list[str]:
    rows = [
        [
            row["name"],
            *("" if row[name] is None else f"{row[name]:g}" for name in ("beta", "top_k", "alpha")),
            *(_interval(row[what]) for what in ("shown", "good", "both")),
        ]
        for row in found["dev"]
    ]
    return [
        "## Strength, on development prompts",
        "",
        *_table(["way", "β", "k", "α", "shown", "good", "both"], rows),
        "![Shown, good and both by strength](strength.png)",
        "",
    ]


def _texts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = ["## Answers", ""]
    for row in rows:
        lines += [f"### {row['pole']}: {' '.join(row['question'].split())}", ""]
        for name, text in row["answers"].items():
            quoted = "\n".join(f"> {line}".rstrip() for line in text.splitlines()) or ">"
            lines += [f"{name}:", "", quoted, ""]
    return lines


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)] + [""]


def _interval(values: Sequence[float], *, signed: bool = False) -> str:
    form = "+.3f" if signed else ".3f"
    return "" if math.isnan(values[0]) else "{} [{}, {}]".format(*(f"{value:{form}}" for value in values))


def _three(shares: Mapping[str, Sequence[float]]) -> str:
    shown, good, both = (f"{shares[what][0]:.2f}" for what in ("shown", "good", "both"))
    return f"{shown} / {good} / **{both}**"
