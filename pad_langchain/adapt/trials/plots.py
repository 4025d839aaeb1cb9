"""The plots of a run's report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pad_langchain.evaluation.plots import new_figure

__all__ = ["draw_poles", "draw_strength", "draw_ways"]

FIGURES = ("shown", "good", "both")
INK = ("#4c72b0", "#8c8c8c", "#c44e52")


def draw_ways(test: Mapping[str, Any], path: Path) -> None:
    """Shown, good and both of every way, a group of bars each, with 95% intervals."""
    figure = new_figure(figsize=(1.3 + 1.3 * len(test), 4))
    axes = figure.subplots()
    for n, (name, colour) in enumerate(zip(FIGURES, INK, strict=True)):
        _bars(axes, [each[name] for each in test.values()], n, len(FIGURES), name, colour)
    axes.set_xticks(range(len(test)), [name.replace(" + ", "\n+ ") for name in test], fontsize=8)
    axes.set(ylim=(0, 1), ylabel="share of answers")
    axes.legend(ncols=3, loc="upper left")
    figure.savefig(path, dpi=100)


def draw_poles(test: Mapping[str, Any], names: Sequence[str], path: Path) -> None:
    """Both, by pole, of some ways, with 95% intervals."""
    poles = list(test[names[0]]["by_pole"])
    figure = new_figure(figsize=(2 + 0.7 * len(poles), 4.4))
    axes = figure.subplots()
    for n, (name, colour) in enumerate(zip(names, INK, strict=False)):
        _bars(axes, [test[name]["by_pole"][pole]["both"] for pole in poles], n, len(names), name, colour)
    axes.set_xticks(range(len(poles)), [pole.partition(":")[2] for pole in poles], rotation=45, ha="right")
    axes.set(ylim=(0, 1), ylabel="share of answers that show the wish and are good")
    axes.legend(loc="upper left", fontsize=8)
    figure.savefig(path, dpi=100)


def draw_strength(tried: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Shown, good and both against β at the first k and α, for the head alone and beside a prompt."""
    rows = [row for row in tried if row["guide"] == "head" and not row["each"]]
    first = [row for row in rows if (row["top_k"], row["alpha"]) == (rows[0]["top_k"], rows[0]["alpha"])]
    names = list(dict.fromkeys(row["name"] for row in first))
    figure = new_figure(figsize=(4.8 * len(names), 3.8))
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        line = sorted((row for row in first if row["name"] == name), key=lambda row: row["beta"])
        for what, colour in zip(FIGURES, INK, strict=True):
            means, lows, highs = zip(*(row[what] for row in line), strict=True)
            betas = [row["beta"] for row in line]
            axes.plot(betas, means, marker="o", color=colour, label=what)
            axes.fill_between(betas, lows, highs, color=colour, alpha=0.15, linewidth=0)
        axes.set(title=name, xlabel="β, strength", ylim=(0, 1), ylabel="share of answers, development prompts")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=100)


def _bars(axes: Any, found: Sequence[Sequence[float]], place: int, many: int, label: str, colour: str) -> None:
    """One bar a group, the one at `place` of `many`. `found` has [mean, low, high] each."""
    width = 0.8 / many
    x = [n + (place - (many - 1) / 2) * width for n in range(len(found))]
    errors = [[max(0.0, mean - low) for mean, low, _ in found], [max(0.0, high - mean) for mean, _, high in found]]
    axes.bar(x, [mean for mean, *_ in found], width, yerr=errors, capsize=2, color=colour, label=label)
