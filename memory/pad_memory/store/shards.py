"""Rows in Chroma: 64 hashed shards, append-only events, and the vectors that steer. Nothing is inferred here.

A shard is a collection. Its rows are events (JSON in the metadata, a zero vector: they are read by owner, never
searched), the user's own wordings (their text with the sentence embedding that steers) and items. One small collection
more, shared by all, holds the schema version, the embedder's name and the vectors of the catalogue's texts.

In a folder, rows go to a journal first and from there to their shard, many at a time. What is read is both together.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pad_memory.embedding import Embedder
from pad_memory.errors import EmbedderError, StoreError, StoreVersionError
from pad_memory.store import index_files as files
from pad_memory.store.answers import answers_of
from pad_memory.store.catalogue import CatalogueVectors
from pad_memory.store.chroma import BATCH, Collections
from pad_memory.store.connection import Connection
from pad_memory.store.journal import Journal
from pad_memory.store.rows import StoredRow, version_ids

__all__ = ["NEW", "SHARED", "RepairReport", "Store", "shard_of"]

SCHEMA_VERSION = 1
SHARDS = 64
SHARED = "pad-memory"
NEW = "new-"  # what the name of a copy with other vectors begins with
WAITING = 64  # rows of a shard that go to Chroma together

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RepairReport:
    """What `repair` found.

    Args:
        collections: how many were looked through.
        rows: how many they hold.
        rebuilt: names of those whose vectors could not all be read and were made anew.
        embedded: texts embedded for that.
    """

    collections: int
    rows: int
    rebuilt: tuple[str, ...]
    embedded: int


class Store:
    """One open Chroma store. Not thread-safe: the ledger serialises the calls.

    A write that returned survives the end of the process at any moment. After a power failure the rows are whole, but
    index files may be torn without a mark that says so. Rows that a killed process left in the journal are there for
    the next `Store`; `chroma run` on the folder would not see them, so open and close it once before.

    Args:
        path: a folder; None means a private temporary folder that is deleted by `close`.
        url: a Chroma server instead, "http://host:8000". Where it does not answer, each call is tried again for about
            3 seconds; all calls may be repeated without harm.
        embedder: makes vectors anew where they are lost; a store made with another one is refused.
        remaking: all vectors are to be made anew, so it may be another one; see `reembedding`.

    Attributes:
        catalogue: the vectors of the catalogue's texts.
        answers: those that are kept for a while. They may be used beside all other calls, from any thread.

    Raises:
        StoreLockedError: another `PreferenceMemory`, here or in another process, has the folder open.
        StoreVersionError: written by a newer version.
        StoreError: the path is not a writable folder, or the server does not answer.
        EmbedderError: the store was made with another embedder.
    """

    def __init__(self, path: str | Path | None, url: str | None, embedder: Embedder, *, remaking: bool = False) -> None:
        self._connection = Connection(path, url)
        self._journal: Journal | None = None
        try:
            self._chroma = Collections(self._connection, embedder)
            if self._connection.path is not None:
                with self._connection.reporting("opened"):
                    self._journal = Journal(self._connection.path / files.JOURNAL)
            if not remaking:
                self._check_whole(embedder.name)
            self._check_version(embedder.name, remaking=remaking)
            self.catalogue = CatalogueVectors(self._connection, self._chroma, SHARED)
            self.answers = answers_of(self._connection)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Bring what waits to Chroma, close the store and release its lock. More calls do nothing."""
        try:
            for name in () if self._connection.temporary else self._names():
                self._try_to_drain(name)
        finally:
            self._journal = None
            self._connection.close()

    @property
    def connection(self) -> Connection:
        """To Chroma."""
        return self._connection

    def collection_names(self) -> list[str]:
        """Bring what waits to Chroma, and return the names of all collections there, sorted."""
        for name in self._names():
            self._drain(name)
        return self._chroma.names()

    @property
    def shared(self) -> bool:
        """Whether there may be other writers."""
        return self._connection.path is None

    def hurried(self) -> AbstractContextManager[None]:
        """Try what a server does not answer again once only, where there is something to fall back on."""
        return self._connection.hurried()

    # --- rows ---

    def read(self, owner: str, kind: str) -> list[dict[str, Any]]:
        """Return the metadata of an owner's rows of one kind, in no order."""
        return [metadata for metadata in self.rows_of(owner).values() if metadata["kind"] == kind]

    def rows_of(self, owner: str) -> dict[str, dict[str, Any]]:
        """Return the metadata of all of an owner's rows, by id."""
        shard, rows = self._shard(owner), {}
        if shard is not None:
            # Chroma would look up a second condition among all users' rows, so the kind is left to us.
            found = self._connection.call("read", shard.get, where={"owner": owner}, include=["metadatas"])
            rows = dict(zip(found["ids"], found["metadatas"], strict=True))
        return rows | {id: row.metadata for id, row in self._waiting(owner).items()}

    def ids_of(self, owner: str) -> set[str]:
        """Return the ids of all of an owner's rows: a fraction of what their metadata takes."""
        shard, ids = self._shard(owner), list[str]()
        if shard is not None:
            ids = self._connection.call("read", shard.get, where={"owner": owner}, include=[])["ids"]
        return {*ids, *self._waiting(owner)}

    def load(self, owner: str, *, vectors: bool = False) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
        """Return the metadata of all of an owner's rows, and the embeddings of their wordings by text.

        Args:
            owner: whose.
            vectors: read the embeddings in the same go, from a folder. Where that fails, or on a server, there are
                none: `vectors` reads them, or makes them anew.
        """
        shard, rows = self._shard(owner), dict[str, tuple[dict[str, Any], np.ndarray | None]]()
        if self.shared or not vectors:
            return list(self.rows_of(owner).values()), {}
        if shard is not None:
            try:
                found = self._connection.get(shard, where={"owner": owner}, include=["metadatas", "embeddings"])
            except StoreError:
                return list(self.rows_of(owner).values()), {}
            vectors_NE = np.asarray(found["embeddings"], dtype=np.float32)
            rows = dict(zip(found["ids"], zip(found["metadatas"], vectors_NE, strict=True), strict=True))
        rows |= {id: (row.metadata, row.vector_E) for id, row in self._waiting(owner).items()}
        own = {m["text"]: v for m, v in rows.values() if m["kind"] == "wording" and v is not None}
        return [metadata for metadata, _ in rows.values()], own

    def write(self, owner: str, rows: Sequence[StoredRow]) -> None:
        """Add an owner's rows, or replace those whose id is there; all or none, on a server each batch of 2,000."""
        name = shard_of(owner)
        if self._journal is None:
            return self._upsert(name, rows)
        with self._connection.reporting("written"):
            self._journal.append(name, rows)
        if len(self._rows(name)) >= WAITING:
            self._try_to_drain(name)
        return None

    def claim(self, owner: str, row: StoredRow) -> dict[str, Any]:
        """Add a row unless its id is there, and return the metadata of the one that is. Of many writers one wins."""
        if self.shared:
            self._chroma.add(shard_of(owner), row, self.catalogue.embedding_size)
        elif not self.get(owner, [row.id]):
            self.write(owner, [row])
        return self.get(owner, [row.id])[row.id]

    def get(self, owner: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the metadata of an owner's rows, by id; ids that are not there are missing."""
        waiting = self._waiting(owner)
        found = {id: waiting[id].metadata for id in ids if id in waiting}
        shard, rest = self._shard(owner), [id for id in ids if id not in waiting]
        if shard is not None and rest:
            stored = self._connection.call("read", shard.get, ids=rest, include=["metadatas"])
            found |= dict(zip(stored["ids"], stored["metadatas"], strict=True))
        return found

    def delete(self, owner: str, ids: Sequence[str]) -> None:
        """Remove some of an owner's rows. Their bytes stay in free pages until `erase`."""
        self._drain(shard_of(owner))
        if self._shard(owner) is not None:
            self._chroma.delete(shard_of(owner), ids)

    def vectors(self, owner: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the stored embeddings of an owner's rows, id → float32 [E]; those without one are missing."""
        waiting = {id: row.vector_E for id, row in self._waiting(owner).items()}
        found = {id: vector_E for id in ids if (vector_E := waiting.get(id)) is not None}
        rest = [id for id in ids if id not in waiting]
        return found | ({} if self._shard(owner) is None else self._chroma.vectors(shard_of(owner), rest))

    def users(self, tenant: str) -> list[str]:
        """Return the user ids of a tenant, sorted."""
        rows = (row for name in self.shards() for row in self.rows_in(name, tenant).values())
        return sorted({row["user"] for row in rows if row["kind"] in ("event", "item")})

    def shards(self) -> list[str]:
        """Return the names of the shards that have rows, sorted."""
        return sorted({*self._collections(), *self._names()})

    def rows_in(self, name: str, tenant: str) -> dict[str, dict[str, Any]]:
        """Return the metadata of a tenant's rows in one shard, by id."""
        shard, rows = self._collection(name), {}
        if shard is not None:
            found = self._connection.call("read", shard.get, where={"tenant": tenant}, include=["metadatas"])
            rows = dict(zip(found["ids"], found["metadatas"], strict=True))
        return rows | {id: row.metadata for id, row in self._rows(name).items() if row.metadata["tenant"] == tenant}

    # --- forgetting and repairing ---

    def erase(self, owner: str, ids: Sequence[str] | None = None) -> int:
        """Remove rows of an owner so that no byte of them stays in a file; return how many there were.

        On a server, which others use at the same time, the rows are only deleted, and its operator vacuums
        (`chroma vacuum`).

        Args:
            owner: whose rows.
            ids: only these; None means all.
        """
        name = shard_of(owner)
        self._drain(name)
        shard = self._shard(owner)
        if shard is None:
            return 0
        found = self.ids_of(owner)
        versions = [id for id in version_ids(owner) if id in found]
        gone = sorted((set(found) if ids is None else set(found) & set(ids)) - set(versions))
        rows = [*versions, *gone]  # the version first: without it, nobody trusts the rest
        if self.shared:
            self._chroma.delete(name, rows)
        else:
            self._chroma.erase(name, rows, SHARED)
        return len(gone)

    def erase_in(self, name: str, ids: Sequence[str]) -> None:
        """Remove rows of one shard, all their owner's ones, as `erase` does: many users at the cost of one."""
        self._drain(name)
        if self.shared:
            self._chroma.delete(name, ids)
        else:
            self._chroma.erase(name, ids, SHARED)

    def repair(self) -> RepairReport:
        """Look through the database and all vectors, and make those anew that cannot be read.

        Raises:
            StoreError: the database itself is damaged, or the store is on a server, which its operator repairs.
        """
        if self.shared:
            raise StoreError(
                f"The store in {self._connection.where!r} is on a server: only its operator can repair it."
            )
        self._chroma.check()
        names = [SHARED, *self._collections()]
        damaged = [name for name in names if self._chroma.unreadable(name)]
        embedded = self._chroma.renew(damaged) if damaged else 0
        for name in self._names():
            self._drain(name)
        rows = sum(self._chroma.open(name).count() for name in names)
        return RepairReport(len(names), rows, tuple(damaged), embedded)

    # --- inside ---

    def _names(self) -> list[str]:
        """The shards that rows wait for."""
        return [] if self._journal is None else self._journal.names()

    def _rows(self, name: str) -> Mapping[str, StoredRow]:
        """The rows that wait for a shard, by id."""
        return {} if self._journal is None else self._journal.rows(name)

    def _waiting(self, owner: str) -> dict[str, StoredRow]:
        """The rows of an owner that wait for their shard, by id."""
        return {id: row for id, row in self._rows(shard_of(owner)).items() if row.metadata["owner"] == owner}

    def _drain(self, name: str) -> None:
        """Bring what waits for a shard to Chroma, and drop it from the journal; after a crash it is done again."""
        if self._journal is not None and self._rows(name):
            self._upsert(name, list(self._rows(name).values()))
            with self._connection.reporting("written"):
                self._journal.clear(name)

    def _try_to_drain(self, name: str) -> None:
        try:
            self._drain(name)
        except StoreError:
            rows = len(self._rows(name))
            logger.warning("%d rows of %s stay in the journal, which is as safe.", rows, name, exc_info=True)

    def _upsert(self, name: str, rows: Sequence[StoredRow]) -> None:
        for start in range(0, len(rows), BATCH):
            self._chroma.upsert(name, rows[start : start + BATCH], self.catalogue.embedding_size)

    def _check_whole(self, embedder: str) -> None:
        """Refuse a store whose vectors are just being made anew."""
        if any(name.startswith(NEW) for name in self._chroma.names()):
            raise self._other_embedder("is just being made anew for another embedder", embedder)

    def _other_embedder(self, why: str, embedder: str) -> EmbedderError:
        where = f"{'url' if self.shared else 'path'}={self._connection.where!r}"
        return EmbedderError(
            f"The store in {self._connection.where!r} {why}, but the embedder is {embedder!r}. Open it with the same "
            f"one, or make its vectors anew: pad_memory.reembed({where}, embedder=…), for the default one "
            f"`pad-langchain memory reembed --memory {self._connection.where}`."
        )

    def _check_version(self, embedder: str, *, remaking: bool = False) -> None:
        """Bring the store to this schema version, or refuse it."""
        where = self._connection.where
        shared = self._chroma.open(SHARED, schema_version=SCHEMA_VERSION, embedder=embedder)
        found = dict(shared.metadata or {})
        version = found.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"The store in {where!r} has schema version {version!r}, written by a newer version; this "
                f"one reads up to {SCHEMA_VERSION}. Upgrade pad-langchain."
            )
        if not remaking and (found.get("embedder") != embedder or "remaking" in found):
            partly = f" and of {found['remaking']!r}" if "remaking" in found else ""
            raise self._other_embedder(f"holds embeddings of {found.get('embedder')!r}{partly}", embedder)
        about = {key: value for key, value in found.items() if not key.startswith("hnsw:")}  # those cannot change
        for step in range(version, SCHEMA_VERSION):
            MIGRATIONS[step](self)
            self._connection.call("migrated", shared.modify, metadata={**about, "schema_version": step + 1})

    def _collections(self) -> list[str]:
        return [name for name in self._chroma.names() if name.startswith(f"{SHARED}-")]

    def _shard(self, owner: str) -> Any:
        """The collection with an owner's rows; None where there is none yet."""
        return self._collection(shard_of(owner))

    def _collection(self, name: str) -> Any:
        from chromadb.errors import NotFoundError

        try:
            return self._chroma.open(name, create=False)
        except NotFoundError:
            return None


# From a schema version to the next: version → function of the open store; after a crash it runs again.
MIGRATIONS: dict[int, Callable[[Store], None]] = {}


def shard_of(owner: str) -> str:
    """Return the name of the collection that holds an owner's rows."""
    return f"{SHARED}-{int(owner[:8], 16) % SHARDS:02d}"
