"""Another embedder under a store: every vector is made anew. A call that was killed is finished by the next.

Each collection is copied under another name with new vectors, then takes the place of the old one. It says which
embedder made it, so a call goes on where the last one ended. Until all is done, the store cannot be opened otherwise:
no memory ever meets vectors of two embedders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pad_memory.embedding import Embedder, default_embedder, embed
from pad_memory.errors import InvalidEventError
from pad_memory.paths import absolute
from pad_memory.store.chroma import BATCH, LAYOUT, made_anew
from pad_memory.store.shards import NEW, SHARED, Store

__all__ = ["reembed"]

Progress = Callable[[int, int], None]  # collections done, collections in all


def reembed(
    path: str | Path | None = None,
    *,
    url: str | None = None,
    embedder: Embedder | None = None,
    progress: Progress | None = None,
) -> int:
    """Make all vectors of a memory's store anew with another embedder; return how many texts were embedded.

    A call that was interrupted is finished by the next one, which may also have another embedder. With the one that the
    store has already, nothing is done. On a server nobody else may use the store meanwhile.

    Args:
        path, url: where the memory is kept: one of them.
        embedder: the new one; None means the default `SentenceEmbedder`.
        progress: called with (collections done, collections in all) after each; at most 65 times.

    Raises:
        InvalidEventError: not one of path and url.
        StoreLockedError: a `PreferenceMemory` has the folder open.
        StoreError: it failed; call it again.
        EmbedderError: the embedder is missing, or returned something else than embeddings.
    """
    if (path is None) == (url is None):
        raise InvalidEventError(f"reembed takes path or url, one of them; got {path!r} and {url!r}.")
    embedder = embedder or default_embedder()
    size = embed(embedder, ["size"]).shape[1]  # it works, before anything is touched
    store = Store(None if path is None else absolute(path), url, embedder, remaking=True)
    try:
        return _Remaking(store, embedder, size).run(progress)
    finally:
        store.close()


class _Remaking:
    """One run over the collections of a store, the shared one last."""

    def __init__(self, store: Store, embedder: Embedder, size: int) -> None:
        self._store, self._embedder, self._size = store, embedder, size
        self._call, self._client = store.connection.call, store.connection.client

    def run(self, progress: Progress | None) -> int:
        names = self._settled()
        shared = self._open(SHARED)
        about = _about(shared.metadata)
        before = about["embedder"]
        if before == self._embedder.name and "remaking" not in about:
            return 0
        self._call("written", shared.modify, metadata={**about, "remaking": self._embedder.name})
        shards = [name for name in names if name != SHARED]
        embedded = 0
        for done, name in enumerate(shards, 1):
            if _about(self._open(name).metadata).get("embedder", before) != self._embedder.name:
                embedded += self._remake(name, {"embedder": self._embedder.name})
            if progress is not None:
                progress(done, len(shards) + 1)
        about.pop("remaking", None)
        embedded += self._remake(SHARED, {**about, "embedder": self._embedder.name})
        if progress is not None:
            progress(len(shards) + 1, len(shards) + 1)
        return embedded

    def _settled(self) -> list[str]:
        """The store's collections, after what a killed call left: a copy whose original is gone takes its place."""
        names = set(self._store.collection_names())
        for copy in sorted(name for name in names if name.startswith(NEW)):
            name = copy.removeprefix(NEW)
            if name in names:  # perhaps only a part of it
                self._call("written", self._client.delete_collection, copy)
            else:
                self._call("written", self._open(copy).modify, name=name)
                names.add(name)
        return sorted(name for name in names if name == SHARED or name.startswith(f"{SHARED}-"))

    def _remake(self, name: str, about: Mapping[str, Any]) -> int:
        """Put a copy with new vectors in the place of a collection; return how many texts were embedded."""
        copy = self._call(
            "written",
            self._client.create_collection,
            NEW + name,
            metadata={**LAYOUT, **about},
            embedding_function=None,
        )
        old, known, embedded = self._open(name), dict[str, Any](), 0
        while (rows := self._rows(old)) != known:  # until nothing came in meanwhile
            new = {id: row for id, row in rows.items() if known.get(id) != row}
            vectors = made_anew(new, self._embedder)
            embedded += len(vectors)
            zero_E = np.zeros(self._size, np.float32)
            for start in range(0, len(new), BATCH):
                ids = list(new)[start : start + BATCH]
                vectors_NE = np.stack([vectors.get(id, zero_E) for id in ids]).astype(np.float32)
                metadatas = [new[id] for id in ids]
                self._call("written", copy.upsert, ids=ids, metadatas=metadatas, embeddings=vectors_NE)
            if gone := sorted(known.keys() - rows.keys()):
                self._call("written", copy.delete, ids=gone)
            known = rows
        self._call("written", self._client.delete_collection, name)
        self._call("written", copy.modify, name=name)
        return embedded

    def _open(self, name: str) -> Any:
        return self._call("opened", self._client.get_collection, name, embedding_function=None)

    def _rows(self, collection: Any) -> dict[str, Any]:
        found = self._call("read", collection.get, include=["metadatas"])
        return dict(zip(found["ids"], found["metadatas"], strict=True))


def _about(metadata: Mapping[str, Any] | None) -> dict[str, Any]:
    """What a collection says of itself, without its layout, which cannot change."""
    return {key: value for key, value in (metadata or {}).items() if not key.startswith("hnsw:")}
