"""What a `PreferenceMemory` keeps on every kind of store. The kinds are in `memory_places`."""

from __future__ import annotations

import copy
import json
import threading
from collections.abc import Sequence

import numpy as np
import pytest

from fakes import PoleScorer, WordEmbedder, likes
from memory_places import Place
from pad_memory import Choice, PreferenceMemory, Statement, Thumb
from pad_memory.errors import (
    InvalidEventError,
    InvalidUserError,
    StoreClosedError,
    StoreVersionError,
)

# From one memory to the next


def test_everything_is_there_after_a_restart(place: Place) -> None:
    if not place.lasting:
        pytest.skip("nothing lasts here")
    with place.open(scorer=PoleScorer()) as memory:
        memory.record("ada", Statement("short answers", thread="t1", metadata={"page": 3}))
        memory.record("ada", Statement("call me Sam"))
        for _ in range(6):
            memory.record("ada", Choice("q", "tone:casual", "tone:formal"))
        before, events = memory.profile("ada").to_json(), memory.events("ada")
        condition = memory.condition("ada")
    with place.open() as memory:  # without a scorer: the evidence was stored with the events
        assert memory.profile("ada").to_json() == before
        assert memory.events("ada") == events
        assert memory.users() == ["ada"]
        again = memory.condition("ada")
        assert [(item.key, item.weight) for item in again] == [(item.key, item.weight) for item in condition]
        assert again.items[0].key == "length:concise"
        assert events[0].thread == "t1"
        assert events[0].metadata == {"page": 3}
        assert all(np.array_equal(one.embedding, two.embedding) for one, two in zip(again, condition, strict=True))


def test_evidence_waits_for_a_scorer(place: Place) -> None:
    with place.open() as memory:
        for _ in range(8):
            memory.record("ada", Choice("q", "tone:casual", "tone:formal"))
        assert memory.profile("ada").pending == 8
        assert likes(memory, "ada") == []
        memory.scorer = PoleScorer()
        assert memory.profile("ada").pending == 0
        assert likes(memory, "ada") == ["tone:casual"]
    if not place.lasting:
        return
    with place.open() as memory:
        assert likes(memory, "ada") == ["tone:casual"]


def test_tenants_share_a_store_and_nothing_else(place: Place) -> None:
    with place.open(tenant="one") as memory:
        memory.record("ada", Statement("short answers"))
    with place.open(tenant="two") as memory:
        assert memory.events("ada") == ()
        assert memory.users() == []


def test_a_closed_memory_says_so(place: Place) -> None:
    memory = place.open()
    memory.close()
    memory.close()
    with pytest.raises(StoreClosedError, match="was closed"):
        memory.profile("ada")
    with pytest.raises(StoreClosedError):
        memory.record("ada", Statement("short answers"))


# Records


def test_the_query_chooses_among_own_wordings(written: PreferenceMemory) -> None:
    for words in ("mention cats", "mention trains"):
        written.record("ada", Statement(words))
    assert [item.text for item in written.condition("ada", query="are cats nice", budget=1)] == ["mention cats"]
    assert [item.text for item in written.condition("ada", query="are trains nice", budget=1)] == ["mention trains"]


def test_the_same_id_counts_once(written: PreferenceMemory) -> None:
    first = written.record("ada", Statement("short answers", id="x"))
    assert written.record("ada", Statement("short answers", id="x")) == first == "x"
    assert written.record("bob", Statement("no jokes", id="x")) == "x"
    assert len(written.events("ada")) == 1
    assert likes(written, "bob") == ["humor:serious"]


def test_a_restated_wish_counts_up_and_is_not_doubled(written: PreferenceMemory) -> None:
    for _ in range(3):
        written.record("ada", Statement("call me Sam"))
    (item,) = written.profile("ada").preferences
    assert len(item.evidence) == 3
    assert item.confidence > 0.96


def test_the_latest_word_wins(written: PreferenceMemory) -> None:
    written.record("ada", Statement("short answers"))
    written.record("ada", Statement("long answers"))
    assert likes(written, "ada") == ["length:detailed"]


def test_a_scorer_that_fails_loses_no_event(written: PreferenceMemory) -> None:
    def broken(prompt: str, response: str, preferences: object) -> np.ndarray:
        raise RuntimeError("out of memory")

    written.scorer = broken
    written.record("ada", Thumb("q", "tone:casual", True))
    assert written.profile("ada").pending == 1
    written.scorer = PoleScorer()
    assert written.profile("ada").pending == 0


