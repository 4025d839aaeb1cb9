"""A memory that scores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes import PoleScorer, WordEmbedder
from pad_memory import PreferenceMemory


@pytest.fixture
def memory() -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=WordEmbedder(), scorer=PoleScorer()) as memory:
        yield memory
