"""Feedback by response id: the log is bounded and expires, each user's answers apart."""

from __future__ import annotations

import math
from collections import deque
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import PoleScorer, WordEmbedder
from pad_memory import Choice, Critique, Edit, Feedback, PreferenceMemory, Rating, Thumb
from pad_memory.errors import InvalidEventError, UnknownResponseError
from pad_memory.sources.responses import ResponseLog


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def answered():
    with PreferenceMemory(embedder=WordEmbedder(), scorer=PoleScorer()) as memory:
        memory.responses.add("ada", "r1", "what is rust?", "length:concise")
        memory.responses.add("ada", "r2", "what is rust?", "length:detailed")
        yield memory


# ---- events that name their answer


@pytest.mark.parametrize(
    ("by_id", "in_full"),
    [
        (Thumb(response_id="r1", up=True), Thumb("what is rust?", "length:concise", True, response_id="r1")),
        (Rating(response_id="r1", rating=2), Rating("what is rust?", "length:concise", 2.0, response_id="r1")),
        (Edit(response_id="r1", edited="new"), Edit("what is rust?", "length:concise", "new", response_id="r1")),
        (Critique(response_id="r2", text="bad"), Critique("what is rust?", "length:detailed", "bad", response_id="r2")),
        (
            Choice(chosen_id="r1", rejected_id="r2"),
            Choice("what is rust?", "length:concise", "length:detailed", chosen_id="r1", rejected_id="r2"),
        ),
    ],
)
def test_a_response_id_stands_for_the_texts(answered, by_id, in_full):
    id = answered.record("ada", by_id)
    (event,) = answered.events("ada")
    assert event == in_full.stamped(id=id, time=event.time, user="ada", tenant=event.tenant)
    assert Feedback.from_dict(event.to_dict()) == event


def test_feedback_by_id_teaches_as_feedback_with_texts_does(answered):
    answered.record("ada", Thumb(response_id="r1", up=True, id="1", time=1.0))
    answered.record("ada", Choice(chosen_id="r1", rejected_id="r2", id="2", time=2.0))
    answered.record("bob", Thumb("what is rust?", "length:concise", True, id="1", time=1.0))
    answered.record("bob", Choice("what is rust?", "length:concise", "length:detailed", id="2", time=2.0))
    assert answered.profile("ada").to_json() == answered.profile("bob").to_json()
    assert answered.profile("ada").posterior.mean_D[0] > 0.2


def test_what_was_recorded_outlives_the_log(tmp_path: Path):
    with PreferenceMemory(tmp_path, embedder=WordEmbedder()) as memory:
        memory.responses.add("ada", "r1", "q", "a")
        memory.record("ada", Thumb(response_id="r1", up=True, id="x"))
        memory.responses.clear()
        assert memory.record("ada", Thumb(response_id="r1", up=True, id="x")) == "x", "it is known by its id"
        events = memory.events("ada")
    with PreferenceMemory(tmp_path, embedder=WordEmbedder()) as memory:
        assert memory.events("ada") == events
        assert (events[0].prompt, events[0].response, events[0].response_id) == ("q", "a", "r1")


@pytest.mark.parametrize("user", ["bob", "*", "ADA", "ada ", "%", "ad_"])
def test_another_users_response_id_is_refused(answered, user):
    with pytest.raises(UnknownResponseError) as foreign:
        answered.record(user, Thumb(response_id="r1", up=True))
    with pytest.raises(UnknownResponseError) as unheard_of:
        answered.record(user, Thumb(response_id="r9", up=True))
    assert str(foreign.value).replace("r1", "r9") == str(unheard_of.value), "the message must not tell them apart"
    assert "prompt=… and response=…" in str(foreign.value)
    assert answered.events(user) == ()


def test_a_choice_needs_two_answers_of_the_user_to_one_prompt(answered):
    answered.responses.add("bob", "r3", "what is rust?", "other")
    answered.responses.add("ada", "r4", "what is copper?", "other")
    with pytest.raises(UnknownResponseError):
        answered.record("ada", Choice(chosen_id="r1", rejected_id="r3"))
    with pytest.raises(InvalidEventError, match=r"two answers to one prompt.*rust.*copper"):
        answered.record("ada", Choice(chosen_id="r1", rejected_id="r4"))
    assert answered.events("ada") == ()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Thumb(up=True), "Thumb.prompt has to be text that is not empty"),
        (lambda: Thumb(response_id="r1"), "Thumb.up has to be a valid boolean, but is None"),
        (lambda: Rating(response_id="r1"), "Rating.rating has to be .* but is None"),
        (lambda: Thumb(response_id=" ", up=True), "Thumb.response_id has to be text that is not empty"),
        (lambda: Thumb(response_id=7, up=True), "Thumb.response_id .* but is 7"),
        (lambda: Thumb(response="a", response_id="r1", up=True), "Thumb.prompt"),
        (lambda: Edit(response_id="r1"), "Edit.edited"),
        (lambda: Critique(response_id="r1"), "Critique.text"),
        (lambda: Choice(chosen_id="r1", rejected_id="r1"), "two different responses, but both are 'r1'"),
        (lambda: Choice(chosen_id="r1"), "Choice.prompt"),
        (lambda: Choice(chosen_id="r1", rejected_id=""), "Choice.rejected_id"),
    ],
)
def test_incomplete_feedback_is_refused(make, message):
    with pytest.raises(InvalidEventError, match=message):
        make()


