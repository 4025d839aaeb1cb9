"""The torch engine on the tiny pair."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.testing import TinyPair


@pytest.fixture(scope="module")
def torch_engine(pair: TinyPair) -> Iterator[TorchEngine]:
    """One engine for a module; `stats` and prefixes of a test before are in it."""
    with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as opened:
        yield opened
