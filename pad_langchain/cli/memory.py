"""`pad-langchain memory`: look into the preference memory, correct it, move it, repair it."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pad_langchain.cli.options import MemoryPath, one_line_errors, open_memory
from pad_langchain.errors import InvalidRequestError, MissingDependencyError

if TYPE_CHECKING:
    from pad_memory import Feedback, Preference, PreferenceMemory

__all__ = ["memory_app", "over_time"]

memory_app = typer.Typer(help="Look into the preference memory, and correct it.", no_args_is_help=True)

MOMENTS = 200  # drawn at most; each needs a profile of its own
User = Annotated[str, typer.Argument(help="The user id.")]


@memory_app.command("list")
def list_users(memory: MemoryPath = None) -> None:
    """List the users."""
    with one_line_errors(), open_memory(memory) as store:
        for user in store.users():
            typer.echo(user)


@memory_app.command()
def show(
    user: User,
    events: Annotated[bool, typer.Option("--events", help="Also what they told us, with event ids.")] = False,
    query: Annotated[str | None, typer.Option(help="Also what an answer to this would be conditioned on.")] = None,
    memory: MemoryPath = None,
) -> None:
    """Show what is known about a user and why, and what they changed their mind about."""
    from pad_langchain.cli.chat import profile_table

    console = Console(highlight=False)
    with one_line_errors(), open_memory(memory) as store:
        console.print(profile_table(store, user))
        past = store.profile(user).history
        if past:
            console.print(_history_table(past))
        if events:
            console.print(_event_table(store.events(user)))
        if query is not None:
            console.print(store.condition(user, query=query).explain(), markup=False)


@memory_app.command()
def search(
    user: User,
    query: Annotated[str, typer.Argument(help="What it is about.")],
    limit: Annotated[int, typer.Option(min=1, help="Hits at most.")] = 5,
    memory: MemoryPath = None,
) -> None:
    """Find what a user wants, or once wanted, by meaning."""
    table = Table("near", "preference", "holds", box=None, pad_edge=False)
    with one_line_errors(), open_memory(memory) as store:
        for preference, near in store.search(user, query, limit):
            table.add_row(f"{near:.2f}", Text(_named(preference)), _period(preference))
    Console(highlight=False).print(table if table.row_count else f"Nothing is known about {user} yet.")


@memory_app.command()
def undo(
    user: User,
    event: Annotated[str | None, typer.Argument(help="Id of the event; the last one if left out.")] = None,
    memory: MemoryPath = None,
) -> None:
    """Take one event back. It stays in the log; undo the id that is printed to make it count again."""
    with one_line_errors(), open_memory(memory) as store:
        event = store.undo(user) if event is None else event
        typer.echo(f"took back {event} by {store.retract(user, event)}")


@memory_app.command()
def forget(
    user: User,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    memory: MemoryPath = None,
) -> None:
    """Erase all of a user's events and preferences for good."""
    with one_line_errors(), open_memory(memory) as store:
        count = len(store.events(user))
        if not yes:
            typer.confirm(f"Erase {count} events of {user!r} for good?", abort=True)
        store.forget(user)
        typer.echo(f"forgot {count} events of {user!r}")


@memory_app.command()
def export(
    user: User,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output if left out.")
    ] = None,
    memory: MemoryPath = None,
) -> None:
    """Write all of a user's events as JSON."""
    with one_line_errors(), open_memory(memory) as store:
        text = json.dumps(store.export(user), indent=2, ensure_ascii=False)
        if output is None:
            typer.echo(text)
        else:
            _write(output, (text + "\n").encode())
            typer.echo(f"wrote {output}")


@memory_app.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(help="What `export` wrote.")],
    memory: MemoryPath = None,
) -> None:
    """Add what an export has and the memory has not."""
    with one_line_errors():
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:  # a JSONDecodeError and a UnicodeDecodeError are ValueErrors
            raise InvalidRequestError(
                f"{str(file)!r} is not a readable export: {error}. Make one with export."
            ) from None
        with open_memory(memory) as store:
            typer.echo(f"added {store.import_(data)} of {data['user']!r}")


