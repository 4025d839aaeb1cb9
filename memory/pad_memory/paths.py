"""Files and folders: `~` and relative paths are read once, when they are named, and files are written whole."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["absolute", "replacing"]


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root, `~` read as the home folder: it means the same after `os.chdir`.

    >>> absolute("~") == Path.home()
    True
    """
    return Path(os.path.expanduser(path)).absolute()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write; at the end it takes the place of `path`, or is gone where that failed.

    Who reads meanwhile, or after a kill, finds the old file or the new one, never half of one. What is no file, such as
    /dev/stdout, is written to itself.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()  # a link stays one
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
