"""The plots of an evaluation's report; matplotlib is loaded when one is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pad_langchain.errors import MissingDependencyError

__all__ = ["draw_beta", "draw_k", "draw_pareto", "new_figure"]

Measured = Mapping[str, Any]  # a setting with its figures
MARKS = "os^Dv*"  # lines that lie on each other can be told apart


def new_figure(**settings: Any) -> Any:
    """An empty matplotlib figure.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f'matplotlib is not installed ({error}). Install it: pip install "pad-langchain[plot]"'
        ) from error
    return Figure(layout="constrained", **settings)


def draw_beta(rows: Sequence[Measured], judge: str, path: Path) -> None:
    """Score and perplexity of each guided method against β, at the first k; β = 0 is the base."""
    lines = {}
    for method, mine in _guided(rows).items():
        swept = [row for row in mine if row["top_k"] == mine[0]["top_k"]]
        start = [] if any(row["beta"] == 0 for row in swept) else [{**rows[0], "beta": 0.0}]
        lines[method] = [(row["beta"], row) for row in [*start, *swept]]
    _draw(lines, "β, strength of guidance", judge, path)


def draw_k(rows: Sequence[Measured], judge: str, chosen: Mapping[str, Measured], path: Path) -> None:
    """Score and perplexity of each guided method against k, at the β it chose."""
    lines = {
        method: sorted((row["top_k"], row) for row in mine if row["beta"] == chosen[method]["beta"] != 0)
        for method, mine in _guided(rows).items()
    }
    _draw({method: line for method, line in lines.items() if line}, "k, candidate tokens", judge, path)


def draw_pareto(found: Mapping[str, Any], path: Path) -> None:
    """Two preferences' scores against each other, a line a method; the front is dashed."""
    figure, (axes,) = _figure(1)
    axes.set(xlabel=f"mean score, {found['names'][0]}", ylabel=f"mean score, {found['names'][1]}")
    for method, mark in zip(dict.fromkeys(p["method"] for p in found["points"]), MARKS, strict=False):
        places = [p["scores"] for p in found["points"] if p["method"] == method]
        axes.plot(*zip(*places, strict=True), marker=mark, alpha=0.7, label=method)
    front = sorted(p["scores"] for p in found["points"] if p["front"])
    axes.plot(*zip(*front, strict=True), "k--", linewidth=1, label="front")
    axes.legend()
    figure.savefig(path, dpi=100)


def _guided(rows: Sequence[Measured]) -> dict[str, list[Measured]]:
    """Method → its rows; the first row of a sweep is the base's."""
    found: dict[str, list[Measured]] = {}
    for row in rows[1:]:
        found.setdefault(row["method"], []).append(row)
    return found


def _draw(lines: Mapping[str, Sequence[tuple[float, Measured]]], x: str, judge: str, path: Path) -> None:
    figure, (scores, perplexities) = _figure(2)
    scores.set(xlabel=x, ylabel=f"mean score, {judge}")
    perplexities.set(xlabel=x, ylabel="perplexity under the base")
    for (method, line), mark in zip(lines.items(), MARKS, strict=False):
        places, style = [place for place, _ in line], {"marker": mark, "alpha": 0.7, "label": method}
        scores.plot(places, [row["scores"][judge][0] for _, row in line], **style)
        perplexities.plot(places, [row["perplexity"] for _, row in line], **style)
    if lines:
        scores.legend()
    figure.savefig(path, dpi=100)


def _figure(count: int) -> tuple[Any, Sequence[Any]]:
    figure = new_figure(figsize=(4.8 * count, 3.6))
    axes = figure.subplots(1, count, squeeze=False)[0]
    for each in axes:
        each.grid(alpha=0.3)
    return figure, axes
