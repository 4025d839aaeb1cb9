"""The sha256 of large files. It is kept by path, size and time of change in the user's cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

from filelock import FileLock

from pad_langchain.errors import InvalidRequestError
from pad_langchain.paths import cache_folder, replacing

__all__ = ["sha256_of"]

_KEPT = 256  # files; those that were hashed longest ago are forgotten first

logger = logging.getLogger(__name__)

_here: dict[str, list[int | str]] = {}  # what this process hashed or looked up


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal. A file of the same path, size and time of change is not read again.

    Raises:
        OSError: the file cannot be read.
    """
    found = path.stat()
    name, state = str(path.resolve()), [found.st_size, found.st_mtime_ns]
    for look in (lambda: _here, _known):
        if (known := look().get(name)) is not None and known[:2] == state:
            _here[name] = known
            return str(known[2])
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    _here[name] = [*state, digest]
    _remember(name, _here[name])
    return digest


def _place() -> Path:
    return cache_folder() / "hashes.json"


def _known() -> dict[str, list[int | str]]:
    try:
        known = json.loads(_place().read_text(encoding="utf-8"))
    except (OSError, ValueError, InvalidRequestError):  # none yet, or no folder for any
        return {}
    whole = isinstance(known, dict) and all(isinstance(each, list) and len(each) == 3 for each in known.values())
    return known if whole else {}


def _remember(name: str, entry: list[int | str]) -> None:
    """Keep a hash. If the folder cannot be written, the next start reads the file again."""
    try:
        place = _place()
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{place}.lock"):
            known = {**{each: value for each, value in _known().items() if each != name}, name: entry}
            kept = dict(list(known.items())[-_KEPT:])
            with replacing(place) as file:
                file.write_text(json.dumps(kept), encoding="utf-8")
    except (OSError, InvalidRequestError) as error:
        logger.debug("The sha256 of %s is not kept: %s", name, error)
