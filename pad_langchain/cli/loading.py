"""`Loading`: a chat that may load in a thread of its own, while its user types."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future
from os import _exit
from typing import TYPE_CHECKING

from rich.console import Console

from pad_langchain.cli.options import one_line_errors

if TYPE_CHECKING:
    from pad_langchain.chat import Chat

__all__ = ["Loading"]

_SAID = "Loading the model …"


class Loading:
    """A chat that begins to load now. Calling it waits for the chat, and says so on the console.

    Args:
        load: returns the chat.
        console: where it is said that somebody waits.
        background: whether a thread loads it. Without one it is there when this returns, and what `load` raises is
            raised here.
    """

    def __init__(self, load: Callable[[], Chat], console: Console, *, background: bool) -> None:
        self._console = console
        self._loaded: Future[Chat] = Future()
        if background:
            threading.Thread(target=self._run, args=(load,), name="loading", daemon=True).start()
            return
        with console.status(_SAID):
            self._loaded.set_result(load())

    def _run(self, load: Callable[[], Chat]) -> None:
        try:
            self._loaded.set_result(load())
        except BaseException as error:
            self._loaded.set_exception(error)

    def __call__(self) -> Chat:
        """Return the chat. A Ctrl-C ends the waiting, not the loading.

        Raises:
            typer.Exit: it did not load. The error is printed as one line.
        """
        with one_line_errors():
            if self._loaded.done():
                return self._loaded.result()
            with self._console.status(_SAID):
                return self._loaded.result()

    def leave(self) -> None:
        """End the process, with code 0, if the thread still loads.

        Libraries of the model, written in C++, abort a process that ends in its own way while they are imported.
        """
        if not self._loaded.done():
            sys.stdout.flush()
            sys.stderr.flush()
            _exit(0)
