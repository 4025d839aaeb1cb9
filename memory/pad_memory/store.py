"""Rows in Chroma: 64 hashed shards, append-only events, and the vectors that steer. Nothing is inferred here.

A shard is a collection. Its rows are events (JSON in the metadata, a zero vector: they are read by owner, never
searched) and the user's own wordings (their text with the sentence embedding that steers). One small collection more,
shared by all, holds the schema version, the embedder's name and the vectors of the catalogue's texts.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np

from pad_memory.errors import EmbedderError, StoreError, StoreLockedError, StoreVersionError

__all__ = ["Row", "Store"]

SCHEMA_VERSION = 1
SHARDS = 64
BATCH = 2000  # rows a call; Chroma takes 5,461 at most
SHARED = "pad-memory"
ERASING = "erasing"  # a file that is there while an erasure is under way
NEXT = ".next"  # a shard being rebuilt without one user's rows
DATABASE = "chroma.sqlite3"

Row = tuple[str, dict[str, Any], np.ndarray | None]  # (id, metadata, embedding [E]; None: a row without a vector)


def row_id(owner: str, kind: str, name: str) -> str:
    """A row's id: fixed-size and safe whatever the user called themselves or the event."""
    return hashlib.sha256(json.dumps([owner, kind, name]).encode()).hexdigest()


