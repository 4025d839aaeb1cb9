"""What tests of every room may ask for. What is shared is not changed by any test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

# What is here runs without a model hub; libraries read this when they are imported.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from fakes import told_of_wishes
from pad_langchain.testing import TinyPair, tiny_pair
from pad_memory import PreferenceMemory
from parts import text_parts as random_text_parts


@pytest.fixture(scope="module")
def pair() -> TinyPair:
    """A tiny base, its tokenizer, its head and an embedder. One for each module: adapters leave hooks in a base."""
    return tiny_pair()


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The pair on the disk: the folder of the base and that of the PersRM."""
    base, persrm = tiny_pair().save(tmp_path_factory.mktemp("pair"))
    return str(base), str(persrm)


@pytest.fixture(scope="session")
def text_parts() -> tuple[Any, torch.nn.Linear]:
    """The model and W (with bias) of a text PersRM."""
    return random_text_parts()


@pytest.fixture(scope="session")
def wished() -> Iterator[PreferenceMemory]:
    """A memory of what ada and bob wish."""
    with told_of_wishes() as memory:
        yield memory


@pytest.fixture
def wished_anew() -> Iterator[PreferenceMemory]:
    """The like of `wished`, for a test that records."""
    with told_of_wishes() as memory:
        yield memory
