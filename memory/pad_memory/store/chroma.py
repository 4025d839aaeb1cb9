"""Chroma's collections by name, in a folder or on a server. What they hold is the business of `store`.

A vector is always the embedding of a text in its row, so an index that is lost or torn is made anew from the rows:
of a wish turned round where it turns something away, of an item as it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from pad_memory.embedding import Embedder, embed
from pad_memory.errors import StoreError
from pad_memory.language import embed_wishes
from pad_memory.store import index_files as files
from pad_memory.store.connection import Connection
from pad_memory.store.rows import StoredRow, text_of

__all__ = ["BATCH", "LAYOUT", "Collections", "made_anew"]

BATCH = 2000  # rows per call; Chroma takes 5,461 at most
LAYOUT = {
    "hnsw:space": "l2",
    "hnsw:sync_threshold": 100,
    "hnsw:batch_size": 50,
    "hnsw:construction_ef": 16,  # rows are read by id alone; links cost time at each write and nobody follows them
    "hnsw:M": 8,
}

logger = logging.getLogger(__name__)


class Collections:
    """The collections of one connection, which it opens. Not thread-safe.

    Args:
        connection: to a folder or a server, not yet connected.
        embedder: makes vectors anew where they are lost.

    Raises:
        StoreError: Chroma cannot be opened.
    """

    def __init__(self, connection: Connection, embedder: Embedder) -> None:
        self._connection, self._call, self._path = connection, connection.call, connection.path
        self._embedder = embedder
        self._known: dict[str, Any] = {}
        self._recover()

    def names(self) -> list[str]:
        """Return the names of the collections there are, sorted."""
        return sorted(collection.name for collection in self._call("read", self._connection.client.list_collections))

    def open(self, name: str, *, create: bool = True, **metadata: Any) -> Any:
        """Return a collection; where its index cannot be read, that is made anew.

        Args:
            name: of the collection.
            create: make it where there is none.
            metadata: of a new one.

        Raises:
            NotFoundError: Chroma's; there is none and none is to be created.
            StoreError: it cannot be opened.
        """
        if name in self._known:
            return self._known[name]
        if create:  # where it is already there, Chroma ignores the metadata
            options = {"metadata": {**LAYOUT, **metadata}, "embedding_function": None}
            collection = self._call("opened", self._connection.client.get_or_create_collection, name, **options)
        else:
            collection = self._call("opened", self._connection.client.get_collection, name, embedding_function=None)
        if self._path is not None:
            with files.writing(self._path):  # Chroma writes files at the first touch
                if not _readable(collection):
                    self.renew([name])
                    collection = self._call(
                        "opened", self._connection.client.get_collection, name, embedding_function=None
                    )
        self._known[name] = collection
        return collection

    def upsert(self, name: str, rows: Sequence[StoredRow], embedding_size: int) -> None:
        """Add rows, or replace those whose id is there."""
        collection, zero_E = self.open(name), np.zeros(embedding_size, np.float32)
        ids, metadatas = [row.id for row in rows], [row.metadata for row in rows]
        vectors_NE = np.stack([zero_E if row.vector_E is None else row.vector_E for row in rows]).astype(np.float32)
        with files.writing(self._path):
            self._call("written", collection.upsert, ids=ids, metadatas=metadatas, embeddings=vectors_NE)

    def add(self, name: str, row: StoredRow, embedding_size: int) -> None:
        """Add a row, unless its id is there."""
        vector_E = np.zeros(embedding_size, np.float32) if row.vector_E is None else row.vector_E
        with files.writing(self._path):
            self._call("written", self.open(name).add, ids=row.id, metadatas=row.metadata, embeddings=[vector_E])

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Remove rows. Their bytes stay in free pages until `erase`."""
        collection = self.open(name)
        for start in range(0, len(ids), BATCH):
            with files.writing(self._path):
                self._call("written", collection.delete, ids=list(ids[start : start + BATCH]))

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the embeddings of rows, id → float32 [E]; ids that are not there are missing."""
        if not ids:
            return {}
        try:
            found = self._connection.get(self.open(name), ids=list(ids), include=["embeddings"])
        except StoreError:
            if self._path is None:
                raise
            logger.warning("Vectors in %s of %s cannot be read; making them anew.", name, self._connection.where)
            self.renew([name])
            found = self._connection.get(self.open(name), ids=list(ids), include=["embeddings"])
        vectors_NE = np.asarray(found["embeddings"], dtype=np.float32)
        return dict(zip(found["ids"], vectors_NE, strict=True))

    # --- index files ---

    def erase(self, name: str, ids: Sequence[str], shared: str) -> None:
        """Remove rows of a folder's collection so that no byte of them stays in a file.

        Deleting leaves text in the log and in free pages, and vectors in the index. So the index is made anew with the
        others' vectors, and the database is rewritten. A crash before the rows are deleted leaves everything as it
        was; after it, the next opening finishes the work.

        Args:
            name: the collection.
            ids: its rows that have to go.
            shared: another collection, whose rows may stay in the log.
        """
        assert self._path is not None  # a server has no index files of ours
        mark = self._path / files.ERASING
        if not ids and not mark.exists():  # with the mark, the last try failed half-way
            return
        with self._connection.reporting("rewritten"):
            mark.write_text(json.dumps([name, shared]), encoding="utf-8")
            self.delete(name, ids)
            files.note_erasure()
            rows = self.open(name).get(include=["metadatas"])
            texts = [id for id, row in zip(rows["ids"], rows["metadatas"], strict=True) if text_of(row)]
            self.renew([name], self.vectors(name, texts), erased_beside=shared)
            mark.unlink()

    def renew(
        self, names: Collection[str], known: Mapping[str, np.ndarray] | None = None, erased_beside: str | None = None
    ) -> int:
        """Make the indexes of a folder's collections anew; return how many texts had to be embedded.

        Args:
            names: the collections.
            known: id → vector [E], where it is known.
            erased_beside: clear the files of deleted rows too; this other collection's may stay in the log.
        """
        assert self._path is not None  # a server has no index files of ours
        with self._connection.reporting("repaired"), files.writing(self._path):
            if erased_beside:  # the log's last entry has to stay: Chroma counts on from there
                other = self.open(erased_beside)
                row = other.get(limit=1, include=["embeddings"])
                other.upsert(ids=row["ids"], embeddings=row["embeddings"])
            self._disconnect()
            try:
                files.drop_indexes(self._path, names)
                if erased_beside:
                    files.scrub(self._path, names)
            finally:
                self._connection.connect()
            return sum(self._refill(name, known or {}) for name in sorted(names))

    def unreadable(self, name: str) -> bool:
        """Whether any vector of a collection is missing or is not a number."""
        try:
            found = self._connection.client.get_collection(name, embedding_function=None).get(
                include=["metadatas", "embeddings"]
            )
        except Exception:
            logger.warning("The vectors in %s of %s cannot be read.", name, self._connection.where, exc_info=True)
            return True
        rows = zip(found["metadatas"], found["embeddings"], strict=True)
        return not all(np.isfinite(vector_E).all() and (vector_E.any() or not text_of(row)) for row, vector_E in rows)

    def check(self) -> None:
        """Have SQLite look over a folder's database.

        Raises:
            StoreError: it is damaged.
        """
        assert self._path is not None  # a server has no files of ours
        self._disconnect()
        try:
            files.check(self._path)
        finally:
            self._connection.connect()

    # --- inside ---

    def _disconnect(self) -> None:
        self._known = {}
        self._connection.disconnect()

    def _refill(self, name: str, known: Mapping[str, np.ndarray]) -> int:
        """Give the rows of a collection without an index their vectors again; return how many were embedded."""
        collection = self._connection.client.get_collection(name, embedding_function=None)
        rows = collection.get(include=["metadatas"])
        texts = dict(zip(rows["ids"], rows["metadatas"], strict=True))
        made = made_anew({id: row for id, row in texts.items() if id not in known}, self._embedder)
        vectors = {**known, **made}
        size = next((len(vector_E) for vector_E in vectors.values()), 0) or embed(self._embedder, ["size"]).shape[1]
        for start in range(0, len(texts), BATCH):
            batch = list(texts)[start : start + BATCH]
            vectors_NE = np.stack([vectors.get(id, np.zeros(size)) for id in batch]).astype(np.float32)
            collection.upsert(ids=batch, embeddings=vectors_NE)  # the metadata stays
        return len(made)

    def _recover(self) -> None:
        """Connect, and finish what a process that died left half-done."""
        damaged: set[str] = set()
        erasing = None
        if self._path is not None and (self._path / files.DATABASE).exists():
            with self._connection.reporting("repaired"):
                damaged = files.torn(self._path)
                files.drop_indexes(self._path, damaged)  # before anything can load them
                if (self._path / files.ERASING).exists():
                    erasing = json.loads((self._path / files.ERASING).read_text(encoding="utf-8") or "null")
        self._connection.connect()
        if self._path is None:
            return
        with self._connection.reporting("repaired"):
            if damaged:
                logger.warning(
                    "Index files in %s are torn; making the vectors of %s anew.",
                    self._connection.where,
                    sorted(damaged),
                )
            for name in sorted(damaged):
                self._refill(name, {})
            (self._path / files.WRITING).unlink(missing_ok=True)
            if erasing:
                files.note_erasure()
                self.renew([erasing[0]], erased_beside=erasing[1])
            (self._path / files.ERASING).unlink(missing_ok=True)


def made_anew(rows: Mapping[str, Mapping[str, Any]], embedder: Embedder) -> dict[str, np.ndarray]:
    """Embed the texts of rows, by id: id → vector [E]; rows without a text are missing."""
    texts = {id: text for id, row in rows.items() if (text := text_of(row))}
    items = {id for id in texts if "item" in rows[id]}
    made: dict[str, np.ndarray] = {}
    # What "never use X" is found by is its words; only a wish is turned round by its "never".
    for embedded, ids in ((embed, texts.keys() & items), (embed_wishes, texts.keys() - items)):
        if ids:
            made.update(zip(sorted(ids), embedded(embedder, [texts[id] for id in sorted(ids)]), strict=True))
    return made


def _readable(collection: Any) -> bool:
    try:
        collection.get(limit=1, include=["embeddings"])  # makes Chroma load the index, or set up its files
    except Exception:
        logger.warning("The vectors in %s cannot be read; making them anew.", collection.name, exc_info=True)
        return False
    return True
