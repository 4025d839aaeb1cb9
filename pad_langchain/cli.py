"""The command line: `pad-langchain chat | feedback | memory`. Commands import the heavy parts they need."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from pad_langchain.errors import PadError
from pad_langchain.runtime import DEMO_MODEL

if TYPE_CHECKING:
    from pad_memory import Feedback, PreferenceMemory

__all__ = ["app"]

app = typer.Typer(
    name="pad-langchain",
    help="A chat model that learns how each user likes its answers. Everything stays on this machine.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
memory_app = typer.Typer(help="Look into the preference memory.", no_args_is_help=True)
app.add_typer(memory_app, name="memory")

MemoryPath = Annotated[
    Path | None,
    typer.Option(
        "--memory",
        envvar="PAD_MEMORY",
        help="Folder of the preference memory. [default: ~/.local/share/pad-langchain/memory]",
        show_default=False,
    ),
]


def default_memory_path() -> Path:
    """Return the user's data folder for the memory: `$XDG_DATA_HOME` or ~/.local/share, then pad-langchain/memory."""
    base = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(base) / "pad-langchain" / "memory"


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print what this package refuses as one line on stderr and leave with exit code 2; bugs keep their traceback."""
    from pydantic import ValidationError

    from pad_memory.errors import PadMemoryError

    try:
        yield
    except (PadError, PadMemoryError) as error:
        message = str(error)
    except ValidationError as error:
        message = "; ".join(_validation_line(detail) for detail in error.errors())
    else:
        return
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(2)


def _validation_line(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else str(detail["msg"]).removeprefix("Value error, ")


@contextmanager
def open_memory(path: Path | None) -> Iterator[PreferenceMemory]:
    """Open the memory in `path` or in the user's data folder, and close it again."""
    from pad_memory import PreferenceMemory

    with PreferenceMemory(path or default_memory_path()) as memory:
        yield memory


def quiet_libraries() -> None:
    """Keep the progress bars and notices of the model libraries out of a conversation; the user's own settings win."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.disable_progress_bar()


@app.command()
def chat(
    model: Annotated[str, typer.Option(help="Folder or hub id of the base model.")] = DEMO_MODEL,
    reward_model: Annotated[
        str, typer.Option(help="Folder or hub id of the PersRM; 'auto' is the demo's, 'none' is without one.")
    ] = "auto",
    memory: MemoryPath = None,
    user: Annotated[str, typer.Option(help="Who is talking.")] = "me",
    beta: Annotated[
        float | None, typer.Option(help="Guidance strength; 0 is the base model. [default: the PersRM's]")
    ] = None,
    temperature: Annotated[float, typer.Option(help="0 is greedy.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(help="New tokens an answer at most.")] = 256,
    seed: Annotated[int | None, typer.Option(help="Makes sampling repeatable.")] = None,
    echo: Annotated[bool, typer.Option("--echo", help="Repeat each line that is read, for transcripts.")] = False,
) -> None:
    """Talk, say what you like, and watch the answers change. Reads a script from a pipe as well."""
    from pad_langchain.chat_model import ChatPAD
    from pad_langchain.cli_chat import ChatSession

    with one_line_errors():
        llm = ChatPAD(
            model=model,
            reward_model=None if reward_model.lower() == "none" else reward_model,
            beta=beta,
            temperature=temperature,
            max_tokens=max_tokens,
            seed=seed,
        )
        quiet_libraries()
        with open_memory(memory) as store:
            store.events(user)  # refuses a bad id before the conversation begins
            llm.memory = store
            interactive = sys.stdin.isatty() and sys.stdout.isatty()
            console = Console(highlight=False)
            ChatSession(llm, store, user, console, interactive=interactive, echo=echo).run(sys.stdin)


@app.command()
def feedback(
    user: Annotated[str, typer.Argument(help="Whose feedback.")],
    prefer: Annotated[str | None, typer.Option(help="A preference in words.")] = None,
    prompt: Annotated[str | None, typer.Option(help="The question that was answered.")] = None,
    response: Annotated[str | None, typer.Option(help="The answer that is judged.")] = None,
    like: Annotated[bool | None, typer.Option("--like/--dislike", help="Thumb up or down for the answer.")] = None,
    rate: Annotated[float | None, typer.Option(help="1 (worst) to 5 (best) for the answer.")] = None,
    edit: Annotated[str | None, typer.Option(help="The answer as it should have been.")] = None,
    critique: Annotated[str | None, typer.Option(help="What is wrong with the answer.")] = None,
    chosen: Annotated[str | None, typer.Option(help="The better of two answers.")] = None,
    rejected: Annotated[str | None, typer.Option(help="The worse of two answers.")] = None,
    memory: MemoryPath = None,
) -> None:
    """Record one piece of feedback; the next chat with a PersRM weighs it."""
    with one_line_errors():
        event = _event(prefer, prompt, response, like, rate, edit, critique, chosen, rejected)
        with open_memory(memory) as store:
            typer.echo(f"recorded {store.record(user, event)}")


def _event(
    prefer: str | None,
    prompt: str | None,
    response: str | None,
    like: bool | None,
    rate: float | None,
    edit: str | None,
    critique: str | None,
    chosen: str | None,
    rejected: str | None,
) -> Feedback:
    from pad_memory import Choice, Critique, Edit, Rating, Statement, Thumb

    said = [value for value in (prefer, like, rate, edit, critique, chosen) if value is not None]
    if len(said) != 1:
        raise typer.BadParameter(
            f"one kind of feedback is needed, but got {len(said)}. Use one of --prefer, --like, --dislike, --rate, "
            "--edit, --critique, or --chosen with --rejected."
        )
    if prefer is not None:
        return Statement(prefer)
    question: Any = prompt  # the events refuse a missing text themselves and name the field
    answer: Any = response
    if chosen is not None:
        return Choice(prompt=question, chosen=chosen, rejected=rejected or "")
    if like is not None:
        return Thumb(prompt=question, response=answer, up=like)
    if rate is not None:
        return Rating(prompt=question, response=answer, rating=rate)
    if edit is not None:
        return Edit(prompt=question, response=answer, edited=edit)
    return Critique(prompt=question, response=answer, text=critique or "")


@memory_app.command("show")
def memory_show(user: Annotated[str, typer.Argument()], memory: MemoryPath = None) -> None:
    """Show what is known about a user, and why."""
    from pad_langchain.cli_chat import profile_table

    with one_line_errors(), open_memory(memory) as store:
        Console(highlight=False).print(profile_table(store, user))


@memory_app.command("list")
def memory_list(memory: MemoryPath = None) -> None:
    """List the users."""
    with one_line_errors(), open_memory(memory) as store:
        for user in store.users():
            typer.echo(user)


@memory_app.command("forget")
def memory_forget(
    user: Annotated[str, typer.Argument()],
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


@memory_app.command("export")
def memory_export(
    user: Annotated[str, typer.Argument()],
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
            output.write_text(text + "\n", encoding="utf-8")
            typer.echo(f"wrote {output}")
