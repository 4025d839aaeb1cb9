"""Wishes with a time: they hold while it lasts, cover what stands, and are said to have expired."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pad_langchain.testing import HashEmbedder
from pad_memory import CATALOGUE, PreferenceMemory, Statement, Values
from pad_memory.profile import fold

HOUR, DAY = 3600.0, 86_400.0
NOON = datetime(2026, 3, 11, 12, tzinfo=ZoneInfo("UTC")).timestamp()  # a Wednesday
BRIEF, DETAILED = "be concise and brief", "be detailed and thorough"


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.time", clock)
    return clock


@pytest.fixture
def memory(clock: Clock) -> Iterator[PreferenceMemory]:
    with PreferenceMemory(embedder=HashEmbedder(), values=Values(classifier=False)) as memory:
        yield memory


def keys(memory: PreferenceMemory, **about: str) -> list[str]:
    return [item.key for item in memory.condition("ada", **about)]  # type: ignore[arg-type]


def test_until_friday_it_covers_what_stands(memory: PreferenceMemory, clock: Clock) -> None:
    memory.record("ada", Statement(DETAILED))
    clock.now += 1
    memory.record("ada", Statement(f"Until Friday, {BRIEF}."))
    assert keys(memory) == ["length:concise"]
    (holds,) = memory.profile("ada").preferences
    assert holds.valid_to == NOON + 2.5 * DAY
    assert [item.key for item in memory.profile("ada").later] == ["length:detailed"]
    assert "until Sat 2026-03-14 00:00 UTC" in memory.condition("ada").explain()
    assert f"left out: {DETAILED} (until Sat 2026-03-14 00:00 UTC “{BRIEF}” holds)" in memory.condition("ada").explain()
    clock.now = NOON + 2.5 * DAY - 1
    assert keys(memory) == ["length:concise"]
    clock.now += 1
    assert keys(memory) == ["length:detailed"]
    (past,) = memory.profile("ada").history
    assert (past.key, past.expired, past.ended_by, past.valid_to) == ("length:concise", True, None, NOON + 2.5 * DAY)
    assert f"left out: {BRIEF} (expired Sat 2026-03-14 00:00 UTC)" in memory.condition("ada").explain()
    assert [item.expired for item in memory.history("ada")] == [False, True]


def test_from_tomorrow_on_it_replaces_what_stands(memory: PreferenceMemory, clock: Clock) -> None:
    memory.record("ada", Statement(DETAILED))
    event_id = memory.record("ada", Statement(f"From tomorrow on, {BRIEF}."))
    assert keys(memory) == ["length:detailed"]
    assert f"left out: {BRIEF} (from Thu 2026-03-12 00:00 UTC on)" in memory.condition("ada").explain()
    clock.now += DAY
    assert keys(memory) == ["length:concise"]
    (past,) = memory.profile("ada").history
    assert (past.key, past.expired, past.ended_by, past.valid_to) == (
        "length:detailed",
        False,
        event_id,
        NOON + DAY / 2,
    )


def test_for_three_answers(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement(f"For the next three answers, {BRIEF}.", id="wish"))
    for left in (3, 2, 1):
        (holds,) = memory.condition("ada")
        assert holds.answers_left == left
        kept = memory.answering("ada", f"r{left}", "q")
        assert kept is not None
        kept("an answer")
    assert keys(memory) == []
    (past,) = memory.profile("ada").history
    assert (past.expired, past.answers_left) == (True, 0)
    assert len(memory.responses) == 3
    memory.undo("ada")  # takes the wish back, not a count
    assert memory.profile("ada").history == ()
    memory.forget("ada", "wish")
    assert memory.events("ada") == ()


def test_answers_count_in_the_conversation_of_the_wish_and_where_the_memory_steers(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement(f"For the next 2 answers, {BRIEF}.", thread="monday"))
    memory.answering("ada", "r1", "q", "tuesday")
    memory.answering("ada", "r2", "q", "monday", counted=False)
    assert memory.profile("ada").preferences[0].answers_left == 2
    memory.answering("ada", "r3", "q", "monday")
    assert memory.profile("ada").preferences[0].answers_left == 1


def test_the_latest_word_that_holds_covers_the_others(memory: PreferenceMemory, clock: Clock) -> None:
    memory.record("ada", Statement(f"This week, {BRIEF}."))
    memory.record("ada", Statement(f"Today, {DETAILED}."))
    assert keys(memory) == ["length:detailed"]
    clock.now += DAY
    assert keys(memory) == ["length:concise"]
    clock.now += 7 * DAY
    assert keys(memory) == []
    assert [item.key for item in memory.profile("ada").history] == ["length:detailed", "length:concise"]


def test_a_lasting_wish_ends_those_for_a_time(memory: PreferenceMemory, clock: Clock) -> None:
    memory.record("ada", Statement(f"Until Friday, {BRIEF}."))
    clock.now += HOUR
    event_id = memory.record("ada", Statement(DETAILED))
    assert keys(memory) == ["length:detailed"]
    (past,) = memory.profile("ada").history
    assert (past.expired, past.ended_by) == (False, event_id)


def test_a_time_in_the_past_is_expired_at_once(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement(f"Until 3 March 2020, {BRIEF}."))
    assert keys(memory) == []
    assert memory.profile("ada").history[0].expired


def test_until_never_limits_nothing(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement("Call me Max until never."))
    assert memory.profile("ada").preferences[0].valid_to is None


def test_a_clock_that_jumps_changes_what_holds_and_nothing_else(memory: PreferenceMemory, clock: Clock) -> None:
    memory.record("ada", Statement(f"Until Friday, {BRIEF}."))
    clock.now += 365 * DAY
    assert keys(memory) == []
    memory.record("ada", Statement("use emojis"))
    clock.now = NOON + HOUR  # set right again
    memory.record("ada", Statement("use a formal and polite tone today"))
    assert keys(memory) == ["tone:formal", "emoji:emoji", "length:concise"]
    clock.now = NOON - 30 * DAY
    assert "length:concise" in keys(memory)


def test_an_imported_event_means_the_day_it_was_said(memory: PreferenceMemory) -> None:
    memory.record("ada", Statement(f"Until Friday, {BRIEF}.", time=NOON - 30 * DAY))
    assert memory.profile("ada").history[0].valid_to == NOON - 25.5 * DAY  # Monday, 9 February; Friday is the 13th


def test_a_day_is_one_of_the_users_zone(memory: PreferenceMemory, clock: Clock) -> None:
    memory.set_time_zone("ada", "Asia/Tokyo")
    clock.now = NOON + 4 * HOUR  # one o'clock at night there
    memory.record("ada", Statement(f"Today, {BRIEF}."))
    (holds,) = memory.profile("ada").preferences
    assert holds.valid_to == NOON + 27 * HOUR
    assert "until Fri 2026-03-13 00:00 JST" in memory.condition("ada").explain()
    assert memory.profile("ada").time_zone == "Asia/Tokyo"


def test_replaying_the_events_gives_the_live_profile_at_any_time(memory: PreferenceMemory, clock: Clock) -> None:
    memory.record("ada", Statement(DETAILED))
    memory.record("ada", Statement(f"Until Friday, {BRIEF}."))
    memory.record("ada", Statement("From Monday on, use emojis."))
    memory.record("ada", Statement("For the next answer, use a formal and polite tone."))
    memory.answering("ada", "r", "q")
    exported = memory.export("ada")
    with PreferenceMemory(embedder=HashEmbedder(), values=Values(classifier=False)) as other:
        other.import_(exported)
        for days in (0, 1, 3, 6):
            clock.now = NOON + days * DAY
            live = memory.profile("ada")
            assert other.profile("ada").to_json() == live.to_json()
            records = memory._ledger.records(memory._ledger.owner("ada"))
            assert fold(records[::-1], CATALOGUE, at=clock.now).to_json() == live.to_json()
            assert memory.profile("ada", at=clock.now).to_json() == live.to_json()


def test_a_wish_of_the_users_own_words_keeps_its_matter(memory: PreferenceMemory, clock: Clock) -> None:
    memory.record("ada", Statement("call me Sam"))
    memory.record("ada", Statement("Until Friday, call me Max."))
    assert [item.text for item in memory.condition("ada")] == ["call me Max."]
    clock.now += 7 * DAY
    assert [item.text for item in memory.condition("ada")] == ["call me Sam"]
