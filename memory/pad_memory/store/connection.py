"""The one connection to Chroma, in a folder that nobody else may open or on a server. It knows nothing of rows."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from pad_memory.errors import EmbedderError, StoreError, StoreForkedError, StoreLockedError
from pad_memory.forks import leave_alone, tell
from pad_memory.paths import absolute
from pad_memory.store import index_files as files

__all__ = ["Connection"]

PAUSES = (0.1, 0.2, 0.4, 0.8, 1.6)  # seconds before each new try, where a server does not answer

T = TypeVar("T")
_opened_in: set[int] = set()  # processes, this one or its parents, that opened a folder
logger = logging.getLogger(__name__)


class Connection:
    """Chroma in a folder or on a server. Made, it holds the folder's lock; `connect` opens Chroma. Not thread-safe.

    Args:
        path: a folder; None means a private temporary folder that is deleted by `close`.
        url: a Chroma server instead. Where it does not answer, each call is tried again for about 3 seconds.

    Raises:
        StoreLockedError: somebody else has the folder open.
        StoreForkedError: the process that forked this one opened a folder before.
        StoreError: the path is not a writable folder.
    """

    def __init__(self, path: str | Path | None, url: str | None) -> None:
        self._url = url
        self._pauses: Sequence[float] = PAUSES if url else ()
        self._removal: weakref.finalize[..., Connection] | None = None
        if path is None and url is None:
            path = tempfile.mkdtemp(prefix="pad-memory-")
            self._removal = weakref.finalize(self, shutil.rmtree, path, ignore_errors=True)
        self.path = None if url else absolute(str(path))
        self._client: Any = None
        self._opened: weakref.WeakSet[Any] = weakref.WeakSet()  # clients, the closed ones too while something has them
        self._lock = self._take_lock()
        tell(self)

    @property
    def where(self) -> str:
        """The folder or the server's address, for messages."""
        return self._url or str(self.path)

    @property
    def temporary(self) -> bool:
        """Whether the folder is deleted by `close`."""
        return self._removal is not None

    @property
    def client(self) -> Any:
        """Chroma's client; None while it is not connected."""
        return self._client

    # --- opening and closing ---

    def connect(self) -> None:
        """Open Chroma.

        Raises:
            StoreError: the url is none, or the server does not answer.
        """
        import chromadb
        from chromadb.config import Settings

        settings = Settings(anonymized_telemetry=False)
        if self._url is None:
            _opened_in.add(os.getpid())
            self._client = self.call("opened", chromadb.PersistentClient, str(self.path), settings=settings)
            self._opened.add(self._client)
            return
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise StoreError(f"url has to look like 'http://host:8000', but is {self._url!r}.")
        secure = parts.scheme == "https"
        port = parts.port or (443 if secure else 8000)
        self._client = self.call("opened", chromadb.HttpClient, parts.hostname, port, ssl=secure, settings=settings)

    def disconnect(self) -> None:
        """Close Chroma, but keep the lock."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
            if self.path is not None and not self.temporary:
                files.blank_unused(self.path)

    def close(self) -> None:
        """Close Chroma and release the lock. More calls do nothing."""
        self.disconnect()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._removal is not None:
            self._removal()

    def forked(self) -> None:
        """Leave Chroma, the lock and the folder to the parent. In the child they may be neither used nor released."""
        for client in list(self._opened):
            leave_alone(client)  # to end it is to wait for its threads
        if self._lock is not None:
            leave_alone(self._lock)
        if self._removal is not None:
            self._removal.detach()
        self._client = self._lock = None

    def _take_lock(self) -> Any:
        if self.path is None:
            return None
        if parents := sorted(_opened_in - {os.getpid()}):
            raise StoreForkedError(
                f"Process {parents[-1]} opened a PreferenceMemory before it forked this one, {os.getpid()}. Chroma "
                "works on with threads that are not here, so a folder cannot be opened any more. Open the first "
                "memory after the fork, start this process with multiprocessing's 'spawn', or use a Chroma server "
                "with url=."
            )
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
        for pause in self._pauses:
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
    def hurried(self) -> Iterator[None]:
        """Try calls again once only, where there is something to fall back on."""
        pauses, self._pauses = self._pauses, self._pauses[:1]
        try:
            yield
        finally:
            self._pauses = pauses

    def get(self, collection: Any, **options: Any) -> Any:
        """Read rows with their embeddings, all of them: a server may tell of a row before its vector is there."""

        def whole() -> Any:
            found = collection.get(**options)
            if len(found["embeddings"]) != len(found["ids"]):
                raise _HalfReadError(f"{len(found['ids'])} rows came with {len(found['embeddings'])} embeddings")
            return found

        return self.call("read", whole)

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


class _HalfReadError(Exception):
    """Rows came without their embeddings."""


def _passing(error: BaseException | None) -> bool:
    """Whether a connection failed, was refused or broke off, or rows are read that another client is just writing."""
    from httpx import TransportError

    if isinstance(error, _HalfReadError) or "Nothing found on disk" in str(error):
        return True
    while error is not None and not isinstance(error, TransportError):
        error = error.__cause__ or error.__context__
    return error is not None