class Store:
    """One open Chroma store. Not thread-safe: `PreferenceMemory` serialises the calls.

    Args:
        path: a folder; None: a private temporary folder that is deleted by `close`.
        url: a Chroma server instead, "http://host:8000".
        embedder: name of the sentence embedder; a store made with another one is refused.

    Raises:
        StoreLockedError: another `PreferenceMemory`, here or in another process, has the folder open.
        StoreVersionError: written by a newer version.
        StoreError: the path is not a writable folder, or the server does not answer.
        EmbedderError: the store was made with another embedder.
    """

    _erased: ClassVar[bool] = False

    def __init__(self, path: str | Path | None, url: str | None, embedder: str) -> None:
        self._url = url
        self._temporary = tempfile.TemporaryDirectory(prefix="pad-memory-") if path is None and url is None else None
        self._path = None if url else Path(self._temporary.name if self._temporary else str(path)).absolute()
        self._lock = self._take_lock()
        self._client: Any = None
        self._shards: dict[int, Any] = {}
        self._embedding_size = 0
        try:
            if self._path is not None and (self._path / ERASING).exists() and (self._path / DATABASE).exists():
                with self._reporting("cleaned"):
                    _scrub(self._path)
            self._connect()
            self._shared = self._open_shared(embedder)
            self._finish_rebuilds()
        except BaseException:
            self.close()
            raise

    # --- rows ---

    def read(self, owner: str, kind: str) -> list[dict[str, Any]]:
        """Return the metadata of an owner's rows of one kind, in no order."""
        shard = self._shard(owner, create=False)
        if shard is None:
            return []
        with self._reporting("read"):
            where = {"$and": [{"owner": owner}, {"kind": kind}]}
            metadatas: list[dict[str, Any]] = shard.get(where=where, include=["metadatas"])["metadatas"]
        return metadatas

    def write(self, owner: str, rows: Sequence[Row]) -> None:
        """Add an owner's rows, or replace those whose id is there; each batch of 2,000 whole or not at all."""
        shard = self._shard(owner, create=True)
        with self._reporting("written"):
            for start in range(0, len(rows), BATCH):
                _upsert(shard, rows[start : start + BATCH], self.embedding_size)

    def get(self, owner: str, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return the metadata of an owner's rows, by id; ids that are not there are missing."""
        shard = self._shard(owner, create=False)
        if shard is None or not ids:
            return {}
        with self._reporting("read"):
            found = shard.get(ids=list(ids), include=["metadatas"])
        return dict(zip(found["ids"], found["metadatas"], strict=True))

    def delete(self, owner: str, ids: Sequence[str]) -> None:
        """Remove some of an owner's rows. Their bytes stay in free pages until `erase`."""
        shard = self._shard(owner, create=False)
        if shard is not None and ids:
            with self._reporting("written"):
                shard.delete(ids=list(ids))

    def vectors(self, owner: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the stored embeddings of an owner's rows, id → float32 [E]; ids that are not there are missing."""
        shard = self._shard(owner, create=False)
        return {} if shard is None else self._vectors(shard, ids)

    def catalogue_vectors(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the stored embeddings of catalogue texts, text → float32 [E]; texts not yet stored are missing."""
        found = self._vectors(self._shared, [_text_id(text) for text in texts])
        return {text: found[_text_id(text)] for text in texts if _text_id(text) in found}

    def add_catalogue_vectors(self, texts: Sequence[str], vectors_NE: np.ndarray) -> None:
        """Store embeddings of catalogue texts, which belong to no user."""
        rows = [(_text_id(text), {"text": text}, vector_E) for text, vector_E in zip(texts, vectors_NE, strict=True)]
        with self._reporting("written"):
            _upsert(self._shared, rows, vectors_NE.shape[1])

    @property
    def embedding_size(self) -> int:
        """E, known once a catalogue text is stored; 0 before."""
        if not self._embedding_size:
            with self._reporting("read"):
                peek = self._shared.get(limit=1, include=["embeddings"])["embeddings"]
            self._embedding_size = len(peek[0]) if len(peek) else 0
        return self._embedding_size

    def users(self, tenant: str) -> list[str]:
        """Return the user ids of a tenant, sorted."""
        found: set[str] = set()
        with self._reporting("read"):
            for shard in self._all_shards():
                where = {"$and": [{"tenant": tenant}, {"kind": {"$in": ["event", "item"]}}]}
                found.update(row["user"] for row in shard.get(where=where, include=["metadatas"])["metadatas"])
        return sorted(found)

    # --- forgetting ---

    def erase(self, owner: str) -> int:
        """Remove all rows of an owner so that no byte of them stays in a file; return how many there were.

        Deleting in place leaves text in free pages and vectors in the index. So the others' rows move to a fresh
        collection, the old one is dropped with its files, and the database is vacuumed. A crash before the swap leaves
        everything as it was; after it, the next opening cleans up. On a server, which others use at the same time, the
        rows are only deleted, and its operator vacuums (`chroma vacuum`).
        """
        shard = self._shard(owner, create=False)
        if shard is None:
            return 0
        with self._reporting("rewritten"):
            count = len(shard.get(where={"owner": owner}, include=[])["ids"])
            if count and self._path is None:
                shard.delete(where={"owner": owner})
            elif count and self._path is not None:
                (self._path / ERASING).touch()
                self._rebuild(shard, owner)
        if count and self._path:
            self._disconnect()
            try:
                _scrub(self._path)
            finally:
                self._connect()
                self._shared = self._client.get_collection(SHARED, embedding_function=None)
            Store._erased = True
            with self._reporting("cleaned"):
                self._all_shards()
        return count

    def _rebuild(self, shard: Any, owner: str) -> None:
        fresh = self._collection(shard.name + NEXT)
        size = self.embedding_size
        keep = shard.get(where={"owner": {"$ne": owner}}, include=[])["ids"]
        for start in range(0, len(keep), BATCH):
            rows = shard.get(ids=keep[start : start + BATCH], include=["metadatas", "embeddings"])
            _upsert(fresh, list(zip(rows["ids"], rows["metadatas"], rows["embeddings"], strict=True)), size)
        name = shard.name
        self._client.delete_collection(name)
        self._shards.pop(_shard_of(owner), None)
        if keep:
            fresh.modify(name=name)
        else:
            self._client.delete_collection(fresh.name)

    def _finish_rebuilds(self) -> None:
        """After a crash amid `erase`: a copy whose original is gone takes its name, any other copy is dropped."""
        if self._url:  # another process may be amid one
            return
        with self._reporting("opened"):
            names = {collection.name for collection in self._client.list_collections()}
            for name in sorted(name for name in names if name.endswith(NEXT)):
                original = name.removesuffix(NEXT)
                if original in names:
                    self._client.delete_collection(name)
                else:
                    self._client.get_collection(name, embedding_function=None).modify(name=original)

    # --- opening and closing ---

    def close(self) -> None:
        """Close the store and release its lock. More calls do nothing."""
        self._disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._temporary is not None:
            self._temporary.cleanup()

    def _take_lock(self) -> Any:
        if self._path is None:
            return None
        from filelock import FileLock, Timeout

        try:
            self._path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self._path / "pad-memory.lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise StoreLockedError(
                f"The memory in {str(self._path)!r} is already open, in this process or another. Two writers "
                "would corrupt it. Close the other one, share one PreferenceMemory, or use a Chroma server with url=."
            ) from None
        except OSError as error:
            raise StoreError(
                f"The memory cannot be kept in {str(self._path)!r}: {error}. Pass a folder you can write to."
            ) from error
        return lock

    def _connect(self) -> None:
        import chromadb
        from chromadb.config import Settings

        settings = Settings(anonymized_telemetry=False)
        with self._reporting("opened"):
            if self._url is None:
                self._client = chromadb.PersistentClient(str(self._path), settings=settings)
                return
            parts = urlsplit(self._url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise StoreError(f"url has to look like 'http://host:8000', but is {self._url!r}.")
            port = parts.port or (443 if parts.scheme == "https" else 8000)
            self._client = chromadb.HttpClient(parts.hostname, port, ssl=parts.scheme == "https", settings=settings)

    def _disconnect(self) -> None:
        self._shards = {}
        self._shared = None
        client, self._client = self._client, None
        if client is not None:
            client.close()
            if self._path is not None and self._temporary is None:
                _blank_unused(self._path)

    def _open_shared(self, embedder: str) -> Any:
        with self._reporting("opened"):
            shared = self._collection(SHARED, schema_version=SCHEMA_VERSION, embedder=embedder)
            found = shared.metadata or {}
        version = found.get("schema_version")
        if not isinstance(version, int) or version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"The store in {self._where!r} has schema version {version!r}, written by a newer version; this one "
                f"reads up to {SCHEMA_VERSION}. Upgrade pad-langchain."
            )
        if found.get("embedder") != embedder:
            raise EmbedderError(
                f"The store in {self._where!r} holds embeddings of {found.get('embedder')!r}, but the embedder is "
                f"{embedder!r}. Open it with the same one, or export it and import it into a new store."
            )
        return shared

    @property
    def _where(self) -> str:
        return self._url or str(self._path)

    def _collection(self, name: str, **metadata: Any) -> Any:
        # Chroma ignores the metadata where the collection is already there, so what comes back is what is stored.
        return self._client.get_or_create_collection(
            name,
            embedding_function=None,
            metadata={"hnsw:space": "l2", "hnsw:sync_threshold": 100, "hnsw:batch_size": 50, **metadata},
        )

    def _shard(self, owner: str, *, create: bool) -> Any:
        from chromadb.errors import NotFoundError

        number = _shard_of(owner)
        if number not in self._shards:
            name = f"pad-memory-{number:02d}"
            with self._reporting("opened"):
                if create:
                    self._shards[number] = self._collection(name)
                else:
                    try:
                        self._shards[number] = self._client.get_collection(name, embedding_function=None)
                    except NotFoundError:
                        return None
                self._clean(self._shards[number])
        return self._shards[number]

    def _all_shards(self) -> list[Any]:
        names = [collection.name for collection in self._client.list_collections()]
        names = [name for name in names if name.startswith(f"{SHARED}-") and not name.endswith(NEXT)]
        shards = [self._client.get_collection(name, embedding_function=None) for name in sorted(names)]
        self._clean(*shards)
        return shards

    def _clean(self, *shards: Any) -> None:
        """Once this process has erased something, keep what its heap still holds of it out of new index files."""
        if Store._erased and self._path:
            for shard in shards:
                shard.get(limit=1, include=["embeddings"])  # makes Chroma set up the files now
            _blank_unused(self._path)

    def _vectors(self, collection: Any, ids: Sequence[str]) -> dict[str, np.ndarray]:
        if not ids:
            return {}
        with self._reporting("read"):
            found = collection.get(ids=list(ids), include=["embeddings"])
        vectors_NE = np.asarray(found["embeddings"], dtype=np.float32)
        return dict(zip(found["ids"], vectors_NE, strict=True))

    @contextmanager
    def _reporting(self, verb: str) -> Iterator[None]:
        """Turn whatever Chroma raises into a StoreError that names the store."""
        try:
            yield
        except (StoreError, EmbedderError):
            raise
        except Exception as error:
            raise StoreError(
                f"The store in {self._where!r} could not be {verb}: {type(error).__name__}: {error}. Check that "
                f"{'the Chroma server runs' if self._url else 'the disk is not full and the folder is writable'}."
            ) from error


def _upsert(collection: Any, rows: Sequence[Row], embedding_size: int) -> None:
    zero_E = np.zeros(embedding_size, np.float32)
    collection.upsert(
        ids=[id for id, _, _ in rows],
        metadatas=[metadata for _, metadata, _ in rows],
        embeddings=np.stack([zero_E if vector_E is None else vector_E for _, _, vector_E in rows]).astype(np.float32),
    )


def _shard_of(owner: str) -> int:
    return int(owner[:8], 16) % SHARDS


def _text_id(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _scrub(folder: Path) -> None:
    """Delete index files of dropped collections and rewrite the database without its free pages, while it is closed."""
    database = sqlite3.connect(folder / DATABASE, timeout=30.0, isolation_level=None)
    try:
        segments = {row[0] for row in database.execute("SELECT id FROM segments")}
        for entry in folder.iterdir():
            if entry.is_dir() and entry.name not in segments:
                shutil.rmtree(entry)
        database.execute("VACUUM")
        with suppress(sqlite3.OperationalError):  # only where a write-ahead log is in use
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        database.close()
    (folder / ERASING).unlink(missing_ok=True)


def _blank_unused(folder: Path) -> None:
    """Zero what Chroma's index files hold beyond their elements.

    Chroma writes index files with the capacity it allocated, so they start out with whatever the process's heap held:
    pieces of anybody's text. It does not read these bytes, and writes elements later where they belong.
    """
    for header in folder.glob("*/header.bin"):
        _version, _offset, _capacity, elements, size = struct.unpack_from("<iQQQQ", header.read_bytes())
        used = elements * size
        data = header.with_name("data_level0.bin")
        if used > data.stat().st_size:
            raise StoreError(
                f"{str(header)!r} says {elements} elements of {size} bytes, more than {data.name} holds: a format this "
                "version does not know. Use chromadb 1.5."
            )
        _zero(data, used)
        _zero(header.with_name("length.bin"), 0)  # norms, which only the cosine space has


def _zero(path: Path, start: int) -> None:
    with path.open("r+b") as stream:
        stream.seek(0, 2)
        rest = stream.tell() - start
        stream.seek(start)
        stream.write(bytes(max(rest, 0)))
