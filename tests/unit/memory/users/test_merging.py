"""Merging users: ids that both gave, retractions, words of their own, kills, and what comes in meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes import PoleScorer, WordEmbedder, likes
from pad_memory import Choice, PreferenceMemory, Retraction, Statement, Thumb, Values
from pad_memory.errors import InvalidEventError, StoreError
from pad_memory.users import Ledger
from places import TESTS

WORDS = [
    "short answers",
    "long answers",
    "no jokes",
    "call me Sam",
    "call me Max",
    "mention cats",
    "for code, be terse",
]
TOLD = st.lists(
    st.tuples(
        st.sampled_from(["guest", "ada"]),
        st.one_of(st.sampled_from(WORDS), st.sampled_from(["tone:casual", "tone:formal"]), st.just("undo")),
    ),
    max_size=8,
)


@settings(max_examples=12, deadline=None)
@given(TOLD)
def test_two_who_are_merged_are_as_one(told: list[tuple[str, str]]) -> None:
    values = Values(classifier=False)
    with PreferenceMemory(embedder=WordEmbedder(), scorer=PoleScorer(), values=values) as memory:
        for number, (user, what) in enumerate(told):
            if what == "undo":
                if profile(memory, user)["preferences"]:
                    memory.retract("one", memory.undo(user))
                continue
            event = Thumb("q", what, True) if what.startswith("tone") else Statement(what)
            for one in (user, "one"):
                memory.record(one, replace(event, id=str(number), time=float(number)))
        if memory.events("guest"):
            memory.merge("guest", "ada")
        assert profile(memory, "ada") == profile(memory, "one")


def profile(memory: PreferenceMemory, user: str) -> dict[str, Any]:
    found = memory.profile(user).to_dict()
    for item in (*found["preferences"], *found["history"]):
        item.pop("origins", None)
    return found


def test_an_id_that_both_gave_to_different_things_is_made_another(memory: PreferenceMemory) -> None:
    memory.record("guest", Statement("short answers", id="1"))
    memory.record("guest", Statement("no jokes", id="2"))
    memory.retract("guest", "1")
    memory.record("ada", Statement("call me Sam", id="1"))
    assert memory.merge("guest", "ada") == 3
    assert likes(memory, "ada") == ["call me Sam", "humor:serious"]
    short, jokes, back, own = memory.events("ada")
    assert (own.id, jokes.id) == ("1", "2")
    assert isinstance(back, Retraction)
    assert back.target == short.id not in ("1", None)


def test_an_event_that_both_have_counts_once_and_its_newer_version_holds(memory: PreferenceMemory) -> None:
    same = Choice("q", "tone:casual", "tone:formal", id="same", time=1.0)
    turned = Thumb("q", "tone:casual", True, id="turned", time=2.0)
    memory.record("ada", same)
    memory.record("ada", turned)
    memory.record("guest", same)
    memory.record("guest", Thumb("q", "tone:casual", False, id="turned", time=3.0))
    assert memory.merge("guest", "ada") == 1
    assert [(event.id, getattr(event, "up", None)) for event in memory.events("ada")] == [
        ("same", None),
        ("turned", False),
    ]
    memory.record("guest", turned)  # the older one changes nothing
    assert memory.merge("guest", "ada") == 0


def test_retractions_hold_and_can_be_taken_back(memory: PreferenceMemory) -> None:
    memory.record("guest", Statement("short answers", id="a"))
    back = memory.retract("guest", "a")
    memory.record("guest", Statement("no jokes", id="b"))
    again = memory.retract("guest", memory.retract("guest", "b"))
    memory.merge("guest", "ada")
    assert likes(memory, "ada") == ["humor:serious"]
    memory.retract("ada", back)
    memory.retract("ada", again)
    assert likes(memory, "ada") == ["length:concise"]


def test_own_words_of_both_are_about_the_same_matter(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement("mention red cats", id="a", time=1.0))
    memory.record("guest", Statement("never mention red cats", id="b", time=2.0))
    memory.record("ada", Statement("mention red cats", id="c", time=3.0))
    memory.merge("guest", "ada")
    (item,) = memory.profile("ada").preferences
    assert (item.text, item.evidence) == ("mention red cats", ("c",))
    assert [(past.text, past.ended_by) for past in memory.profile("ada").history] == [
        ("mention red cats", "b"),
        ("never mention red cats", "c"),
    ]
    assert len(memory.condition("ada").items) == 1


def test_evidence_that_waits_is_judged_after_the_merge() -> None:
    with PreferenceMemory(embedder=WordEmbedder()) as memory:
        for _ in range(8):
            memory.record("guest", Choice("q", "tone:casual", "tone:formal"))
        memory.merge("guest", "ada")
        memory.scorer = PoleScorer()
        assert likes(memory, "ada") == ["tone:casual"]
        assert memory.profile("ada").preferences[0].origins == ("guest",)


def test_an_export_has_where_events_came_from(memory: PreferenceMemory) -> None:
    memory.record("guest", Statement("short answers"))
    memory.merge("guest", "cookie")
    memory.merge("cookie", "ada")
    data = memory.export("ada")
    assert data["events"][0]["origin"] == "guest"
    with PreferenceMemory(embedder=WordEmbedder()) as other:
        assert other.import_(data) == 1
        assert other.history("ada")[0].origins == ("guest",)
        assert other.history("ada")[0].to_dict()["origins"] == ["guest"]
        assert other.export("ada") == data


def test_the_newer_item_stays(memory: PreferenceMemory) -> None:
    for user, name in (("ada", "Rex"), ("guest", "Max")):
        memory.items.put(user, ("notes",), "dog", {"name": name})
    memory.items.put("guest", ("notes",), "cat", {"name": "Tom"})
    memory.items.put("ada", ("notes",), "cat", {"name": "Kim"})
    assert memory.merge("guest", "ada") == 1
    assert [item.value["name"] for item in memory.items.search("ada")] == ["Max", "Kim"]
    assert memory.items.search("guest") == []


def test_answers_are_found_by_the_user_they_belong_to_now(memory: PreferenceMemory) -> None:
    memory.responses.add("guest", "r1", "q", "tone:casual")
    memory.record("guest", Statement("short answers"))
    memory.merge("guest", "ada")
    memory.record("ada", Thumb(response_id="r1", up=True))
    with pytest.raises(InvalidEventError, match="'guest' got no answer"):
        memory.record("guest", Thumb(response_id="r1", up=True))


def test_what_comes_in_meanwhile_is_merged_too(memory: PreferenceMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.record("guest", Statement("short answers", id="a"))
    extend, late = Ledger.extend, iter([Statement("no jokes", id="b"), Statement("call me Sam", id="c")])

    def extends(ledger: Ledger, owner: str, user: str, records: Sequence[object]) -> int:
        count = extend(ledger, owner, user, records)  # type: ignore[arg-type]
        for event in late:
            other = threading.Thread(target=memory.record, args=("guest", event))
            other.start()
            other.join()
            break
        return count

    monkeypatch.setattr(Ledger, "extend", extends)
    assert memory.merge("guest", "ada") == 3
    assert [event.id for event in memory.events("ada")] == ["a", "b", "c"]
    assert memory.users() == ["ada"]


def test_one_user_becomes_part_of_one_other_only(memory: PreferenceMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    memory.record("guest", Statement("short answers", id="a"))
    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "leave", failing)
        with pytest.raises(StoreError, match="the disk is full"):
            memory.merge("guest", "ada")
    with pytest.raises(InvalidEventError, match="'guest' is being merged into 'ada', so not into 'bob'"):
        memory.merge("guest", "bob")
    assert memory.events("bob") == ()
    assert memory.merge("guest", "ada") == 0
    assert [event.id for event in memory.events("ada")] == ["a"]
    assert memory.users() == ["ada"]


def failing(*arguments: object, **options: object) -> None:
    raise StoreError("the disk is full")


def test_no_byte_of_the_name_that_went_away_is_left_once_the_other_is_forgotten(tmp_path: Path) -> None:
    with PreferenceMemory(tmp_path / "m", embedder=WordEmbedder()) as memory:
        memory.record("guest-zebra", Statement("mention zebras"))
        memory.merge("guest-zebra", "ada")
        memory.forget("ada")
    for path in (tmp_path / "m").rglob("*"):
        assert not path.is_file() or b"zebra" not in path.read_bytes()


KILLED = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from typing import Any
sys.path.insert(0, sys.argv[1])
from fakes import WordEmbedder
from killed import die_at, forked
from pad_memory import PreferenceMemory, Statement, Thumb, Values
from pad_memory.store.connection import Connection
from pad_memory.store.journal import Journal

def opened(folder):
    return PreferenceMemory(folder, embedder=WordEmbedder(), values=Values(classifier=False))

def tell(folder):
    with opened(folder) as memory:
        memory.record("ada", Statement("call me Sam", id="1", time=1.0))
        memory.record("guest", Statement("mention cats", id="1", time=2.0))
        memory.record("guest", Statement("call me Max", id="2", time=3.0))
        memory.retract("guest", "1")
        memory.items.put("guest", ("notes",), "dog", {"name": "Rex"}, "a dog")

def merge(folder, fatal):
    memory = opened(folder)
    die_at(fatal, (Connection, "call"), (Journal, "append"), (Journal, "clear"))
    memory.merge("guest", "ada")
    memory.close()

def check(folder):
    with opened(folder) as memory:
        memory.merge("guest", "ada")
        assert memory.merge("guest", "ada") == 0
        assert [item.text for item in memory.profile("ada").preferences] == ["call me Max"], memory.profile("ada")
        assert [past.text for past in memory.profile("ada").history] == ["call me Sam"]
        assert len(memory.events("ada")) == 4
        assert [item.key for item in memory.items.search("ada")] == ["dog"]
        assert memory.users() == ["ada"]

fatal = 1
while True:
    folder = Path(sys.argv[2]) / str(fatal)
    assert forked(lambda: tell(folder)) == 0
    status = forked(lambda: merge(folder, fatal))
    if status == 0:  # it came to its end
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    assert forked(lambda: check(folder)) == 0, f"killed at step {fatal}"
    fatal += int(sys.argv[3])
print(fatal)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="trials are forked")
def test_a_killed_merge_is_finished_by_the_next(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(TESTS), str(tmp_path), "3"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10  # so many places it was killed at, and whole at each


def test_vectors_of_merged_words_steer(memory: PreferenceMemory) -> None:
    memory.record("guest", Statement("mention cats"))
    (before,) = memory.condition("guest").items
    memory.merge("guest", "ada")
    (item,) = memory.condition("ada").items
    assert np.array_equal(item.embedding, before.embedding)
