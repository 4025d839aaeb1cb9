"""Where folders are: one reading of `~` and of relative paths, taken when they are named."""

from __future__ import annotations

import re

from pad_memory.paths import absolute

__all__ = ["absolute", "is_path", "model_place"]


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
