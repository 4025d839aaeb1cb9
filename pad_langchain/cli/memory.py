"""`pad-langchain memory`: inspect, correct, move and repair the preference memory."""

from __future__ import annotations

import codecs
import json
import re
import sys
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pad_langchain.cli.options import MemoryPath, memory_place, one_line_errors, open_memory
from pad_langchain.cli.plot import draw, over_time, save
from pad_langchain.cli.progress import progress
from pad_langchain.cli.show import named, profile_table, sensitive_of
from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.plots import new_figure
from pad_langchain.paths import absolute, replacing

if TYPE_CHECKING:
    from pad_memory import Feedback, Preference

__all__ = ["memory_app"]

memory_app = typer.Typer(help="Look into the preference memory, and correct it.", no_args_is_help=True)

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
    thread: Annotated[str | None, typer.Option(help="Id of the conversation that the query belongs to.")] = None,
    memory: MemoryPath = None,
) -> None:
    """Show what is known about a user and why, and what they changed their mind about."""
    console = Console(highlight=False)
    with one_line_errors(), open_memory(memory) as store:
        console.print(profile_table(store, user))
        profile = store.profile(user)
        if profile.history:
            console.print(_history_table(profile.history))
        if profile.later:
            console.print(_later_table(profile.later))
        for drift in profile.drifts:
            console.print(f"Changed since {_when(drift.since)}? {drift.why}", markup=False)
        if profile.paused:
            console.print("Nothing is recorded: paused.")
        if events:
            console.print(_event_table(store.events(user)))
        if query is not None:
            console.print(store.condition(user, query=query, thread=thread).explain(), markup=False)


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
            table.add_row(f"{near:.2f}", Text(named(preference)), _period(preference))
    Console(highlight=False).print(table if table.row_count else f"Nothing is known about {user} yet.")


@memory_app.command()
def undo(
    user: User,
    event: Annotated[str | None, typer.Argument(help="Id of the event; the last one if left out.")] = None,
    memory: MemoryPath = None,
) -> None:
    """Take one event back. It stays in the log. To make it count again, undo the id that is printed."""
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
            typer.confirm(f"Erase {count} events of {user!r}{sensitive_of(store, user)} for good?", abort=True)
        store.forget(user)
        typer.echo(f"forgot {count} events of {user!r}")


@memory_app.command()
def pause(user: User, memory: MemoryPath = None) -> None:
    """Record nothing of a user until `resume`."""
    with one_line_errors(), open_memory(memory) as store:
        store.pause(user)
        typer.echo(f"nothing of {user!r} is recorded until resume")


@memory_app.command()
def resume(user: User, memory: MemoryPath = None) -> None:
    """Record again what a user says."""
    with one_line_errors(), open_memory(memory) as store:
        store.resume(user)
        typer.echo(f"recording of {user!r} again")


@memory_app.command("time-zone")
def time_zone(
    user: User,
    zone: Annotated[str, typer.Argument(help="Such as Europe/Berlin; UTC where nothing was set.")],
    memory: MemoryPath = None,
) -> None:
    """Say whose clock a user means by "today" and "until Friday", from the next event on."""
    with one_line_errors(), open_memory(memory) as store:
        store.set_time_zone(user, zone)
        typer.echo(f"{user!r} means the clock of {zone}")


@memory_app.command()
def merge(
    source: Annotated[str, typer.Argument(help="The user id that goes away.")],
    into: Annotated[str, typer.Argument(help="The user id that has it all afterwards.")],
    memory: MemoryPath = None,
) -> None:
    """Make all that is kept of one user another's. A call that was killed is finished by the next."""
    with one_line_errors(), open_memory(memory) as store:
        typer.echo(f"merged {store.merge(source, into)} of {source!r} into {into!r}")


