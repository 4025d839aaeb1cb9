"""Answers that are kept for a while, on every kind of store: found by their user, erased with them and at their end."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import pytest

from memory_places import Place
from pad_memory import PreferenceMemory, Statement, Thumb
from pad_memory.errors import InvalidEventError, UnknownResponseError

HOUR = timedelta(hours=1)
TEXTS = ("what is rust?", "length:concise")


def keep(memory: PreferenceMemory, *pairs: tuple[str, str], span: timedelta = HOUR) -> int:
    for user, response_id in pairs:
        memory.answered(user, response_id, *TEXTS)
    count = memory.keep_answers(pairs, span)
    memory.responses.clear()
    return count


def judged(memory: PreferenceMemory, user: str, response_id: str) -> tuple[str, str] | None:
    """The texts that feedback by id finds."""
    try:
        memory.record(user, Thumb(response_id=response_id, up=True, id=f"on {response_id}"))
    except UnknownResponseError:
        return None
    event = next(event for event in memory.events(user) if event.id == f"on {response_id}")
    assert isinstance(event, Thumb)
    return event.prompt or "", event.response or ""


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_an_answer_is_found_after_a_restart_by_its_own_user_only(place: Place) -> None:
    if not place.lasting:
        pytest.skip("nothing lasts here")
    with place.open() as memory:
        assert keep(memory, ("ada", "r1"), ("bob", "r2")) == 2
    with place.open() as memory:
        assert memory.users() == []  # an answer says nothing about anybody
        assert judged(memory, "bob", "r1") is None
        assert judged(memory, "ada", "r2") is None
        assert judged(memory, "ada", "r1") == TEXTS
    with place.open(tenant="other") as stranger:
        assert judged(stranger, "ada", "r1") is None


def test_answers_that_were_never_given_are_not_kept(written: PreferenceMemory) -> None:
    assert written.keep_answers([("ada", "r1")], HOUR) == 0
    assert judged(written, "ada", "r1") is None


def test_kept_again_an_answer_is_the_newer_one(written: PreferenceMemory) -> None:
    keep(written, ("ada", "r1"))
    written.answered("ada", "r1", "what is copper?", "tone:casual")
    written.keep_answers([("ada", "r1")], HOUR)
    written.responses.clear()
    assert judged(written, "ada", "r1") == ("what is copper?", "tone:casual")


def test_an_answer_is_not_found_after_its_end(written: PreferenceMemory) -> None:
    keep(written, ("ada", "r1"), span=timedelta(milliseconds=1))
    keep(written, ("ada", "r2"))
    time.sleep(0.01)
    assert judged(written, "ada", "r1") is None
    assert [one["id"] for one in written.export("ada")["answers"]] == ["r2"]
    written.expire_answers()
    assert judged(written, "ada", "r2") == TEXTS


def test_a_user_has_them_exported_and_erased(written: PreferenceMemory) -> None:
    keep(written, ("ada", "r1"), ("ada", "r2"), ("bob", "r3"))
    exported = written.export("ada")
    (first, second) = exported["answers"]
    assert (first["id"], first["prompt"], first["response"]) == ("r1", *TEXTS)
    assert 3590 < first["until"] - time.time() < 3601
    assert second["id"] == "r2"
    assert "answers" not in written.export("eve")
    assert written.import_(exported) == 0
    assert written.forget("ada") == 2
    assert judged(written, "ada", "r1") is None
    assert judged(written, "bob", "r3") == TEXTS


def test_an_event_that_is_forgotten_takes_its_users_answers_along(written: PreferenceMemory) -> None:
    keep(written, ("ada", "r1"))
    event = written.record("ada", Statement("be brief"))
    written.forget("ada", event)
    assert judged(written, "ada", "r1") is None


def test_who_is_forgotten_while_their_answer_is_written_is_forgotten(
    written: PreferenceMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    written.answered("ada", "r1", *TEXTS)
    answers = written._ledger.answers
    write = answers.keep

    def forgotten_first(rows: object) -> None:
        written.forget("ada")
        write(rows)  # type: ignore[arg-type]

    monkeypatch.setattr(answers, "keep", forgotten_first)
    written.keep_answers([("ada", "r1")], HOUR)
    assert judged(written, "ada", "r1") is None


def test_an_idle_user_is_erased_with_their_answers(written: PreferenceMemory) -> None:
    written.record("ada", Statement("be brief", time=1.0))
    keep(written, ("ada", "r1"))
    written.forget_idle(HOUR, dry_run=False)
    assert judged(written, "ada", "r1") is None


def test_answers_move_to_the_user_that_another_becomes(written: PreferenceMemory) -> None:
    keep(written, ("guest", "r1"), ("guest", "r2"))
    written.answered("ada", "r2", "what is copper?", "tone:casual")
    written.keep_answers([("ada", "r2")], HOUR)
    written.responses.clear()
    written.record("guest", Statement("be brief"))
    written.merge("guest", "ada")
    assert judged(written, "guest", "r1") is None
    assert judged(written, "ada", "r1") == TEXTS
    assert judged(written, "ada", "r2") == ("what is copper?", "tone:casual")


@pytest.mark.parametrize("span", [timedelta(0), timedelta(days=-1), 3600, None])
def test_a_span_that_is_none_is_refused(written: PreferenceMemory, span: timedelta) -> None:
    with pytest.raises(InvalidEventError, match="span"):
        written.keep_answers([], span)


def test_no_byte_of_an_answer_stays_in_a_folder(tmp_path: Path) -> None:
    place = Place({"path": tmp_path})
    with place.open() as memory:
        judged(memory, "ada", "r0")
        memory.forget("ada")
        assert not (tmp_path / "answers.sqlite3").exists()  # nothing was kept, so nothing is written
        memory.answered("ada", "r1", "a secret question", "a secret answer")
        memory.answered("bob", "r2", "a brief question", "a brief answer")
        memory.keep_answers([("ada", "r1")], HOUR)
        memory.keep_answers([("bob", "r2")], timedelta(milliseconds=1))
        assert b"a secret question" in bytes_of(tmp_path)
        time.sleep(0.01)
        memory.expire_answers()
        assert b"a brief" not in bytes_of(tmp_path)
        memory.forget("ada")
        assert b"a secret" not in bytes_of(tmp_path)


@pytest.mark.slow
def test_an_answer_that_one_server_gave_is_found_by_another(request: pytest.FixtureRequest) -> None:
    url = request.getfixturevalue("running_server").url
    place = Place({"url": url}, tenant="replicas")
    with place.open() as one, place.open() as other:
        keep(one, ("ada", "r1"))
        assert judged(other, "ada", "r1") == TEXTS
        other.forget("ada")
        assert judged(one, "ada", "r1") is None
