"""What is done with all that is kept of a user, on every kind of store: merged, and erased after a long silence."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from fakes import likes
from pad_memory import PreferenceMemory, Statement, Thumb
from pad_memory.errors import InvalidEventError

DAY = 86_400.0


# One user becomes part of another


def test_a_merged_user_is_as_if_one_had_said_it_all(written: PreferenceMemory) -> None:
    told = [
        ("guest", Statement("short answers", id="a", time=1.0, metadata={"page": 3})),
        ("ada", Statement("call me Sam", id="b", time=2.0)),
        ("guest", Statement("call me Max", id="c", time=3.0)),
        ("ada", Statement("long answers", id="d", time=4.0)),
        ("guest", Thumb("q", "tone:casual", True, id="e", time=5.0)),
    ]
    for user, event in told:
        written.record(user, event)
        written.record("one", event)
    written.items.put("guest", ("notes",), "dog", {"name": "Rex"}, "a dog named Rex")
    assert written.merge("guest", "ada") == 4
    assert likes(written, "ada") == likes(written, "one") == ["length:detailed", "call me Max"]
    assert written.profile("ada").posterior.mean_D.tolist() == written.profile("one").posterior.mean_D.tolist()
    assert [(item.text, item.origins) for item in written.history("ada")] == [
        ("be concise and brief", ("guest",)),
        ("call me Sam", ()),
        ("call me Max", ("guest",)),
        ("be detailed and thorough", ()),
    ]
    assert "call me Max (stated, confidence 0.90, 1 event, said as 'guest')" in written.condition("ada").explain()
    assert [(event.id, event.user) for event in written.events("ada")] == [(id, "ada") for id in "abcde"]
    assert written.events("ada")[0].metadata == {"page": 3}
    assert written.items.get("ada", ("notes",), "dog").value == {"name": "Rex"}  # type: ignore[union-attr]
    assert written.users() == ["ada", "one"]
    assert (written.events("guest"), written.items.search("guest")) == ((), [])
    assert [written.undo("ada") for _ in range(3)] == ["e", "d", "c"]
    assert likes(written, "ada") == ["call me Sam", "length:concise"]


def test_a_merged_user_is_merged_once(written: PreferenceMemory) -> None:
    written.record("guest", Statement("short answers", id="a"))
    written.items.put("guest", (), "dog", {"name": "Rex"})
    assert written.merge("guest", "ada") == 2
    before = written.export("ada")
    assert written.merge("guest", "ada") == 0
    assert written.export("ada") == before
    for user in ("nobody", "guest"):
        with pytest.raises(InvalidEventError, match=f"Nothing is known of '{user}', so there is nothing to merge"):
            written.merge(user, "bob")
    with pytest.raises(InvalidEventError, match="two different users, but both are 'ada'"):
        written.merge("ada", "ada")
    written.record("guest", Statement("no jokes", id="b"))  # a page that was still open
    assert written.merge("guest", "ada") == 1
    assert likes(written, "ada") == ["humor:serious", "length:concise"]


# Those nothing was heard of


def test_idle_users_are_named_and_then_erased(written: PreferenceMemory) -> None:
    now = time.time()
    for number in range(6):
        written.record(f"old {number}", Statement("call me Sam", time=now - 400 * DAY))
    written.record("back", Statement("no jokes", time=now - 400 * DAY))
    written.record("back", Statement("short answers", time=now - 300 * DAY))
    written.record("notes", Statement("no jokes", time=now - 400 * DAY))
    written.items.put("notes", (), "dog", {"name": "Rex"})
    parts: list[tuple[int, int]] = []
    idle = written.forget_idle(timedelta(days=365), progress=lambda done, all: parts.append((done, all)))
    assert [(one.user, one.events, one.items) for one in idle] == [(f"old {number}", 1, 0) for number in range(6)]
    assert idle[0].last == pytest.approx(now - 400 * DAY)
    assert parts == [(number, len(parts)) for number in range(1, len(parts) + 1)]
    assert len(written.users()) == 8
    assert written.forget_idle(timedelta(days=365), dry_run=False) == idle
    assert written.users() == ["back", "notes"]
    assert likes(written, "old 0") == []
    assert likes(written, "back") == ["length:concise", "humor:serious"]
    assert written.forget_idle(timedelta(days=365), dry_run=False) == ()


def test_a_retention_that_was_interrupted_is_finished_by_the_next(written: PreferenceMemory) -> None:
    for number in range(8):
        written.record(f"old {number}", Statement("no jokes", time=1.0))
    told: list[str] = []
    written.attach(on_forget=lambda: told.append("forgotten"))

    def stops(done: int, of: int) -> None:
        # Which part a user is in depends on the tenant.
        if len(written.users()) < 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        written.forget_idle(timedelta(days=1), dry_run=False, progress=stops)
    left = written.users()
    assert 0 < len(left) < 8
    assert [one.user for one in written.forget_idle(timedelta(days=1), dry_run=False)] == left
    assert written.users() == []
    assert told == ["forgotten"] * 2


@pytest.mark.parametrize("span", [timedelta(0), timedelta(days=-1), 365, None])
def test_a_span_that_is_none_is_refused(span: object) -> None:
    with (
        PreferenceMemory() as memory,
        pytest.raises(InvalidEventError, match="older_than has to be a timedelta above 0"),
    ):
        memory.forget_idle(span)  # type: ignore[arg-type]
    with pytest.raises(InvalidEventError, match="last_known has to be a timedelta above 0"):
        PreferenceMemory(last_known=span or 0)  # type: ignore[arg-type]