@memory_app.command()
def retention(
    idle: Annotated[str, typer.Option(help="How long nothing was heard of them: 365d, 8w or 36h.")],
    erase: Annotated[bool, typer.Option("--erase/--dry-run", help="Erase them, or only say who it would be.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    memory: MemoryPath = None,
) -> None:
    """List the users nothing was heard of for long, or erase them for good."""
    with one_line_errors():
        span = _span(idle)
        with open_memory(memory) as store, progress() as tick:
            found = store.forget_idle(span, progress=lambda done, of: tick("looking", done, of, {}))
        for user in found:
            typer.echo(f"{user.user}  {_when(user.last)}  {user.events} events, {user.items} items")
        if not erase:
            typer.echo(f"{len(found)} users are idle; --erase erases them")
            return
        if found and not yes:
            typer.confirm(f"Erase {len(found)} users for good?", abort=True)
        with open_memory(memory) as store, progress() as tick:
            gone = store.forget_idle(span, dry_run=False, progress=lambda done, of: tick("erasing", done, of, {}))
        typer.echo(f"forgot {len(gone)} users")


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
        # A terminal may show "?" for a letter; an export that is read back may not.
        whole = output is not None or codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
        text = json.dumps(store.export(user), indent=2, ensure_ascii=not whole)
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
    """Add the events of an export that the memory lacks."""
    with one_line_errors():
        try:
            data = json.loads(absolute(file).read_text(encoding="utf-8"))
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
    """Check the whole store, and make again what cannot be read."""
    with one_line_errors(), open_memory(memory) as store:
        report = store.repair()
    typer.echo(f"{report.collections} collections, {report.rows} rows, {len(report.rebuilt)} rebuilt")


@memory_app.command()
def reembed(
    embedder: Annotated[
        str | None, typer.Option(help="A sentence-transformers name or folder. [default: the one that is packaged]")
    ] = None,
    memory: MemoryPath = None,
) -> None:
    """Make all vectors anew with another embedder. A call that was killed is finished by the next."""
    from pad_memory import SentenceEmbedder
    from pad_memory import reembed as remake

    with one_line_errors(), progress() as tick:
        made = remake(
            **memory_place(memory),
            embedder=None if embedder is None else SentenceEmbedder(embedder),
            progress=lambda done, of: tick("embedding", done, of, {}),
        )
    typer.echo(f"{made} texts embedded anew")


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
        figure = new_figure()
        with open_memory(memory) as store:
            times, series = over_time(store, user)
        if not series:
            raise InvalidRequestError(f"Nothing is known about {user!r} yet, so there is nothing to draw.")
        draw(figure, user, times, series)
        save(figure, absolute(output))
        typer.echo(f"wrote {output}")


def _span(text: str) -> timedelta:
    found = re.fullmatch(r"(\d{1,6}) ?([hdw])", text.strip())
    if found is None or not int(found[1]):
        raise InvalidRequestError(f"--idle has to look like 365d, 8w or 36h, above 0, but is {text!r}.")
    return timedelta(**{{"h": "hours", "d": "days", "w": "weeks"}[found[2]]: int(found[1])})


def _write(path: Path, data: bytes) -> None:
    try:
        with replacing(absolute(path)) as file:
            file.write_bytes(data)
    except OSError as error:
        raise InvalidRequestError(f"{str(path)!r} cannot be written: {error}.") from None


def _history_table(past: tuple[Preference, ...]) -> Table:
    table = Table("no more", "held", "ended by", box=None, pad_edge=False)
    for item in past:
        table.add_row(Text(named(item)), _period(item), Text("expired" if item.expired else item.ended_by or ""))
    return table


def _later_table(later: tuple[Preference, ...]) -> Table:
    table = Table("not now, but later", "holds", box=None, pad_edge=False)
    for item in later:
        table.add_row(Text(named(item)), _period(item))
    return table


def _event_table(events: tuple[Feedback, ...]) -> Table:
    table = Table("event", "when", "kind", "words", box=None, pad_edge=False)
    for event in events:
        table.add_row(Text(event.id or ""), _when(event.time), event.kind, Text(event.words or ""))
    return table


def _period(preference: Preference) -> str:
    return f"{_when(preference.valid_from)} – {_when(preference.valid_to)}".rstrip()


def _when(time: float | None) -> str:
    return "" if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


def _counts(counter: Counter[str]) -> str:
    return f"({', '.join(f'{name} {count}' for name, count in sorted(counter.items()))})" if counter else ""
