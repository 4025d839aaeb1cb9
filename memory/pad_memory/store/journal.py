"""Rows that are safe on the disk but not yet in Chroma: one append-only file a collection.

Chroma flushes the disk ten times for a call, however many rows it has. So a row is written here first, with one flush,
and goes to Chroma with others. What stands here is as good as in Chroma: a process that dies leaves it, and the next
one reads it. A line is a checksum and a batch of rows; one that was cut off was never acknowledged.
"""

from __future__ import annotations

import base64
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pad_memory.errors import StoreError
from pad_memory.store.index_files import flush
from pad_memory.store.rows import StoredRow

__all__ = ["Journal"]


class Journal:
    """The rows of a folder's collections that wait for Chroma. Not thread-safe.

    Args:
        folder: where the files lie; made where it is missing.

    Raises:
        StoreError: a file is damaged before its last line.
        OSError: it cannot be read, or the folder cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.exists():
            folder.mkdir(mode=0o700)
            flush(folder.parent)
        self._folder = folder
        self._rows: dict[str, dict[str, StoredRow]] = {}
        self._size: dict[str, int] = {}  # bytes
        for path in folder.glob("*.log"):
            self._size[path.stem], self._rows[path.stem] = _read(path)
            if path.stat().st_size > self._size[path.stem]:  # never acknowledged, and forgetting must leave no byte
                os.truncate(path, self._size[path.stem])

    def names(self) -> list[str]:
        """Return the names of the collections that rows wait for, sorted."""
        return sorted(name for name, rows in self._rows.items() if rows)

    def rows(self, name: str) -> Mapping[str, StoredRow]:
        """Return the rows that wait for a collection, by id."""
        return self._rows.get(name, {})

    def append(self, name: str, rows: Sequence[StoredRow]) -> None:
        """Keep rows, or replace those whose id waits; when this returns they are on the disk, else none of them is.

        Raises:
            OSError: the disk is full, or cannot be written to.
        """
        packed = [(id, metadata, _packed(vector_E)) for id, metadata, vector_E in rows]
        body = json.dumps(packed, ensure_ascii=False).encode()
        start, line = self._size.get(name, 0), b"%08x %s\n" % (zlib.crc32(body), body)
        self._write(name, start, line)
        self._size[name] = start + len(line)
        self._rows.setdefault(name, {}).update((row.id, row) for row in rows)

    def clear(self, name: str) -> None:
        """Drop the rows that waited for a collection, and their bytes.

        Raises:
            OSError: the disk cannot be written to.
        """
        if name in self._size:
            self._write(name, 0, b"")
            del self._size[name], self._rows[name]

    def _write(self, name: str, start: int, line: bytes) -> None:
        """Cut a file after its first `start` bytes, and write one line there."""
        path = self._folder / f"{name}.log"
        new = not path.exists()
        with path.open("xb" if new else "r+b", buffering=0) as file:
            file.truncate(start)
            file.seek(start)
            try:
                rest = memoryview(line)
                while rest:  # a disk that is almost full takes a part of it
                    rest = rest[file.write(rest) :]
                getattr(os, "fdatasync", os.fsync)(file.fileno())
            except BaseException:
                file.truncate(start)
                raise
        if new:
            flush(self._folder)


def _read(path: Path) -> tuple[int, dict[str, StoredRow]]:
    """Return how many bytes of a file are whole lines, and the rows in them."""
    size, rows = 0, {}
    lines = path.read_bytes().split(b"\n")[:-1]  # what follows the last one was cut off
    for number, line in enumerate(lines, 1):
        checksum, _, body = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(body):
            if number == len(lines):
                break
            raise StoreError(
                f"Line {number} of {str(path)!r} is damaged. Put back a copy of the folder; or move this file away, "
                "which loses what was recorded shortly before the memory was last open."
            )
        size += len(line) + 1
        rows.update({id: StoredRow(id, metadata, _unpacked(text)) for id, metadata, text in json.loads(body)})
    return size, rows


def _packed(vector_E: np.ndarray | None) -> str | None:
    return None if vector_E is None else base64.b64encode(np.asarray(vector_E, "<f4").tobytes()).decode()


def _unpacked(text: str | None) -> np.ndarray | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), "<f4")
