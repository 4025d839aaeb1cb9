"""An event whose id the user has already: it counts once, and its newer version replaces the older."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes import PoleScorer, WordEmbedder
from pad_memory import (
    Choice,
    Critique,
    Edit,
    PreferenceMemory,
    Rating,
    Retraction,
    Statement,
    Thumb,
    Values,
    from_langsmith,
)

TEXTS = {"prompt": "q", "response": "length:detailed"}


def opened(path: Path | None = None) -> PreferenceMemory:
    return PreferenceMemory(path, embedder=WordEmbedder(), scorer=PoleScorer(), values=Values(classifier=False))


def mean(memory: PreferenceMemory, user: str) -> list[float]:
    return memory.profile(user).posterior.mean_D.round(6).tolist()


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (Thumb(**TEXTS, up=True, id="1"), Thumb(**TEXTS, up=False, id="1")),
        (Rating(**TEXTS, rating=5, id="1"), Rating(**TEXTS, rating=1, id="1")),
        (Choice("q", "length:detailed", "length:concise", id="1"),
         Choice("q", "length:concise", "length:detailed", id="1")),
        (Edit("q", "a", "length:detailed", id="1"), Edit("q", "a", "length:concise", id="1")),
        (Statement("long answers", id="1"), Statement("short answers", id="1")),
        (Thumb(**TEXTS, up=True, id="1"), Critique(**TEXTS, text="short answers", id="1")),
    ],
)  # fmt: skip
def test_a_newer_version_replaces_the_older(memory: PreferenceMemory, older, newer) -> None:  # type: ignore[no-untyped-def]
    memory.record("ada", older)
    for _ in range(3):  # sent again it says nothing new
        assert memory.record("ada", newer) == "1"
    assert len(memory.events("ada")) == 1
    memory.record("bob", newer)
    assert mean(memory, "ada") == mean(memory, "bob")
    assert [item.key for item in memory.profile("ada").preferences] == [
        item.key for item in memory.profile("bob").preferences
    ]


def test_an_older_version_that_comes_late_changes_nothing(memory: PreferenceMemory) -> None:
    memory.record("ada", Thumb(**TEXTS, up=False, id="1", time=200.0))
    memory.record("ada", Thumb(**TEXTS, up=True, id="1", time=100.0))
    assert [event.up for event in memory.events("ada")] == [False]  # type: ignore[attr-defined]


def test_one_thumb_by_response_id_turned_round(memory: PreferenceMemory) -> None:
    memory.responses.add("ada", "r", "q", "length:detailed")
    for up in (True, True, False):
        memory.record("ada", Thumb(response_id="r", up=up, id="1"))
    memory.responses.clear()
    memory.record("ada", Thumb(response_id="r", up=False, id="1"))  # a retry, when the answer is no longer at hand
    assert [event.up for event in memory.events("ada")] == [False]  # type: ignore[attr-defined]


def test_a_retraction_has_one_version(memory: PreferenceMemory) -> None:
    for number in ("1", "2"):
        memory.record("ada", Statement(f"mention animal {number}", id=number))
    memory.record("ada", Retraction("1", id="r"))
    memory.record("ada", Retraction("2", id="r"))
    memory.record("ada", Statement("be formal", id="r"))
    assert [event.target for event in memory.events("ada") if isinstance(event, Retraction)] == ["1"]


def test_forgetting_erases_the_wording_of_an_older_version(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.record("ada", Statement("mention zebrafish", id="1"))
        memory.record("ada", Statement("mention buffaloes", id="1"))
        assert [item.text for item in memory.profile("ada").preferences] == ["mention buffaloes"]
        memory.forget("ada", "1")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"zebrafish" not in path.read_bytes(), path


def test_an_import_brings_the_newer_version(memory: PreferenceMemory, tmp_path: Path) -> None:
    with opened(tmp_path) as other:
        for up, when in ((True, 100.0), (False, 200.0)):
            memory.record("ada", Thumb(**TEXTS, up=up, id="1", time=when))
            if up:
                older = memory.export("ada")
        newer = memory.export("ada")
        assert [other.import_(data) for data in (older, newer, newer, older)] == [1, 1, 0, 0]
        assert [event.up for event in other.events("ada")] == [False]  # type: ignore[attr-defined]
    with opened(tmp_path) as other:
        assert [event.up for event in other.events("ada")] == [False]  # type: ignore[attr-defined]


FIRST = {"id": "7f1c", "key": "user", "score": 1, "created_at": "2026-01-01T00:00:00+00:00"}
SECOND = {**FIRST, "score": 0, "modified_at": "2026-01-02T00:00:00+00:00"}
THIRD = {**SECOND, "comment": "too long", "modified_at": "2026-01-03T00:00:00+00:00"}


def sent(memory: PreferenceMemory, *versions: dict[str, object]) -> list[tuple[str, object]]:
    for feedback in versions:
        for event in from_langsmith(feedback, **TEXTS):
            memory.record("ada", event)
    return [(event.kind, getattr(event, "up", None)) for event in memory.events("ada")]


def test_a_langsmith_feedback_is_one_judgement(memory: PreferenceMemory) -> None:
    assert sent(memory, FIRST) == [("thumb", True)]
    assert sent(memory, SECOND, SECOND) == [("thumb", False)]
    assert sent(memory, THIRD) == [("critique", None)]
    assert sent(memory, FIRST, SECOND, THIRD) == [("critique", None)]  # the whole history again
    assert sent(memory, {**THIRD, "correction": "short"}) == [("critique", None), ("edit", None)]


def test_a_langsmith_feedback_of_an_earlier_release_is_not_counted_twice(memory: PreferenceMemory) -> None:
    (event,) = from_langsmith(FIRST, **TEXTS)
    memory.record("ada", Thumb(**TEXTS, up=True, id="langsmith:7f1c:thumb", time=event.time, source="langsmith"))
    assert sent(memory, FIRST) == [("thumb", True)]
    assert sent(memory, SECOND, THIRD) == [("critique", None)]
