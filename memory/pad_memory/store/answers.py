"""Answers that are kept for a while, so that feedback may name them after a restart: a file, or a collection.

They are no rows of the ledger: nothing is concluded from them, and each has an end.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pad_memory.store.connection import Connection
from pad_memory.store.rows import row_id

__all__ = ["Answer", "Answers", "answers_of"]

FILE = "answers.sqlite3"
COLLECTION = "pad-answers"
BATCH = 2000  # rows per call; Chroma takes 5,461 at most


class Answer(NamedTuple):
    """One answer: whose it is (`owner_of`), its id, its texts, and the Unix seconds of its end."""

    owner: str
    id: str
    prompt: str
    response: str
    until: float


class Answers(Protocol):
    """Kept answers. Thread-safe, and nothing is made before the first is kept. All raise StoreError."""

    def keep(self, answers: Sequence[Answer]) -> None:
        """Keep answers, all or none, in the place of those of the same owner and id."""

    def of(self, owner: str, id: str | None = None) -> list[Answer]:
        """Return an owner's answers that have not ended, the soonest to end first; with `id` that one."""

    def move(self, owner: str, into: str) -> None:
        """Make an owner's answers another's. Where that one has an answer of the same id, it stays theirs."""

    def forget(self, owner: str) -> int:
        """Erase an owner's answers; return how many there were."""

    def expire(self) -> None:
        """Erase what has ended."""


def answers_of(connection: Connection) -> Answers:
    """Return the answers beside a store."""
    return OnServer(connection) if connection.path is None else InFolder(connection, connection.path / FILE)


class InFolder:
    """Answers in a file of SQLite. What is erased is overwritten with zeros, in the file and in its own journal."""

    def __init__(self, connection: Connection, path: Path) -> None:
        self._connection, self._path = connection, path

    def keep(self, answers: Sequence[Answer]) -> None:
        with self._opened("written", make=True) as database:
            database.executemany("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", answers)

    def of(self, owner: str, id: str | None = None) -> list[Answer]:
        one = " AND id = ?" if id is not None else ""
        query = f"SELECT * FROM answers WHERE owner = ? AND until > ?{one} ORDER BY until"
        with self._opened("read") as database:
            values = (owner, time.time(), *([id] if id is not None else ()))
            return [] if database is None else [Answer(*row) for row in database.execute(query, values)]

    def move(self, owner: str, into: str) -> None:
        with self._opened("written") as database:
            if database is not None:
                database.execute("UPDATE OR IGNORE answers SET owner = ? WHERE owner = ?", (into, owner))
                database.execute("DELETE FROM answers WHERE owner = ?", (owner,))

    def forget(self, owner: str) -> int:
        return self._delete("owner = ?", owner)

    def expire(self) -> None:
        self._delete("until <= ?", time.time())

    def _delete(self, which: str, value: Any) -> int:
        with self._opened("erased") as database:
            return 0 if database is None else database.execute(f"DELETE FROM answers WHERE {which}", (value,)).rowcount

    @contextmanager
    def _opened(self, verb: str, *, make: bool = False) -> Iterator[Any]:
        """The database, in one transaction; None where there is none and none is to be made."""
        with self._connection.reporting(verb):
            if not make and not self._path.exists():
                yield None
                return
            with closing(sqlite3.connect(self._path, timeout=30.0)) as database:
                database.execute("PRAGMA secure_delete = ON")
                database.execute("PRAGMA journal_mode = TRUNCATE")
                database.execute("PRAGMA synchronous = FULL")
                with database:
                    columns = "owner TEXT, id TEXT, prompt TEXT, response TEXT, until REAL, PRIMARY KEY (owner, id)"
                    database.execute(f"CREATE TABLE IF NOT EXISTS answers ({columns})")
                    database.execute("CREATE INDEX IF NOT EXISTS ends ON answers (until)")
                    yield database


class OnServer:
    """Answers in a collection of a Chroma server, where every process that uses it finds them."""

    def __init__(self, connection: Connection) -> None:
        self._call, self._connection = connection.call, connection
        self._collection: Any = None

    def keep(self, answers: Sequence[Answer]) -> None:
        collection = self._opened(make=True)
        for start in range(0, len(answers), BATCH):
            rows = answers[start : start + BATCH]
            ids = [row_id(answer.owner, "answer", answer.id) for answer in rows]
            metadatas = [answer._asdict() for answer in rows]
            self._call("written", collection.upsert, ids=ids, metadatas=metadatas, embeddings=[[0.0]] * len(rows))

    def of(self, owner: str, id: str | None = None) -> list[Answer]:
        which: dict[str, Any] = {"where": {"owner": owner}} if id is None else {"ids": [row_id(owner, "answer", id)]}
        now = time.time()
        found = (Answer(**row) for row in self._rows(**which))
        return sorted((answer for answer in found if answer.until > now), key=lambda answer: answer.until)

    def move(self, owner: str, into: str) -> None:
        theirs = {answer.id for answer in self.of(into)}
        moved = [answer._replace(owner=into) for answer in self.of(owner) if answer.id not in theirs]
        if moved:
            self.keep(moved)
        self.forget(owner)

    def forget(self, owner: str) -> int:
        count = len(self._rows(where={"owner": owner}))
        if count:
            self._call("erased", self._opened().delete, where={"owner": owner})
        return count

    def expire(self) -> None:
        if (collection := self._opened()) is not None:
            self._call("erased", collection.delete, where={"until": {"$lte": time.time()}})

    def _rows(self, **which: Any) -> list[dict[str, Any]]:
        collection = self._opened()
        if collection is None:
            return []
        found: list[dict[str, Any]] = self._call("read", collection.get, **which, include=["metadatas"])["metadatas"]
        return found

    def _opened(self, *, make: bool = False) -> Any:
        """The collection; None where there is none and none is to be made."""
        from chromadb.errors import NotFoundError

        if self._collection is None:
            client = self._connection.client
            open_it: Callable[..., Any] = client.get_or_create_collection if make else client.get_collection
            try:
                self._collection = self._call("opened", open_it, COLLECTION, embedding_function=None)
            except NotFoundError:
                return None
        return self._collection
