"""What the commands share: opening the memory, printing errors, and quieting libraries."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from pad_langchain.defaults import DEMO_MODEL, NAMES, SMOLLM2, SMOLLM2_MODEL
from pad_langchain.errors import InvalidRequestError, PadError
from pad_langchain.paths import absolute, data_folder

if TYPE_CHECKING:
    from pad_memory import PreferenceMemory

__all__ = [
    "AnyTerminal",
    "EngineUrl",
    "MemoryPath",
    "ModelName",
    "NoRepeat",
    "Penalty",
    "Place",
    "RewardModelName",
    "TopK",
    "default_memory_path",
    "default_model",
    "memory_place",
    "one_line_errors",
    "open_memory",
    "quiet_libraries",
]

MemoryPath = Annotated[
    str | None,
    typer.Option(
        "--memory",
        envvar="PAD_MEMORY",
        help="Folder of the preference memory, or http:// address of a Chroma server. "
        "[default: pad-langchain/memory in the user's data folder, on Linux in ~/.local/share]",
        show_default=False,
    ),
]

ModelName = Annotated[
    str | None,
    typer.Option(
        help=f"GGUF file, folder or hub id of the base model, or a name: {', '.join(NAMES)}. "
        f"[default: {SMOLLM2_MODEL} where its package is installed, else {DEMO_MODEL}]",
        show_default=False,
    ),
]
RewardModelName = Annotated[
    str,
    typer.Option(
        help="Folder or hub id of the PersRM; 'self' is the base itself, 'none' is without one, 'auto' the shipped one "
        "that fits, or else 'self'."
    ),
]

EngineUrl = Annotated[
    list[str] | None,
    typer.Option(
        help="Address of a vLLM server that runs the model, such as http://vllm:8000; may be repeated. "
        "[default: the model runs here]"
    ),
]

TopK = Annotated[int | None, typer.Option(help="Candidates per token. [default: the PersRM's, else 10]")]
Place = Annotated[
    str | None,
    typer.Option(help="Where wishes are told in words: system, user or both. [default: the PersRM's, else system]"),
]
Penalty = Annotated[
    float | None, typer.Option(help="1 or more: repeated tokens become less likely. [default: the PersRM's, else 1]")
]
NoRepeat = Annotated[
    int | None, typer.Option(help="So many tokens in a row are not repeated. [default: the PersRM's, else 0: any are]")
]


class AnyTerminal(TyperGroup):
    """Commands for any terminal. What its encoding lacks is shown as "?". ASCII input is read as UTF-8."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):
                stream.reconfigure(errors="replace")
        if isinstance(sys.stdin, TextIOWrapper) and codecs.lookup(sys.stdin.encoding).name == "ascii":
            sys.stdin.reconfigure(encoding="utf-8")
        return super().main(*args, **kwargs)


def default_memory_path() -> Path:
    """Return the folder `memory` in the user's data folder. A folder that earlier versions made is used instead.

    Raises:
        InvalidRequestError: the user's home folder is not known.
    """
    earlier = absolute(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "pad-langchain" / "memory"
    return earlier if earlier.is_dir() else data_folder() / "memory"


def default_model() -> str:
    """The real small model where it is installed; else the demo, and a line that says how to get the other."""
    if SMOLLM2.place() is not None:
        return SMOLLM2_MODEL
    typer.echo(f"note: {DEMO_MODEL} answers, a toy. For a real small model run {SMOLLM2.install}", err=True)
    return DEMO_MODEL


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print this package's errors as one line on stderr and exit with code 2. Bugs keep their traceback."""
    from pydantic import ValidationError

    from pad_memory.errors import PadMemoryError

    try:
        yield
    except (PadError, PadMemoryError) as error:
        message = str(error)
    except UnicodeDecodeError as error:
        message = f"the input is no text in {error.encoding}: {error.reason}. Set PYTHONIOENCODING=utf-8."
    except ValidationError as error:
        message = "; ".join(_validation_line(detail) for detail in error.errors())
    else:
        return
    typer.echo(f"error: {' '.join(message.split())}", err=True)
    raise typer.Exit(2)


def _validation_line(detail: Any) -> str:
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {detail['msg']}" if where else str(detail["msg"]).removeprefix("Value error, ")


def memory_place(place: str | None) -> dict[str, str]:
    """Return a folder or the URL of a server as the argument that says so; None means the user's data folder."""
    if place is not None and place.startswith(("http://", "https://")):
        return {"url": place}
    return {"path": place or str(default_memory_path())}


@contextmanager
def open_memory(place: str | None, *, or_temporary: bool = False) -> Iterator[PreferenceMemory]:
    """Open the memory in a folder, on a server or in the user's data folder, and close it again.

    Args:
        place: a folder or the URL of a server. None means the user's data folder.
        or_temporary: where the user's data folder cannot be written, say so and use a memory that ends with the
            command. A folder that was named is never replaced.
    """
    from pad_memory import PreferenceMemory
    from pad_memory.errors import StoreError, StoreLockedError

    if place is not None and "url" in memory_place(place):
        with PreferenceMemory(url=place) as memory:
            yield memory
        return
    try:
        opened = PreferenceMemory(place or default_memory_path())
    except StoreLockedError:
        raise
    except (StoreError, InvalidRequestError) as error:
        if place or not or_temporary:
            raise
        typer.echo(f"note: {error} What is learned now is gone at the end.", err=True)
        opened = PreferenceMemory()
    with opened as memory:
        yield memory


def quiet_libraries() -> None:
    """Hide the progress bars and notices of the model libraries. The user's own settings take precedence."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from transformers.utils import logging

    logging.disable_progress_bar()
