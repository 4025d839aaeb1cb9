"""Wishes and their opposites: what a base that guides itself is told, and what it is contrasted with."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pad_langchain.paths import cache_folder

if TYPE_CHECKING:
    import numpy as np

    from pad_langchain.engine.types import WeightedPreference
    from pad_memory import PreferenceMemory
    from pad_memory.embedding import Embedder
    from pad_memory.errors import EmbedderError
    from pad_memory.language import Reader

__all__ = ["contrast", "reader_of"]

logger = logging.getLogger(__name__)

_readers: dict[str, Reader] = {}  # of the built-in catalogue, by the embedder's name


class _OneTry:
    """An embedder that is not loaded again where it did not load once: that may take many seconds."""

    def __init__(self, embedder: Embedder) -> None:
        self.name, self._embedder = embedder.name, embedder
        self._error: EmbedderError | None = None

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        from pad_memory.errors import EmbedderError

        if self._error is not None:
            raise self._error
        try:
            return self._embedder.embed(texts)
        except EmbedderError as error:
            logger.warning("Wishes in other words than the catalogue's have no opposite here: %s", error)
            self._error = error
            raise


def reader_of(memory: PreferenceMemory | None, embedder: Embedder | None) -> Reader:
    """Return what names the poles of wishes: the memory's own reader, else one of the built-in catalogue.

    Args:
        embedder: recognises wordings that are not the catalogue's. None means the default one, loaded when the first of
            them comes.
    """
    from pad_memory.catalogue import CATALOGUE
    from pad_memory.embedding import default_embedder
    from pad_memory.language import Reader

    if memory is not None:
        return memory.reader
    embedder = default_embedder() if embedder is None else embedder
    if embedder.name not in _readers:
        _readers[embedder.name] = Reader(CATALOGUE, _OneTry(embedder), cache_folder())
    return _readers[embedder.name]


def contrast(
    preferences: Sequence[WeightedPreference], reader: Reader
) -> tuple[list[tuple[str, float]], list[tuple[str, float]]]:
    """Return what is told and what it is contrasted with: (text, 1.0) to be wished for, (text, -1.0) to be avoided.

    A wish is told in its own words, and contrasted with the other poles of the dimensions that it is about, or with
    nothing. With a negative weight both change sides: it is told as these poles, or as something to avoid, and
    contrasted with its own words. A weight of 0 is left out.

    Args:
        reader: names the poles of wishes.
    """
    told: list[tuple[str, float]] = []
    opposed: list[tuple[str, float]] = []
    for preference in preferences:
        text, found = preference.text, _opposites(reader, preference.text) if preference.weight else ()
        others = [(other, 1.0) for other in found if other is not None]
        if preference.weight > 0:
            told.append((text, 1.0))
            opposed += others
        elif preference.weight < 0:
            told += others if others and None not in found else [(text, -1.0)]
            opposed.append((text, 1.0))
    return told, opposed


def _opposites(reader: Reader, text: str) -> Sequence[str | None]:
    """The opposites of a text's wishes. Without an embedder only wordings of the catalogue have one."""
    from pad_memory.errors import EmbedderError

    try:
        return reader.opposites(text)
    except EmbedderError:
        return ()
