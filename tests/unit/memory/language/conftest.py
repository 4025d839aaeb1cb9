"""The reader with the real sentence embedder."""

from __future__ import annotations

import pytest

from pad_memory import CATALOGUE
from pad_memory.embedding import SentenceEmbedder
from pad_memory.language.reader import Reader


@pytest.fixture(scope="session")
def reader() -> Reader:
    return Reader(CATALOGUE, SentenceEmbedder())
