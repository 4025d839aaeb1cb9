"""What the commands share: where the memory is, how a refusal is printed, and who is not heard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pad_langchain.errors import PadError

if TYPE_CHECKING:
    from pad_memory import PreferenceMemory

__all__ = ["MemoryPath", "default_memory_path", "one_line_errors", "open_memory", "quiet_libraries"]

MemoryPath = Annotated[
    str | None,
    typer.Option(
        "--memory",
        envvar="PAD_MEMORY",
        help="Folder of the preference memory, or http:// address of a Chroma server. "
        "[default: ~/.local/share/pad-langchain/memory]",
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
def open_memory(place: str | None) -> Iterator[PreferenceMemory]:
    """Open the memory in a folder, on a server or in the user's data folder, and close it again."""
    from pad_memory import PreferenceMemory

    server = place is not None and place.startswith(("http://", "https://"))
    with PreferenceMemory(None if server else place or default_memory_path(), url=place if server else None) as memory:
        yield memory


def quiet_libraries() -> None:
    """Keep the progress bars and notices of the model libraries out of a conversation; the user's own settings win."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.disable_progress_bar()
