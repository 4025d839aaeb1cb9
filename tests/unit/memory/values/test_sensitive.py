"""What wishes tell of their author, and what the operator lets become of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pad_langchain.testing import HashEmbedder
from pad_memory import PreferenceMemory, Statement, Values
from pad_memory.errors import ConsentNeededError, InvalidEventError
from pad_memory.values.sensitive import KINDS, kinds

DATA = Path(__file__).parents[3] / "data" / "lifetimes"
WISH = "I have diabetes, so no sugar in recipes."


def lines(name: str) -> list[str]:
    return (DATA / name).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("half", ["", "_aside"])
def test_the_suite_of_sensitive_wishes(half: str) -> None:
    told = [line.split("\t") for line in lines(f"sensitive{half}.txt")]
    innocent = lines(f"innocent{half}.txt")
    assert len(told) == len(innocent) == 150
    assert {kind for kind, _ in told} == set(KINDS)
    assert sum(kind in kinds(text) for kind, text in told) >= 148
    assert sum(bool(kinds(text)) for text in innocent) <= 1


def test_a_text_may_tell_several_things() -> None:
    assert kinds("My seven-year-old son has asthma; I earn 2,000 euros a month.") == ("health", "money", "child")


def test_an_innocent_text_that_is_long_is_read_quickly() -> None:
    assert kinds("my daughter " * 10_000) == ()


Open = Callable[..., PreferenceMemory]


@pytest.fixture
def opened() -> Iterator[Open]:
    memories = []

    def open_(**values: object) -> PreferenceMemory:
        values = {"classifier": False, **values}
        memories.append(PreferenceMemory(embedder=HashEmbedder(), values=Values(**values)))  # type: ignore[arg-type]
        return memories[-1]

    yield open_
    for memory in memories:
        memory.close()


def test_by_default_a_wish_is_marked_and_kept(opened: Open) -> None:
    memory = opened()
    memory.record("ada", Statement(WISH))
    memory.record("ada", Statement("be concise and brief"))
    (plain, marked) = memory.profile("ada").preferences
    assert (marked.sensitive, plain.sensitive) == (("health",), ())
    exported = memory.export("ada")
    assert [event["evidence"].get("sensitive") for event in exported["events"]] == [["health"], None]
    assert exported["profile"]["preferences"][1]["sensitive"] == ["health"]
    assert memory.sensitive_events("ada") == {"health": 1}
    assert len(list(memory.condition("ada"))) == 2


def test_marks_survive_an_export_and_come_to_older_ones(opened: Open) -> None:
    memory, other = opened(), opened()
    memory.record("ada", Statement(WISH))
    data = memory.export("ada")
    del data["events"][0]["evidence"]["sensitive"]  # as an export of a version without marks
    assert other.import_(data) == 1
    assert other.profile("ada").preferences[0].sensitive == ("health",)


def test_a_wish_is_kept_after_the_user_agreed(opened: Open) -> None:
    memory = opened(sensitive="ask")
    memory.record("ada", Statement("be concise and brief"))
    with pytest.raises(ConsentNeededError, match=r"sensitive \(health\), and this memory asks") as caught:
        memory.record("ada", Statement(WISH))
    assert caught.value.sensitive == ("health",)
    assert pickle.loads(pickle.dumps(caught.value)).sensitive == ("health",)
    assert len(memory.events("ada")) == 1
    memory.record("ada", Statement(WISH), consented=True)
    assert memory.export("ada")["events"][1]["evidence"]["consented"] is True


def test_a_wish_is_kept_for_its_conversation(opened: Open) -> None:
    memory = opened(sensitive="conversation")
    with pytest.raises(ConsentNeededError, match="its conversation only, but names none"):
        memory.record("ada", Statement(WISH))
    memory.record("ada", Statement(WISH, thread="monday"))
    memory.record("ada", Statement("be concise and brief", thread="monday"))
    assert len(memory.condition("ada", thread="monday")) == 2
    assert [item.key for item in memory.condition("ada", thread="tuesday")] == ["length:concise"]
    assert memory.end_thread("ada", "tuesday") == 0
    assert memory.end_thread("ada", "monday") > 0
    assert [event.words for event in memory.events("ada")] == ["be concise and brief"]


def test_another_policy_is_refused() -> None:
    with pytest.raises(InvalidEventError, match="'keep', 'conversation' or 'ask', but is 'never'"):
        Values(sensitive="never")  # type: ignore[arg-type]
