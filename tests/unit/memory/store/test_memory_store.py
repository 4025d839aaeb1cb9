"""`PreferenceMemory` on a real Chroma in a temporary folder: kept, apart, once, refused, forgotten."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import chromadb
import numpy as np
import pytest
from chromadb.config import Settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes import PoleScorer, WordEmbedder, likes
from pad_memory import Choice, Critique, Preference, PreferenceMemory, Statement, Values
from pad_memory.embedding import embed
from pad_memory.errors import (
    EmbedderError,
    InvalidEventError,
    StoreError,
    StoreLockedError,
    StoreVersionError,
)
from pad_memory.evidence import Evidence, Recorded, next_sequence
from places import TESTS


def opened(path: Path | None, **options) -> PreferenceMemory:  # type: ignore[no-untyped-def]
    return PreferenceMemory(path, embedder=WordEmbedder(), **options)


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[PreferenceMemory]:
    with opened(tmp_path / "memory", scorer=PoleScorer()) as memory:
        yield memory


def test_the_vector_that_steers_is_the_vector_in_chroma(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.record("ada", Statement("short answers"))
        memory.record("ada", Statement("call me Sam"))
        items = {item.text: item for item in memory.condition("ada")}
    assert set(items) == {"be concise and brief", "call me Sam"}
    client = chromadb.PersistentClient(str(tmp_path), settings=Settings(anonymized_telemetry=False))
    stored = {}
    for collection in client.list_collections():
        rows = collection.get(include=["metadatas", "embeddings"])
        stored.update(
            {row.get("text"): vector for row, vector in zip(rows["metadatas"], rows["embeddings"], strict=True)}
        )
    for text, item in items.items():
        assert item.embedding.dtype == np.float32
        assert np.array_equal(item.embedding, stored[text].astype(np.float32))
        assert np.array_equal(item.embedding, embed(WordEmbedder(), [text])[0])
    client.close()


def test_a_condition_explains_itself(stored: PreferenceMemory) -> None:
    assert len(stored.condition("ada")) == 0
    assert "Nothing is known" in stored.condition("ada").explain()
    for words in ("short answers", "call me Sam", "no jokes"):
        stored.record("ada", Statement(words))
    condition = stored.condition("ada", budget=2)
    assert [item.text for item in condition] == ["be serious and do not joke", "be concise and brief"]
    assert "+1.00 be concise and brief (stated, confidence 0.90, 1 event)" in condition.explain()
    assert "left out: call me Sam (only 2 steer at once)" in condition.explain()
    assert all(isinstance(item, Preference) for item in condition)


def test_an_unsure_inferred_preference_does_not_steer(stored: PreferenceMemory) -> None:
    for _ in range(4):
        stored.record("ada", Choice("q", "tone:casual", "tone:formal"))
    (preference,) = stored.profile("ada").preferences
    assert 0.5 < preference.confidence < 0.65
    assert stored.condition("ada").items == ()
    for _ in range(6):
        stored.record("ada", Choice("q", "tone:casual", "tone:formal"))
    (item,) = stored.condition("ada")
    assert (item.text, item.source) == ("use a casual and friendly tone", "inferred")
    assert item.weight > 0.9


def test_a_clock_that_goes_backwards_changes_nothing(stored: PreferenceMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 2000.0)
    stored.record("ada", Statement("short answers"))
    monkeypatch.setattr("time.time", lambda: 1000.0)
    stored.record("ada", Statement("long answers"))
    assert likes(stored, "ada") == ["length:detailed"]


def test_a_critique_of_one_response_is_no_lasting_wish_of_its_own(stored: PreferenceMemory) -> None:
    stored.record("ada", Critique("q", "a", "Paris lies in France"))
    assert likes(stored, "ada") == []
    stored.record("ada", Critique("q", "a", "no jokes"))
    assert likes(stored, "ada") == ["humor:serious"]


HOSTILE = [
    "*",
    "%",
    "_",
    "ada",
    "ADA",
    "ada ",
    " ada",
    "a\u0301da",
    "ád",
    "$ne",
    '{"$ne": ""}',
    "' OR 1=1",
    "../ada",
    "\x00",
    "😀",
]


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1).filter(lambda id: id.strip() and id.isprintable()), unique=True, max_size=4))
def test_users_never_see_each_other(tmp_path: Path, drawn: list[str]) -> None:
    users = list(dict.fromkeys([*HOSTILE, *drawn]))
    with opened(None) as memory, opened(None, tenant="other") as other:
        for number, user in enumerate(users):
            memory.record(user, Statement(f"mention animal {number}", id="same id"))
        for number, user in enumerate(users):
            assert [event.text for event in memory.events(user)] == [f"mention animal {number}"]  # type: ignore[attr-defined]
            assert likes(memory, user) == [f"mention animal {number}"]
        assert memory.users() == sorted(users)
        assert other.users() == []
        memory.forget("*")
        assert memory.users() == sorted(set(users) - {"*"})


def found_in_files(folder: Path, needle: bytes) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and needle in path.read_bytes()]


def test_forget_leaves_no_byte(tmp_path: Path) -> None:
    with opened(tmp_path, scorer=PoleScorer()) as memory:
        vector = b""
        for number in range(150):  # past Chroma's sync threshold, so that the index is on disk
            memory.record("ada", Statement(f"remember zebrafish number {number}", metadata={"note": "quokka"}))
        for number in range(40):
            memory.record(f"user {number}", Statement("keep wombats", thread="ada is not me"))
        (item,) = memory.condition("ada", query="zebrafish 7", budget=1)
        vector = item.embedding.tobytes()
    needles = [b"zebrafish", b"quokka", b'"ada"', vector]
    assert all(found_in_files(tmp_path, needle) for needle in (needles[0], needles[1], vector))
    with opened(tmp_path) as memory:
        others = {user: memory.export(user) for user in memory.users() if user != "ada"}
        assert memory.forget("ada") == 300
        assert memory.events("ada") == ()
        assert memory.forget("ada") == 0
        for number in range(20):  # new shards: Chroma sets up their files with unwritten memory
            memory.record(f"new {number}", Statement("keep koalas"))
            memory.condition(f"new {number}")
            assert [found_in_files(tmp_path, needle) for needle in needles] == [[], [], [], []]
    assert [found_in_files(tmp_path, needle) for needle in needles] == [[], [], [], []]
    with opened(tmp_path) as memory:
        assert {user: memory.export(user) for user in others} == others
        (item,) = memory.condition("user 3")
        assert np.array_equal(item.embedding, embed(WordEmbedder(), ["keep wombats"])[0])
        memory.record("ada", Statement("short answers"))
        assert likes(memory, "ada") == ["length:concise"]
    with opened(tmp_path) as memory:
        assert len(memory.users()) == 61
        assert [found_in_files(tmp_path, needle) for needle in needles[:2]] == [[], []]


def test_bad_calls_are_refused(stored: PreferenceMemory, tmp_path: Path) -> None:
    with pytest.raises(InvalidEventError, match=r"Statement\('be brief'\), but got 'short answers'"):
        stored.record("ada", "short answers")  # type: ignore[arg-type]
    with pytest.raises(InvalidEventError, match="0 or more, but is -1"):
        stored.condition("ada", budget=-1)
    with pytest.raises(InvalidEventError, match="path or url, not both"):
        PreferenceMemory(tmp_path, url="http://localhost:8000")
    with pytest.raises(InvalidEventError, match="tenant"):
        opened(None, tenant=" ")
    with pytest.raises(StoreError, match="'http://host:8000', but is 'localhost'"):
        PreferenceMemory(url="localhost", embedder=WordEmbedder())


@pytest.mark.slow
def test_a_second_one_is_refused(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from fakes import WordEmbedder\n"
        "from pad_memory import PreferenceMemory\n"
        "PreferenceMemory(sys.argv[1], embedder=WordEmbedder())\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path), str(TESTS)]
    with opened(tmp_path) as memory:
        memory.record("ada", Statement("short answers"))
        with pytest.raises(StoreLockedError, match="already open"):
            opened(tmp_path)
        other = subprocess.run(command, capture_output=True, text=True)
        assert other.returncode == 1
        assert "StoreLockedError" in other.stderr
        assert "use a Chroma server with url=" in other.stderr
        assert likes(memory, "ada") == ["length:concise"]
    assert subprocess.run(command, capture_output=True).returncode == 0


def test_a_newer_or_foreign_store_is_refused(tmp_path: Path) -> None:
    opened(tmp_path / "old").close()

    class Other(WordEmbedder):
        name = "another"

    with pytest.raises(EmbedderError, match=r"embeddings of 'words', but the embedder is 'another'"):
        PreferenceMemory(tmp_path / "old", embedder=Other())
    client = chromadb.PersistentClient(str(tmp_path / "new"), settings=Settings(anonymized_telemetry=False))
    client.create_collection("pad-memory", embedding_function=None, metadata={"schema_version": 2, "embedder": "words"})
    client.close()
    for _ in range(2):  # the refused opening let go of the lock
        with pytest.raises(StoreVersionError, match="schema version 2, written by a newer version"):
            opened(tmp_path / "new")


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="Pass a folder you can write to"):
        opened(tmp_path / "file")


def test_a_temporary_memory_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    memory = opened(None)
    (folder,) = tmp_path.glob("pad-memory-*")
    memory.record("ada", Statement("short answers"))
    memory.close()
    assert not folder.exists()


def test_what_was_recorded_under_the_same_rules_is_not_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[str] = []
    monkeypatch.setattr("pad_memory.values.policy.broken", judged.append)
    with opened(tmp_path) as memory:
        memory.record("ada", Statement("mention cats"))
        assert judged
    with opened(tmp_path) as memory:
        judged.clear()
        assert [item.text for item in memory.condition("ada")] == ["mention cats"]
        assert judged == []
    with opened(tmp_path, values=Values(refuse=("cats",))) as memory:  # other rules: it is
        condition = memory.condition("ada")
        assert condition.items == ()
        assert "the operator of this memory does not allow it" in condition.explain()


def test_a_number_is_above_all_others_and_drawn_where_the_clock_is_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    def numbered(*numbers: int) -> list[Recorded]:
        return [Recorded(Statement("be brief", id=str(number), time=1.0), number, Evidence()) for number in numbers]

    first = next_sequence(())
    assert first < next_sequence(numbered(first)) < 2**53, "JSON's readers keep it exact"
    assert next_sequence(numbered(2**52)) > 2**52, "a clock that was ahead, 6 years"
    monkeypatch.setattr("time.time_ns", lambda: 0)
    drawn = {next_sequence(numbered(7, 3)) for _ in range(20)}
    assert min(drawn) > 7
    assert len(drawn) > 10
