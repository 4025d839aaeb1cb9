"""The ledger's one lock: how often it is taken, and that nobody waits for a scorer, an embedder or a reader."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from fakes import PoleScorer, WordEmbedder
from pad_memory import CATALOGUE, Choice, Population, PreferenceMemory, Statement
from pad_memory.evidence import Evidence
from pad_memory.store import Store
from pad_memory.users import Ledger, opened


class CountingLock:
    """A lock that counts how often it is taken."""

    taken = 0

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        CountingLock.taken += 1

    def __exit__(self, *error: object) -> None:
        self._lock.release()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Iterator[PreferenceMemory]:
    monkeypatch.setattr(opened, "Lock", CountingLock)
    with PreferenceMemory(embedder=WordEmbedder(), scorer=PoleScorer()) as memory:
        memory.record("ada", Statement("short answers"))
        memory.record("ada", Statement("call me Sam"))
        yield memory


CALLS: dict[str, Callable[[PreferenceMemory], object]] = {
    "condition": lambda memory: memory.condition("ada"),
    "condition for a query": lambda memory: memory.condition("ada", "what is rust", thread="t", budget=1),
    "condition of a stranger": lambda memory: memory.condition("nobody"),
    "profile": lambda memory: memory.profile("ada"),
    "profile as it was": lambda memory: memory.profile("ada", at=0.0),
    "history": lambda memory: memory.history("ada"),
    "search": lambda memory: memory.search("ada", "brief"),
    "questions": lambda memory: memory.questions("ada"),
    "events": lambda memory: memory.events("ada"),
    "users": lambda memory: memory.users(),
    "pairs": lambda memory: list(memory.export_pairs("ada")),
    "record": lambda memory: memory.record("ada", Statement("call me Max")),
    "record a judgement": lambda memory: memory.record("ada", Choice("q", "tone:casual", "tone:formal")),
    "retract": lambda memory: memory.retract("ada", "known"),
    "undo": lambda memory: memory.undo("ada"),
    "forget": lambda memory: memory.forget("ada"),
}


@pytest.mark.parametrize("name", list(CALLS))
def test_one_call_takes_the_lock_once(counted: PreferenceMemory, name: str) -> None:
    counted.record("ada", Statement("no jokes", id="known"))
    counted.condition("ada")
    CountingLock.taken = 0
    CALLS[name](counted)
    assert CountingLock.taken == 1


def test_an_event_with_an_id_is_looked_up_before_it_is_judged(counted: PreferenceMemory) -> None:
    scorer = PoleScorer()
    counted.scorer = scorer
    counted.record("ada", Choice("q", "tone:casual", "tone:formal", id="one"))
    calls, CountingLock.taken = scorer.calls, 0
    counted.record("ada", Choice("q", "tone:casual", "tone:formal", id="one"))
    assert (scorer.calls, CountingLock.taken) == (calls, 1)
    counted.record("ada", Choice("q", "tone:casual", "tone:formal", id="two"))
    assert CountingLock.taken == 3  # one look, one append


def test_evidence_that_waited_is_computed_without_the_lock(counted: PreferenceMemory) -> None:
    counted.scorer = None
    counted.record("ada", Choice("q", "tone:casual", "tone:formal"))

    def slow(prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        other = threading.Thread(target=counted.record, args=("bob", Statement("no jokes")))
        other.start()
        other.join(60)
        assert not other.is_alive()
        return PoleScorer()(prompt, response, preferences)

    counted.scorer = slow
    assert counted.profile("ada").pending == 0


def test_a_snapshot_stays_as_it_was() -> None:
    embedder, event = WordEmbedder(), Statement("mention cats")
    book = Ledger(Store(None, None, embedder), embedder, CATALOGUE, tenant="default", rulebook="")
    owner = book.owner("ada")
    book.append(owner, "ada", lambda records: (event, Evidence()))
    before = book.read(owner, vectors=True, catalogue=True)
    book.append(owner, "ada", lambda records: (event, Evidence()))
    assert (len(before.records), len(book.read(owner).records)) == (1, 2)
    assert book.append(owner, "ada", lambda records: min(records)) in {record.id for record in book.records(owner)}
    with pytest.raises(TypeError):
        before.vectors["be brief"] = np.zeros(64)  # type: ignore[index]
    book.close()


def test_a_stranger_needs_no_embedder_and_a_population_does() -> None:
    class Refuses(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            raise RuntimeError("nothing is to be embedded")

    with PreferenceMemory(embedder=Refuses()) as memory:
        assert memory.condition("nobody", "what is rust").items == ()
    counts = {"length:concise": 30}
    with PreferenceMemory(embedder=WordEmbedder(), population=Population(30, counts)) as memory:
        assert [item.key for item in memory.condition("nobody")] == ["length:concise"]