def test_threads_lose_no_event(written: PreferenceMemory) -> None:
    def work(number: int) -> None:
        for step in range(10):
            written.record("ada", Statement("short answers", id=f"{number}-{step}"))
            written.condition("ada")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(written.events("ada")) == 60
    (item,) = written.profile("ada").preferences
    assert len(item.evidence) == 60


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("", "not empty, but is ''"),
        ("  \n", "not empty"),
        (None, "but is None"),
        (7, "but is 7"),
        ("x" * 10_240, "at most 1024 bytes of UTF-8, but has 10,240"),
        ("é" * 513, "but has 1,026"),
        ("\ud800", "valid Unicode"),
    ],
)
def test_bad_user_ids_are_refused_and_nothing_is_written(written: PreferenceMemory, user: object, message: str) -> None:
    for call in (written.profile, written.condition, written.events, written.forget, written.export):
        with pytest.raises(InvalidUserError, match=message):
            call(user)  # type: ignore[arg-type]
    with pytest.raises(InvalidUserError, match=message):
        written.record(user, Statement("short answers"))  # type: ignore[arg-type]
    assert written.users() == []


def test_a_query_that_is_no_text_is_refused(written: PreferenceMemory) -> None:
    with pytest.raises(InvalidEventError, match="query has to be valid Unicode text"):
        written.condition("ada", query="\ud800")
    assert written.condition("ada", query=" ").items == ()


def test_users_are_apart_whatever_their_ids(place: Place) -> None:
    users = ["*", "%", "ada", "ADA", "ada ", "a\u0301da", "ád", '{"$ne": ""}', "' OR 1=1", "../ada", "\x00", "😀"]
    with place.open() as memory:
        for number, user in enumerate(users):
            memory.record(user, Statement(f"mention animal {number}", id="same id"))
        for number, user in enumerate(users):
            assert [event.text for event in memory.events(user)] == [f"mention animal {number}"]  # type: ignore[attr-defined]
            assert likes(memory, user) == [f"mention animal {number}"]
        assert memory.users() == sorted(users)


# Forgetting


def test_a_user_is_forgotten_and_nobody_else(written: PreferenceMemory) -> None:
    for user in ("ada", "bob"):
        written.record(user, Statement("no jokes", id="one"))
        written.record(user, Statement("call me Sam", id="two"))
        written.items.put(user, ("notes",), "dog", {"name": "Rex"}, "a dog named Rex")
    before = written.export("bob")
    written.forget("ada", "one")
    assert [event.id for event in written.events("ada")] == ["two"]
    assert likes(written, "ada") == ["call me Sam"]
    assert written.forget("ada") > 0
    assert written.forget("ada") == 0
    assert written.events("ada") == ()
    assert written.items.get("ada", ("notes",), "dog") is None
    assert written.condition("ada").items == ()
    assert written.users() == ["bob"]
    assert written.export("bob") == before


def test_a_user_who_is_forgotten_amid_a_condition_gets_none(place: Place) -> None:
    with place.open() as memory:
        memory.record("ada", Statement("mention cats"))
        memory.record("ada", Thumb("q", "tone:casual", True))

        def forgets(prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
            other = threading.Thread(target=memory.forget, args=("ada",))
            other.start()
            other.join()  # the lock is not held while a scorer takes its time
            return PoleScorer()(prompt, response, preferences)

        memory.scorer = forgets
        assert memory.condition("ada").items == ()
        assert memory.users() == []  # what was judged by then did not come back


# Elsewhere


def test_export_and_import_round_trip(written: PreferenceMemory) -> None:
    written.record("ada", Statement("call me Sam"))
    written.record("ada", Choice("q", "tone:casual", "tone:formal"))
    data = json.loads(json.dumps(written.export("ada")))
    with PreferenceMemory(embedder=WordEmbedder(), tenant=written.tenant) as other:
        assert other.import_(data) == 2
        assert other.import_(data) == 0
        assert other.export("ada") == data
        assert other.condition("ada").items == written.condition("ada").items
        newer = copy.deepcopy(data)
        newer["events"].append({**data["events"][0], "event": {**data["events"][0]["event"], "schema_version": 99}})
        newer["events"][0]["event"]["id"] = "new"
        with pytest.raises(StoreVersionError, match="99"):
            other.import_(newer)
        assert len(other.events("ada")) == 2
        with pytest.raises(StoreVersionError, match="written by a newer version"):
            other.import_({**data, "version": 2})
        with pytest.raises(InvalidEventError, match="what export returned"):
            other.import_({"events": []})
