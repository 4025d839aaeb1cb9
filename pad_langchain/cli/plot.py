"""A plot of how a user's preferences came and went. It needs matplotlib, the extra `plot`."""

from __future__ import annotations

import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from pad_langchain.cli.show import named
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_memory import PreferenceMemory

__all__ = ["draw", "over_time", "save"]

MOMENTS = 200  # drawn at most; each needs a profile of its own


def over_time(memory: PreferenceMemory, user: str) -> tuple[list[float], dict[str, list[float]]]:
    """Return the times of a user's events (Unix seconds), and per preference its weight × confidence after each.

    Of more than 200 times, 200 are taken at even steps, including the first and the last.
    """
    times = sorted({event.time for event in memory.events(user) if event.time is not None})
    if len(times) > MOMENTS:
        times = [times[round(step * (len(times) - 1) / (MOMENTS - 1))] for step in range(MOMENTS)]
    series: dict[str, list[float]] = {}
    for number, time in enumerate(times):
        for item in memory.profile(user, at=time).preferences:
            line = series.setdefault(named(item), [0.0] * len(times))
            line[number] = item.weight * item.confidence
    return times, series


def draw(figure: Any, user: str, times: list[float], series: dict[str, list[float]]) -> None:
    """Draw one lane per preference, the earliest on top, as lines in one frame would hide each other."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    figure.set_size_inches(9, 1.2 + 0.4 * len(series))
    axes = figure.add_subplot()
    days = [datetime.fromtimestamp(time, UTC) for time in times]
    end = days[-1] + max((days[-1] - days[0]) * 0.04, timedelta(hours=1))  # so that the last event shows
    for lane, values in enumerate(series.values()):
        tops = [lane - 0.8 * value for value in (*values, values[-1])]
        axes.fill_between([*days, end], lane, tops, step="post", alpha=0.7, linewidth=0.8)
        axes.text(1.01, lane, f"{values[-1]:.2f}" if values[-1] else "–", transform=axes.get_yaxis_transform())
    axes.set_xlim(days[0], end)
    axes.set_ylim(len(series) - 0.8, -1.0)
    axes.set_yticks(range(len(series)), [shorten(name, 60) for name in series], parse_math=False)
    axes.grid(axis="x", alpha=0.3)
    locator = AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_title(f"What {shorten(user, 60)} wants: weight × confidence (at the right: now)", parse_math=False)


def save(figure: Any, path: Path) -> None:
    """Write a figure as PNG.

    Raises:
        InvalidRequestError: the file cannot be written.
    """
    try:
        with warnings.catch_warnings():  # a wish may be in letters that the font has not
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise InvalidRequestError(f"{str(path)!r} cannot be written: {error}.") from None
