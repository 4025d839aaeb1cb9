"""Chroma's collections by name, in a folder or on a server. What they hold is the business of `store`.

A vector is always the embedding of a text in its row, so an index that is lost or torn is made anew from the rows.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, TypeVar
from urllib.parse import urlsplit

import numpy as np

from pad_memory.embedding import Embedder, embed, embed_wishes
from pad_memory.errors import EmbedderError, StoreError, StoreLockedError
from pad_memory.store import index_files as files

__all__ = ["BATCH", "Collections", "Row", "text_of"]

BATCH = 2000  # rows a call; Chroma takes 5,461 at most
LAYOUT = {
    "hnsw:space": "l2",
    "hnsw:sync_threshold": 100,
    "hnsw:batch_size": 50,
    "hnsw:construction_ef": 16,  # rows are read by id alone; links cost time at each write and nobody follows them
    "hnsw:M": 8,
}
PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)  # seconds before each new try, where a server does not answer

Row = tuple[str, dict[str, Any], np.ndarray | None]  # (id, metadata, embedding [E]; None: a row without a vector)
T = TypeVar("T")
logger = logging.getLogger(__name__)


class Collections:
    """The collections of one folder or server. Not thread-safe.

    Args:
        path: a folder; None: a private temporary folder that is deleted by `close`.
        url: a Chroma server instead. Where it does not answer, each call is tried again for about 3 seconds.
        embedder: makes vectors anew where they are lost.

    Raises:
        StoreLockedError: somebody else has the folder open.
        StoreError: the path is not a writable folder, or the server does not answer.
    """

    _erased: ClassVar[bool] = False  # by this process, whose heap may still hold it

    def __init__(self, path: str | Path | None, url: str | None, embedder: Embedder) -> None:
        self._url = url
        self._embedder = embedder
        self._temporary = tempfile.TemporaryDirectory(prefix="pad-memory-") if path is None and url is None else None
        self.path = None if url else Path(self._temporary.name if self._temporary else str(path)).absolute()
        self._client: Any = None
        self._known: dict[str, Any] = {}
        self._lock = self._take_lock()
        try:
            self._recover()
        except BaseException:
            self.close()
            raise

    @property
    def where(self) -> str:
        """The folder or the server's address, for messages."""
        return self._url or str(self.path)

    @property
    def temporary(self) -> bool:
        """Whether the folder is deleted by `close`."""
        return self._temporary is not None

    def names(self) -> list[str]:
        """Return the names of the collections there are, sorted."""
        return sorted(collection.name for collection in self.call("read", self._client.list_collections))

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
            collection = self.call("opened", self._client.get_or_create_collection, name, **options)
        else:
            collection = self.call("opened", self._client.get_collection, name, embedding_function=None)
        if self.path is not None:
            with self.writing():  # Chroma writes files at the first touch
                if not _readable(collection):
                    self.renew([name])
                    collection = self.call("opened", self._client.get_collection, name, embedding_function=None)
        self._known[name] = collection
        return collection

    def upsert(self, name: str, rows: Sequence[Row], embedding_size: int) -> None:
        """Add rows, or replace those whose id is there."""
        collection, zero_E = self.open(name), np.zeros(embedding_size, np.float32)
        ids = [id for id, _, _ in rows]
        vectors_NE = np.stack([zero_E if vector_E is None else vector_E for _, _, vector_E in rows]).astype(np.float32)
        metadatas = [metadata for _, metadata, _ in rows]
        with self.writing():
            self.call("written", collection.upsert, ids=ids, metadatas=metadatas, embeddings=vectors_NE)

    def delete(self, name: str, ids: Sequence[str]) -> None:
        """Remove rows. Their bytes stay in free pages until `erase`."""
        collection = self.open(name)
        for start in range(0, len(ids), BATCH):
            with self.writing():
                self.call("written", collection.delete, ids=list(ids[start : start + BATCH]))

    def vectors(self, name: str, ids: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the embeddings of rows, id → float32 [E]; ids that are not there are missing."""
        if not ids:
            return {}
        try:
            found = self.call("read", self.open(name).get, ids=list(ids), include=["embeddings"])
        except StoreError:
            if self.path is None:
                raise
            logger.warning("Vectors in %s of %s cannot be read; making them anew.", name, self.where)
            self.renew([name])
            found = self.call("read", self.open(name).get, ids=list(ids), include=["embeddings"])
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
        assert self.path is not None
        mark = self.path / files.ERASING
        if not ids and not mark.exists():  # with the mark, the last try failed half-way
            return
        with self.reporting("rewritten"):
            mark.write_text(json.dumps([name, shared]))
            self.delete(name, ids)
            Collections._erased = True
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
        assert self.path is not None
        with self.reporting("repaired"), self.writing():
            if erased_beside:  # the log's last entry has to stay: Chroma counts on from there
                other = self.open(erased_beside)
                row = other.get(limit=1, include=["embeddings"])
                other.upsert(ids=row["ids"], embeddings=row["embeddings"])
            self.disconnect()
            try:
                files.drop_indexes(self.path, names)
                if erased_beside:
                    files.scrub(self.path, names)
            finally:
                self.connect()
            return sum(self._refill(name, known or {}) for name in sorted(names))

    def unreadable(self, name: str) -> bool:
        """Whether any vector of a collection is missing or is not a number."""
        try:
            found = self._client.get_collection(name, embedding_function=None).get(include=["metadatas", "embeddings"])
        except Exception:
            logger.warning("The vectors in %s of %s cannot be read.", name, self.where, exc_info=True)
            return True
        rows = zip(found["metadatas"], found["embeddings"], strict=True)
        return not all(np.isfinite(vector_E).all() and (vector_E.any() or not text_of(row)) for row, vector_E in rows)

    def _refill(self, name: str, known: Mapping[str, np.ndarray]) -> int:
        """Give the rows of a collection without an index their vectors again; return how many were embedded."""
        collection = self._client.get_collection(name, embedding_function=None)
        rows = collection.get(include=["metadatas"])
        texts = {id: text_of(row) for id, row in zip(rows["ids"], rows["metadatas"], strict=True)}
        missing = {id: text for id, text in texts.items() if text and id not in known}
        made = dict(zip(missing, embed_wishes(self._embedder, list(missing.values())), strict=True)) if missing else {}
        vectors = {**known, **made}
        size = next((len(vector_E) for vector_E in vectors.values()), 0) or embed(self._embedder, ["size"]).shape[1]
        for start in range(0, len(texts), BATCH):
            ids = list(texts)[start : start + BATCH]
            vectors_NE = np.stack([vectors.get(id, np.zeros(size)) for id in ids]).astype(np.float32)
            collection.upsert(ids=ids, embeddings=vectors_NE)  # the metadata stays
        return len(made)

    def _recover(self) -> None:
        """Connect, and finish what a process that died left half-done."""
        damaged: set[str] = set()
        erasing = None
        if self.path is not None and (self.path / files.DATABASE).exists():
            with self.reporting("repaired"):
                damaged = files.torn(self.path)
                files.drop_indexes(self.path, damaged)  # before anything can load them
                if (self.path / files.ERASING).exists():
                    erasing = json.loads((self.path / files.ERASING).read_text() or "null")
        self.connect()
        if self.path is None:
            return
        with self.reporting("repaired"):
            if damaged:
                logger.warning(
                    "Index files in %s are torn; making the vectors of %s anew.", self.where, sorted(damaged)
                )
            for name in sorted(damaged):
                self._refill(name, {})
            (self.path / files.WRITING).unlink(missing_ok=True)
            if erasing:
                Collections._erased = True
                self.renew([erasing[0]], erased_beside=erasing[1])
            (self.path / files.ERASING).unlink(missing_ok=True)

    # --- opening and closing ---

    def close(self) -> None:
        """Close the store and release its lock. More calls do nothing."""
        self.disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._temporary is not None:
            self._temporary.cleanup()

    def connect(self) -> None:
        """Open Chroma, after `disconnect`."""
        import chromadb
        from chromadb.config import Settings

        settings = Settings(anonymized_telemetry=False)
        if self._url is None:
            self._client = self.call("opened", chromadb.PersistentClient, str(self.path), settings=settings)
            return
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoreError(f"url has to look like 'http://host:8000', but is {self._url!r}.")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 8000)
        self._client = self.call("opened", chromadb.HttpClient, parts.hostname, port, ssl=secure, settings=settings)

    def disconnect(self) -> None:
        """Close Chroma, but keep the lock."""
        self._known = {}
        client, self._client = self._client, None
        if client is not None:
            client.close()
            if self.path is not None and self._temporary is None:
                files.blank_unused(self.path)

    def _take_lock(self) -> Any:
        if self.path is None:
            return None
        from filelock import FileLock, Timeout

        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self.path / "pad-memory.lock", timeout=0)
            lock.acquire()
        except Timeout:
            raise StoreLockedError(
                f"The memory in {str(self.path)!r} is already open, in this process or another. Two writers "
                "would corrupt it. Close the other one, share one PreferenceMemory, or use a Chroma server with url=."
            ) from None
        except OSError as error:
            raise StoreError(
                f"The memory cannot be kept in {str(self.path)!r}: {error}. Pass a folder you can write to."
            ) from error
        return lock

    # --- calling Chroma ---

    def call(self, verb: str, function: Callable[..., T], *args: Any, **options: Any) -> T:
        """Call Chroma. A server that cannot answer now is asked again, for all our calls may be repeated.

        Raises:
            StoreError: whatever Chroma raised, except its NotFoundError.
        """
        for pause in PAUSES if self._url else ():
            try:
                return function(*args, **options)
            except Exception as error:
                if not _passing(error):
                    break
                logger.info("The Chroma server %s cannot answer; trying again in %.1f s.", self._url, pause)
                time.sleep(pause)
        with self.reporting(verb):
            return function(*args, **options)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around whatever may change index files."""
        with files.writing(self.path, blank=Collections._erased):
            yield

    @contextmanager
    def reporting(self, verb: str) -> Iterator[None]:
        """Turn whatever Chroma raises into a StoreError that names the store."""
        from chromadb.errors import NotFoundError

        try:
            yield
        except (StoreError, EmbedderError, NotFoundError):
            raise
        except BaseException as error:
            # Chroma's core panics where it runs out of files or waits too long for its database.
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise StoreError(
                f"The store in {self.where!r} could not be {verb}: {type(error).__name__}: {error}. Check that "
                f"{'the Chroma server runs' if self._url else 'the disk is not full and the folder is writable'}."
            ) from error


def text_of(row: Mapping[str, Any]) -> str | None:
    """The text a row's vector is the embedding of; None: it has none, and its vector is zero."""
    text: str | None = json.loads(row["item"])["text"] if "item" in row else row.get("text")
    return text


def _readable(collection: Any) -> bool:
    try:
        collection.get(limit=1, include=["embeddings"])  # makes Chroma load the index, or set up its files
    except Exception:
        logger.warning("The vectors in %s cannot be read; making them anew.", collection.name, exc_info=True)
        return False
    return True


def _passing(error: BaseException | None) -> bool:
    """Whether a connection failed, was refused or broke off, or an index is read that another client's first rows are
    just making."""
    from httpx import TransportError

    if "Nothing found on disk" in str(error):
        return True
    while error is not None and not isinstance(error, TransportError):
        error = error.__cause__ or error.__context__
    return error is not None