def test_an_edit_that_changes_nothing_is_refused_when_its_answer_is_found(answered):
    with pytest.raises(InvalidEventError, match="changed text"):
        answered.record("ada", Edit(response_id="r1", edited="length:concise"))


def test_forget_and_close_empty_the_log(answered):
    answered.responses.add("bob", "r3", "q", "a")
    answered.forget("ada")
    with pytest.raises(UnknownResponseError):
        answered.responses.find("ada", "r1")
    assert answered.responses.find("bob", "r3") == ("q", "a")
    answered.close()
    assert len(answered.responses) == 0


# ---- the log


def test_answers_expire():
    clock = Clock()
    log = ResponseLog(seconds=10, clock=clock)
    log.add("ada", "r1", "q", "one")
    clock.now = 8
    log.add("ada", "r2", "q", "two")
    clock.now = 10
    assert log.find("ada", "r1") == ("q", "one")
    clock.now = 10.5
    with pytest.raises(UnknownResponseError, match="within the last 10 seconds and 100 answers"):
        log.find("ada", "r1")
    assert len(log) == 1
    log.add("ada", "r2", "q", "two again")
    clock.now = 20
    assert log.find("ada", "r2") == ("q", "two again"), "its time counts from the last time it was given"


def test_one_user_cannot_push_out_the_others():
    log = ResponseLog(per_user=3)
    log.add("bob", "b", "q", "a")
    for number in range(10):
        log.add("ada", f"a{number}", "q", "a")
    assert log.find("bob", "b") == ("q", "a")
    assert [number for number in range(10) if _has(log, "ada", f"a{number}")] == [7, 8, 9]


def test_an_answer_without_text_is_not_kept():
    log = ResponseLog()
    log.add("ada", "r1", "q", " ")
    log.add("ada", "r2", "", "a")
    assert len(log) == 0


def test_an_answer_over_the_limit_is_not_kept():
    log = ResponseLog(characters=10)
    log.add("ada", "r1", "q", "a")
    log.add("ada", "r2", "q", "a" * 10)
    assert len(log) == 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"seconds": 0}, "seconds has to be a finite number above 0, but is 0"),
        ({"seconds": math.inf}, "but is inf"),
        ({"per_user": 0}, "per_user has to be a whole number of at least 1, but is 0"),
        ({"answers": 1.5}, "answers has to be"),
        ({"characters": True}, "characters has to be"),
    ],
)
def test_bad_limits_are_refused(limits, message):
    with pytest.raises(InvalidEventError, match=message):
        ResponseLog(**limits)


_USERS = st.sampled_from(["ada", "bob", "*"])
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), _USERS, st.integers(0, 6), st.text("ab", min_size=1, max_size=6)),
        st.tuples(st.just("forget"), _USERS),
        st.tuples(st.just("move"), _USERS, _USERS),
        st.tuples(st.just("wait"), st.floats(0, 6)),
    ),
    max_size=40,
)


@given(_STEPS)
def test_it_behaves_as_a_list_of_the_newest(steps):
    clock = Clock()
    log = ResponseLog(seconds=10, per_user=3, answers=5, characters=20, clock=clock)
    kept: deque[tuple[str, str, str, float]] = deque()  # oldest first
    for step in steps:
        if step[0] == "wait":
            clock.now += step[1]
        elif step[0] == "forget":
            log.forget(step[1])
            kept = deque(row for row in kept if row[0] != step[1])
        elif step[0] == "move":
            source, into = step[1:]
            log.move(source, into)
            have = {row[1] for row in kept if row[0] == into and source != into}
            rows = (row for row in kept if row[0] != source or row[1] not in have)
            kept = deque((into, *row[1:]) if row[0] == source else row for row in rows)
            for row in [row for row in kept if row[0] == into][:-3]:
                kept.remove(row)
        else:
            _, user, number, text = step
            log.add(user, f"r{number}", "q", text)
            kept = deque(row for row in kept if row[:2] != (user, f"r{number}"))
            kept.append((user, f"r{number}", text, clock.now))
            mine = [row for row in kept if row[0] == user]
            if len(mine) > 3:
                kept.remove(mine[0])
            while len(kept) > 5 or sum(1 + len(row[2]) for row in kept) > 20:
                kept.popleft()
        kept = deque(row for row in kept if row[3] >= clock.now - 10)
        assert len(log) == len(kept)
        for user, id, text, _ in kept:
            assert log.find(user, id) == ("q", text)
    assert sum(_has(log, user, f"r{number}") for user in ("ada", "bob", "*") for number in range(7)) == len(kept)


def _has(log: ResponseLog, user: str, id: str) -> bool:
    try:
        log.find(user, id)
    except UnknownResponseError:
        return False
    return True