@memory_app.command()
def stats(memory: MemoryPath = None) -> None:
    """Count users, events by kind, preferences, and judgements that wait for a PersRM."""
    with one_line_errors(), open_memory(memory) as store:
        users, kinds, sources, pending = store.users(), Counter[str](), Counter[str](), 0
        for user in users:
            profile = store.profile(user)
            kinds.update(event.kind for event in store.events(user))
            sources.update(item.source for item in profile.preferences)
            pending += profile.pending
    typer.echo(f"users        {len(users)}")
    typer.echo(f"events       {kinds.total()} {_counts(kinds)}".rstrip())
    typer.echo(f"preferences  {sources.total()} {_counts(sources)}".rstrip())
    typer.echo(f"pending      {pending}")


@memory_app.command()
def repair(memory: MemoryPath = None) -> None:
    """Look through the whole store and make anew what cannot be read."""
    with one_line_errors(), open_memory(memory) as store:
        report = store.repair()
    typer.echo(f"{report.collections} collections, {report.rows} rows, {len(report.rebuilt)} rebuilt")


@memory_app.command("next-question")
def next_question(user: User, memory: MemoryPath = None) -> None:
    """Print the comparison whose answer would teach most about a user."""
    with one_line_errors(), open_memory(memory) as store:
        question = store.next_question(user)
    if question is None:
        typer.echo(f"{user} is known well enough; no question would teach more.")
        return
    typer.echo(question.why)
    typer.echo(f"1) {', '.join(question.first)}")
    typer.echo(f"2) {', '.join(question.second)}")
    typer.echo(f"expected gain {question.gain:.2f} nats")


@memory_app.command()
def plot(
    user: User,
    output: Annotated[Path, typer.Option("--output", "-o", help="PNG file to write.")],
    memory: MemoryPath = None,
) -> None:
    """Draw how a user's preferences came and went."""
    with one_line_errors():
        figure = _figure()
        with open_memory(memory) as store:
            times, series = over_time(store, user)
        if not series:
            raise InvalidRequestError(f"Nothing is known about {user!r} yet, so there is nothing to draw.")
        _draw(figure, user, times, series)
        _save(figure, output)
        typer.echo(f"wrote {output}")


def over_time(memory: PreferenceMemory, user: str) -> tuple[list[float], dict[str, list[float]]]:
    """Return the times of a user's events (Unix seconds) and, by preference, its weight × confidence after each.

    Of more than 200 times, 200 are taken at even steps, the first and the last among them.
    """
    times = sorted({event.time for event in memory.events(user) if event.time is not None})
    if len(times) > MOMENTS:
        times = [times[round(step * (len(times) - 1) / (MOMENTS - 1))] for step in range(MOMENTS)]
    series: dict[str, list[float]] = {}
    for number, time in enumerate(times):
        for item in memory.profile(user, at=time).preferences:
            line = series.setdefault(_named(item), [0.0] * len(times))
            line[number] = item.weight * item.confidence
    return times, series


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingDependencyError(
            f'matplotlib is not installed ({error}). Install it: pip install "pad-langchain[plot]"'
        ) from error
    return Figure(layout="constrained")


def _draw(figure: Any, user: str, times: list[float], series: dict[str, list[float]]) -> None:
    """Draw one lane a preference, the earliest on top; lines in one frame would hide each other."""
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


def _save(figure: Any, path: Path) -> None:
    try:
        with warnings.catch_warnings():  # a wish may be in letters that the font has not
            warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
            figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise InvalidRequestError(f"{str(path)!r} cannot be written: {error}.") from None


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise InvalidRequestError(f"{str(path)!r} cannot be written: {error}.") from None


def _history_table(past: tuple[Preference, ...]) -> Table:
    table = Table("no more", "held", "ended by", box=None, pad_edge=False)
    for item in past:
        table.add_row(Text(_named(item)), _period(item), Text(item.ended_by or ""))
    return table


def _event_table(events: tuple[Feedback, ...]) -> Table:
    table = Table("event", "when", "kind", "words", box=None, pad_edge=False)
    for event in events:
        table.add_row(Text(event.id or ""), _when(event.time), event.kind, Text(event.words or ""))
    return table


def _named(preference: Preference) -> str:
    return preference.text if preference.scope is None else f"{preference.text} (only for {preference.scope})"


def _period(preference: Preference) -> str:
    return f"{_when(preference.valid_from)} – {_when(preference.valid_to)}".rstrip()


def _when(time: float | None) -> str:
    return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


def _counts(counter: Counter[str]) -> str:
    return f"({', '.join(f'{name} {count}' for name, count in sorted(counter.items()))})" if counter else ""
