"""What an engine attaches to a memory: a scorer, which only the first one gives, and a callback that keeps nothing."""

from __future__ import annotations

import gc
import weakref

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
def unscored(memory: PreferenceMemory) -> PreferenceMemory:
    memory.scorer = None
    return memory


def test_the_first_scorer_judges_and_another_is_named_once(
    unscored: PreferenceMemory, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = PoleScorer(), PoleScorer()
    unscored.record("ada", Choice("q", "tone:casual", "tone:formal"))
    unscored.attach()
    assert unscored.scorer is None
    unscored.attach(scorer=first)
    assert unscored.profile("ada").pending == 0
    unscored.attach(scorer=first)
    unscored.attach(scorer=None)
    assert caplog.records == []
    for _ in range(2):
        unscored.attach(scorer=second)
    assert unscored.scorer is first
    (record,) = caplog.records
    assert f"judgements are by {first!r}, so {second!r} is not used" in record.getMessage()
    unscored.scorer = second  # the owner of the memory may
    assert unscored.scorer is second


def test_an_explicit_scorer_wins(caplog: pytest.LogCaptureFixture) -> None:
    mine = PoleScorer()
    with PreferenceMemory(embedder=WordEmbedder(), scorer=mine) as memory:
        memory.attach(scorer=PoleScorer())
        assert memory.scorer is mine
    assert len(caplog.records) == 1


def test_engines_are_told_of_each_forgetting_once(unscored: PreferenceMemory) -> None:
    engine, told = Engine(), list[str]()
    for _ in range(2):
        unscored.attach(on_forget=engine.forget_prefixes)
    unscored.attach(on_forget=lambda: told.append("told"))
    unscored.record("ada", Statement("no jokes", id="one"))
    unscored.forget("ada", "one")
    unscored.forget("ada")
    assert (engine.told, told) == (2, ["told", "told"])


def test_a_memory_keeps_no_engine_alive(unscored: PreferenceMemory) -> None:
    engine = Engine()
    unscored.attach(on_forget=engine.forget_prefixes)
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    unscored.forget("ada")


def test_a_callback_that_fails_loses_no_forgetting(
    unscored: PreferenceMemory, caplog: pytest.LogCaptureFixture
) -> None:
    broken, engine = Broken(), Engine()
    unscored.attach(on_forget=broken.forget_prefixes)
    unscored.attach(on_forget=engine.forget_prefixes)
    unscored.record("ada", Statement("no jokes"))
    assert unscored.forget("ada") == 1
    assert unscored.users() == []
    assert engine.told == 1
    assert "no such prefix" in caplog.text
