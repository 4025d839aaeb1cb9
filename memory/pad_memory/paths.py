"""Where a memory's folder is: one reading of `~` and of relative paths, taken when the memory is made."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["absolute"]


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root, `~` read as the home folder: it means the same after `os.chdir`.

    >>> absolute("~") == Path.home()
    True
    """
    return Path(os.path.expanduser(path)).absolute()
