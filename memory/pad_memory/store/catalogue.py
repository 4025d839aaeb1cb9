"""The vectors of the catalogue's texts, which belong to no user: kept once, in the collection that all share."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from pad_memory.store.chroma import Collections
from pad_memory.store.connection import Connection
from pad_memory.store.rows import StoredRow

__all__ = ["CatalogueVectors"]


class CatalogueVectors:
    """Embeddings by text, in one collection.

    Args:
        connection, collections: of the store.
        name: of the collection, which is there.
    """

    def __init__(self, connection: Connection, collections: Collections, name: str) -> None:
        self._connection, self._chroma, self._name = connection, collections, name
        self._embedding_size = 0

    def read(self, texts: Sequence[str]) -> dict[str, np.ndarray]:
        """Return the stored embeddings, text → float32 [E]; texts not yet stored are missing."""
        found = self._chroma.vectors(self._name, [_id_of(text) for text in texts])
        return {text: found[_id_of(text)] for text in texts if _id_of(text) in found}

    def add(self, texts: Sequence[str], vectors_NE: np.ndarray) -> None:
        """Store embeddings."""
        rows = [
            StoredRow(_id_of(text), {"text": text}, vector_E) for text, vector_E in zip(texts, vectors_NE, strict=True)
        ]
        self._chroma.upsert(self._name, rows, vectors_NE.shape[1])

    @property
    def embedding_size(self) -> int:
        """E, known once a text is stored; 0 before."""
        if not self._embedding_size:
            collection = self._chroma.open(self._name)
            peek = self._connection.call("read", collection.get, limit=1, include=["embeddings"])["embeddings"]
            self._embedding_size = len(peek[0]) if len(peek) else 0
        return self._embedding_size


def _id_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
