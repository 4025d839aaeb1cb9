"""Where folders are: `~` and relative paths are read once, when they are named; and the folders of the user."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from pad_langchain.errors import InvalidRequestError
from pad_memory.paths import absolute, replacing

__all__ = ["absolute", "cache_folder", "data_folder", "is_path", "model_place", "replacing"]


def cache_folder() -> Path:
    """The folder for what can be made again; asking makes nothing.

    It is `$PAD_LANGCHAIN_CACHE`, else the system's cache folder of the user (`~/.cache/pad-langchain` on Linux).

    Raises:
        InvalidRequestError: nobody knows where the user's home is.
    """
    from platformdirs import user_cache_path

    named = os.environ.get("PAD_LANGCHAIN_CACHE", "").strip()
    return _at_home(
        lambda: absolute(named) if named else user_cache_path("pad-langchain", appauthor=False),
        "caches in. Name a folder in the environment variable PAD_LANGCHAIN_CACHE.",
    )


def data_folder() -> Path:
    """The folder for what the user would miss (`~/.local/share/pad-langchain` on Linux); asking makes nothing.

    Raises:
        InvalidRequestError: nobody knows where the user's home is.
    """
    from platformdirs import user_data_path

    return _at_home(
        lambda: user_data_path("pad-langchain", appauthor=False), "the memory in. Name a folder with --memory."
    )


def _at_home(find: Callable[[], Path], what_for: str) -> Path:
    try:
        place = find()
    except RuntimeError:  # so newer versions of platformdirs say it; older ones leave the "~"
        place = Path("~")
    if "~" in place.parts:
        raise InvalidRequestError(f"There is no home folder to keep {what_for}")
    return place


def is_path(name: str) -> bool:
    """Whether a model's name can only be a path: hub ids have no backslash and begin with a letter or a digit."""
    return name.startswith(("~", ".", "/")) or "\\" in name or re.match(r"[A-Za-z]:/", name) is not None


def model_place(name: str, *names: str) -> str:
    """The absolute path of what is there, or of what can only be a path; else the name as it is, such as a hub id.

    Args:
        names: what stands for something else than a folder, even where there is one of that name.

    >>> model_place("org/model"), model_place("self", "auto", "self")
    ('org/model', 'self')
    """
    if not name or name in names:
        return name
    place = absolute(name)
    # Another system's path is none here; it is left as it was written, to be told of as such.
    return str(place) if place.exists() or name.startswith(("~", ".", "/")) else name
