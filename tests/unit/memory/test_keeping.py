"""What is kept of a user at all: pausing, in one process and in others."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from pad_langchain.testing import HashEmbedder
from pad_memory import PreferenceMemory, Statement, Thumb, Values
from pad_memory.errors import InvalidEventError, PausedError, StoreError
from pad_memory.events import Feedback, Setting

WISH = "be concise and brief"


@pytest.fixture
def memory() -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=HashEmbedder(), values=Values(classifier=False)) as memory:
        yield memory


def test_nothing_is_recorded_of_a_user_who_paused_until_they_resume(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement(WISH))
    memory.pause("ada")
    memory.pause("ada")
    assert memory.paused("ada")
    assert memory.profile("ada").paused
    for event in (Statement("use emojis"), Thumb("q", "r", True)):
        with pytest.raises(PausedError, match=r"Nothing of 'ada' is recorded.*memory.resume\('ada'\)"):
            memory.record("ada", event)
    with pytest.raises(PausedError):
        memory.items.put("ada", ("notes",), "a", {"text": "b"})
    assert memory.answering("ada", "r1", "q") is None
    assert [item.key for item in memory.condition("ada")] == ["length:concise"]
    assert [event.kind for event in memory.events("ada")] == ["statement", "setting"]
    memory.record("bob", Statement("use emojis"))
    memory.resume("ada")
    memory.record("ada", Statement("use emojis"))
    assert len(memory.condition("ada")) == 2
    assert not memory.paused("ada")


def test_undo_takes_back_what_was_said_and_no_setting(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement(WISH))
    memory.set_time_zone("ada", "Europe/Berlin")
    memory.pause("ada")
    memory.undo("ada")
    assert memory.profile("ada").preferences == ()
    assert memory.paused("ada")


def test_a_pause_outlives_the_process_and_a_merge(tmp_path: Path) -> None:
    values = Values(classifier=False)
    with PreferenceMemory(tmp_path / "m", embedder=HashEmbedder(), values=values) as memory:
        memory.pause("ada")
        memory.record("guest", Statement(WISH))
    with PreferenceMemory(tmp_path / "m", embedder=HashEmbedder(), values=values) as memory:
        assert memory.paused("ada")
        memory.merge("guest", "ada")
        assert memory.paused("ada")
        assert [item.key for item in memory.profile("ada").preferences] == ["length:concise"]
        memory.forget("ada")
        assert not memory.paused("ada")


def test_a_zone_that_does_not_exist_is_refused_and_none_is_kept(memory: PreferenceMemory) -> None:
    for set_it in (
        lambda: memory.set_time_zone("ada", "Mars/Olympus"),
        lambda: memory.record("ada", Setting("time_zone", "Mars/Olympus")),
        lambda: memory.record("ada", Setting("paused", "perhaps")),
    ):
        with pytest.raises(InvalidEventError):
            set_it()
    assert memory.events("ada") == ()


def test_settings_and_errors_are_read_back() -> None:
    event = Setting("paused", "yes", id="s", time=1.0)
    assert Feedback.from_dict(event.to_dict()) == event
    assert pickle.loads(pickle.dumps(PausedError("ada"))).user == "ada"


def test_an_answer_goes_on_where_it_cannot_be_counted(
    memory: PreferenceMemory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise StoreError("the disk is full")

    memory.record("ada", Statement(f"For the next two answers, {WISH}."))
    monkeypatch.setattr(memory._ledger, "append", fails)
    with caplog.at_level(logging.WARNING):
        assert memory.answering("ada", "r1", "q") is None
    assert "neither kept nor counted" in caplog.text


async def test_the_same_calls_as_coroutines(memory: PreferenceMemory) -> None:
    await memory.aio.set_time_zone("ada", "Europe/Berlin")
    await memory.aio.pause("ada")
    assert await memory.aio.paused("ada")
    await memory.aio.resume("ada")
    await memory.aio.record("ada", Statement("I have asthma, be calm."), consented=True)
    assert await memory.aio.end_thread("ada", "monday") == 0
