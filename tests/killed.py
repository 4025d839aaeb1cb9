"""For scripts that kill their children at every step of something, and look at what those leave behind."""

from __future__ import annotations

import itertools
import os
import signal
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["die_at", "forked"]


def forked(work: Callable[[], object]) -> int:
    """Do something in a forked child; return how that ended, as `os.waitpid` says it."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def die_at(fatal: int, *places: tuple[Any, str]) -> None:
    """Have this process kill itself at the beginning or end of a call.

    Args:
        fatal: which of these moments, from 1, counted over all places.
        places: owners and names of functions.
    """
    moments = itertools.count(1)

    def deadly(function: Callable[..., Any]) -> Callable[..., Any]:
        def moment() -> None:
            if next(moments) == fatal:
                os.kill(os.getpid(), signal.SIGKILL)

        def call(*arguments: Any, **options: Any) -> Any:
            moment()
            found = function(*arguments, **options)
            moment()
            return found

        return call

    for owner, name in places:
        setattr(owner, name, deadly(getattr(owner, name)))
