"""Progress of long commands: a bar for each stage on a terminal, and log lines everywhere."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from pad_langchain.cli.options import quiet_libraries

__all__ = ["progress"]


@contextmanager
def progress() -> Iterator[Callable[[str, int, int, dict[str, float]], None]]:
    """Show one bar per stage on a terminal, and log lines everywhere."""
    quiet_libraries()
    os.environ.setdefault("TQDM_DISABLE", "1")
    console = Console(stderr=True)
    handler = RichHandler(console=console, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler])
    logging.getLogger("pad_langchain").setLevel(logging.INFO)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    tasks: dict[str, TaskID] = {}
    with Bars(*columns, console=console, disable=not console.is_terminal) as bars:

        def tick(stage: str, done: int, of: int, logged: dict[str, float]) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=of)
            bars.update(tasks[stage], completed=done, total=of)

        yield tick
