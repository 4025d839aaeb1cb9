"""Chroma's files on disk: which index is torn, what is erased for good. Only `blank_unused` may run beside Chroma.

Chroma rewrites index files in place every hundred rows of a shard. A process killed amid that leaves files that do not
fit together, and loading them can crash or hang the next process. So a mark lies in the folder during every write: an
index that is younger than a mark left behind is not loaded, but made anew from the rows, which are safe in SQLite.
One whose sizes do not agree is neither.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import struct
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from pad_memory.errors import StoreError

__all__ = [
    "DATABASE",
    "ERASING",
    "JOURNAL",
    "WRITING",
    "blank_unused",
    "check",
    "drop_indexes",
    "flush",
    "note_erasure",
    "scrub",
    "torn",
    "writing",
]

DATABASE = "chroma.sqlite3"
ERASING = "erasing"  # names the collections of an erasure under way
WRITING = "writing"  # lies here during every write
JOURNAL = "journal"  # the folder of rows that wait for Chroma

_HEADER = struct.Struct("<iQQQQ")  # version, offset, capacity, elements, bytes of one
_LENGTH = struct.Struct("<I")
_erased: set[int] = set()  # processes, this one or its parents, that erased something: the heap may still hold it
logger = logging.getLogger(__name__)


def note_erasure() -> None:
    """Say that this process erases something. From now on, files it writes are blanked, for its heap may hold that."""
    _erased.add(os.getpid())


@contextmanager
def writing(folder: Path | None) -> Iterator[None]:
    """Mark that index files may be changing. After an error the mark stays for the next opening to look into.

    Where this process erased something before, what the changed files hold of its heap is zeroed.

    Args:
        folder: None on a server: nothing is done.
    """
    if folder is None:
        yield
        return
    mark = folder / WRITING
    mine = not mark.exists()  # the oldest one counts
    if mine:
        mark.touch()
    yield
    if _erased:
        blank_unused(folder, mark.stat().st_mtime_ns)
    if mine:
        mark.unlink()


def torn(folder: Path) -> set[str]:
    """Return the names of the collections whose index files do not fit together, or may not."""
    mark = folder / WRITING
    since = mark.stat().st_mtime_ns if mark.exists() else None
    names = set()
    for name, segment in _indexes(folder).items():
        times = [path.stat().st_mtime_ns for path in (folder / segment).glob("*")]
        young = since is not None and (not times or max(times) >= since)
        if young or (times and not _fits(folder / segment)):
            names.add(name)
    return names


def drop_indexes(folder: Path, names: Collection[str]) -> None:
    """Delete the index files of some collections; their rows stay."""
    indexes = _indexes(folder)
    for name in names:
        if name in indexes:
            shutil.rmtree(folder / indexes[name], ignore_errors=True)


def scrub(folder: Path, names: Collection[str]) -> None:
    """Delete log entries of collections and files nobody owns, and rewrite the database without its free pages.

    The indexes of the collections must be dropped. The last entry of the whole log stays: Chroma counts on from there.
    """
    new = folder / f"{DATABASE}.new"
    new.unlink(missing_ok=True)  # of a process that died
    with closing(_database(folder)) as database:
        for name in names:
            database.execute(
                "DELETE FROM embeddings_queue WHERE seq_id < (SELECT max(seq_id) FROM embeddings_queue) "
                "AND topic LIKE '%/' || (SELECT id FROM collections WHERE name = ?)",
                [name],
            )
        database.execute("VACUUM INTO ?", [str(new)])  # in place would write it all twice
        segments = {row[0] for row in database.execute("SELECT id FROM segments")}
    flush(new)
    new.replace(folder / DATABASE)  # closing has taken in and removed a write-ahead log
    flush(folder)
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name not in {*segments, JOURNAL}:
            shutil.rmtree(entry)


def check(folder: Path) -> None:
    """Have SQLite look over its file.

    Raises:
        StoreError: it is damaged.
    """
    try:
        with closing(_database(folder)) as database:
            (found,) = database.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        found = str(error)
    if found != "ok":
        raise StoreError(
            f"The database {str(folder / DATABASE)!r} is damaged: {found}. Put back a copy of the folder, or import "
            "exports into a new one."
        )


def blank_unused(folder: Path, since: int = 0) -> None:
    """Zero what index files changed since a time (ns) hold beyond their elements.

    Chroma writes index files with the capacity it allocated, so they start out with whatever the process's heap held:
    pieces of anybody's text. It does not read these bytes, and writes elements later where they belong.
    """
    for header in folder.glob("*/header.bin"):
        if header.stat().st_mtime_ns < since:
            continue
        _version, _offset, _capacity, elements, size = _HEADER.unpack_from(header.read_bytes())
        used = elements * size
        data = header.with_name("data_level0.bin")
        if used > data.stat().st_size:  # damaged: it will be made anew
            logger.warning("%s holds less than %d elements of %d bytes.", data, elements, size)
            continue
        _zero(data, used)
        _zero(header.with_name("length.bin"), 0)  # norms, which only the cosine space has


def flush(path: Path) -> None:
    """Let a file, or the names in a folder, survive a power failure."""
    if os.name == "nt" and path.is_dir():  # which does so by itself
        return
    file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def _fits(index: Path) -> bool:
    """Whether the sizes of index files agree. Chroma does not ask before it loads them."""
    try:
        _version, _offset, _capacity, elements, size = _HEADER.unpack_from((index / "header.bin").read_bytes())
        links = (index / "link_lists.bin").read_bytes()
        position = 0
        for _ in range(elements):  # each has the length of its links, and its links
            position += 4 + _LENGTH.unpack_from(links, position)[0]
        return position == len(links) and (index / "data_level0.bin").stat().st_size >= elements * size
    except (FileNotFoundError, struct.error):
        return False


def _zero(path: Path, start: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(0, 2)
        rest = stream.tell() - start
        stream.seek(start)
        stream.write(bytes(max(rest, 0)))


def _database(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / DATABASE, timeout=30.0, isolation_level=None)


def _indexes(folder: Path) -> dict[str, str]:
    """Collection name → folder of its index."""
    query = "SELECT c.name, s.id FROM segments s JOIN collections c ON c.id = s.collection WHERE s.scope = 'VECTOR'"
    with closing(_database(folder)) as database:
        return dict(database.execute(query))
