"""Over two thousand negated statements: none is read as the opposite of what it asks for."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest

from fakes import WordEmbedder
from pad_memory import CATALOGUE, SentenceEmbedder
from pad_memory.language.polarity import polarity, taken_back
from pad_memory.language.reader import Reader
from places import BENCHMARKS

BENCHMARK = BENCHMARKS / "memory" / "negation.py"


@pytest.fixture(scope="module")
def benchmark_module() -> ModuleType:
    spec = importlib.util.spec_from_file_location("memory_negation", BENCHMARK)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


class Listener(WordEmbedder):
    """Takes down what a reader asks for."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += texts
        return super().embed(texts)


@pytest.mark.slow
def test_no_negated_statement_is_turned_round(benchmark_module: ModuleType) -> None:
    cases = benchmark_module.statements()
    assert len(cases) >= 1000
    asked, embedder = Listener(), SentenceEmbedder(cache_size=10_000)
    benchmark_module.judge(Reader(CATALOGUE, asked), cases)
    embedder.embed(asked.texts)  # together: one by one they take ten times as long
    inverted, unread = benchmark_module.judge(Reader(CATALOGUE, embedder), cases)
    assert [case.text for case in inverted] == []
    assert len(unread) <= 0.08 * len(cases)


@pytest.mark.parametrize(
    ("text", "core", "sign"),
    [
        ("leave the emojis out", "the emojis", -1),
        ("you don't need to use emojis", "you need to use emojis", -1),
        ("don't bother with examples", "examples", -1),
        ("why are you so formal", "formal", -1),
        ("enough jokes", "jokes", -1),
        ("why don't you use lists", "why do you use lists", 1),
        ("I no longer want jokes", "i want jokes", -1),
        ("I am used to short answers", "i am used to short answers", 1),
    ],
)
def test_polarity(text: str, core: str, sign: int) -> None:
    assert polarity(text) == (core, sign)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("I used to like short answers", ("like short answers", False)),
        ("forget that I like emojis", ("like emojis", False)),
        ("I don't care about emojis anymore", ("emojis", True)),
        ("Length doesn't matter to me", ("length", True)),
        ("I don't care for jokes", None),
        ("forget the emojis", None),
        ("I don't like jokes", None),
    ],
)
def test_what_takes_a_wish_back(text: str, found: tuple[str, bool] | None) -> None:
    got = taken_back(text)
    assert (got and (" ".join(got[0].replace("any more", "").replace("anymore", "").split()), got[1])) == found
