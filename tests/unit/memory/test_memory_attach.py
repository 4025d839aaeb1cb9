"""What an engine attaches to a memory: a scorer, which only the first one gives, and a callback that keeps nothing."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
from fakes import PoleScorer, WordEmbedder

from pad_memory import Choice, PreferenceMemory, Statement


class Engine:
    """Counts how often it is told."""

    def __init__(self) -> None:
        self.told = 0

    def forget_prefixes(self) -> None:
        self.told += 1


class Broken(Engine):
    def forget_prefixes(self) -> None:
        raise RuntimeError("no such prefix")


@pytest.fixture
def memory() -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=WordEmbedder()) as memory:
        yield memory


def test_the_first_scorer_judges_and_another_is_named_once(
    memory: PreferenceMemory, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = PoleScorer(), PoleScorer()
    memory.record("ada", Choice("q", "tone:casual", "tone:formal"))
    memory.attach()
    assert memory.scorer is None
    memory.attach(scorer=first)
    assert memory.profile("ada").pending == 0
    memory.attach(scorer=first)
    memory.attach(scorer=None)
    assert caplog.records == []
    for _ in range(2):
        memory.attach(scorer=second)
    assert memory.scorer is first
    (record,) = caplog.records
    assert f"judgements are by {first!r}, so {second!r} is not used" in record.getMessage()
    memory.scorer = second  # the owner of the memory may
    assert memory.scorer is second


def test_an_explicit_scorer_wins(caplog: pytest.LogCaptureFixture) -> None:
    mine = PoleScorer()
    with PreferenceMemory(embedder=WordEmbedder(), scorer=mine) as memory:
        memory.attach(scorer=PoleScorer())
        assert memory.scorer is mine
    assert len(caplog.records) == 1


def test_engines_are_told_of_each_forgetting_once(memory: PreferenceMemory) -> None:
    engine, told = Engine(), list[str]()
    for _ in range(2):
        memory.attach(on_forget=engine.forget_prefixes)
    memory.attach(on_forget=lambda: told.append("told"))
    memory.record("ada", Statement("no jokes", id="one"))
    memory.forget("ada", "one")
    memory.forget("ada")
    assert (engine.told, told) == (2, ["told", "told"])


def test_a_memory_keeps_no_engine_alive(memory: PreferenceMemory) -> None:
    engine = Engine()
    memory.attach(on_forget=engine.forget_prefixes)
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    memory.forget("ada")


def test_a_callback_that_fails_loses_no_forgetting(memory: PreferenceMemory, caplog: pytest.LogCaptureFixture) -> None:
    broken, engine = Broken(), Engine()
    memory.attach(on_forget=broken.forget_prefixes)
    memory.attach(on_forget=engine.forget_prefixes)
    memory.record("ada", Statement("no jokes"))
    assert memory.forget("ada") == 1
    assert memory.users() == []
    assert engine.told == 1
    assert "no such prefix" in caplog.text
