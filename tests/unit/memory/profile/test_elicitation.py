"""The next question: it asks about what is least known, teaches what it promises, and stops when all is known."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from pad_memory import CATALOGUE, Statement
from pad_memory.errors import InvalidEventError
from pad_memory.events import Feedback
from pad_memory.profile.posterior import answer_chances

KEYS = {pole.text: f"{dimension.name}:{pole.name}" for dimension in CATALOGUE for pole in dimension.poles}


def answers(question):
    """Two answers that spell out the keys of the poles asked about."""
    return [" ".join(KEYS[text] for text in side) for side in (question.first, question.second)]


def test_chances_are_chances_and_fall_off_evenly():
    chances = answer_chances(np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    assert np.allclose(chances.sum(axis=-1), 1.0)
    assert np.allclose(chances[:, 0], chances[::-1, 1])
    assert chances.argmax(axis=-1).tolist() == [1, 1, 2, 0, 0]
    assert chances.min() >= 0.05


def test_chances_of_any_drive_are_finite():
    with np.errstate(over="raise", invalid="raise"):
        chances = answer_chances(np.array([-1e6, -200.0, 200.0, 1e6]))
    assert chances.round(9).tolist() == [[0.05, 0.9, 0.05]] * 2 + [[0.9, 0.05, 0.05]] * 2


def test_a_question_opposes_the_poles_of_one_or_two_dimensions(memory):
    question = memory.next_question("ada")
    poles = {dimension.name: {pole.text for pole in dimension.poles} for dimension in CATALOGUE}
    assert 1 <= len(question.dimensions) <= 2
    for name, first, second in zip(question.dimensions, question.first, question.second, strict=True):
        assert {first, second} == poles[name]
    assert 0 < question.gain < math.log(3)
    assert all(name in question.why for name in question.dimensions)
    gains = [other.gain for other in memory.questions("ada")]
    assert gains == sorted(gains, reverse=True)
    assert memory.next_question("ada") == question


def test_what_was_said_in_words_is_not_asked_again(memory):
    memory.record("ada", Statement(CATALOGUE[0].poles[0].text))
    assert memory.profile("ada").preferences[0].key == "length:concise"
    assert all(question.dimensions != ("length",) for question in memory.questions("ada"))


@pytest.mark.parametrize(("picked", "sign"), [(1, 1), (2, -1), (None, 0)])
def test_an_answer_moves_the_weights_its_way(memory, picked, sign):
    question = next(item for item in memory.questions("ada") if len(item.dimensions) == 1)
    before = memory.profile("ada").posterior
    event = question.choice("What is rust?", *answers(question), picked)
    assert event.tie is (picked is None)
    assert Feedback.from_dict(event.to_dict()) == event
    memory.record("ada", event)
    after = memory.profile("ada").posterior
    row = after.dimensions.index(question.dimensions[0])
    assert np.sign(np.round(after.mean_D[row], 9)) == sign
    cares = [(item.positive_D + item.negative_D)[row] for item in (before, after)]
    assert (cares[1] < cares[0]) if picked is None else (cares[1] > cares[0])


def test_bad_picks(memory):
    question = memory.next_question("ada")
    for picked in (0, 3, True, "1"):
        with pytest.raises(InvalidEventError, match="picked"):
            question.choice("What?", "a", "b", picked)
    with pytest.raises(InvalidEventError, match="different"):
        question.choice("What?", "a", "a", 1)


def test_no_difference_is_no_training_pair(memory):
    memory.record("ada", Statement("be concise and brief"))
    question = memory.next_question("ada")
    memory.record("ada", question.choice("What?", *answers(question), None))
    assert list(memory.export_pairs("ada")) == []


def test_a_user_who_answers_truly_is_known_after_ten_questions_and_left_alone_at_last(memory):
    rng = random.Random(0)
    for number in range(2):
        likes = {name: rng.choice((1, -1)) for name in rng.sample([d.name for d in CATALOGUE], 2)}
        asked = 0
        while (question := memory.next_question(f"user {number}")) and asked < 60:
            sides = {d.name: d.poles[0].text for d in CATALOGUE}
            liking = sum(
                likes.get(name, 0) * (1 if text == sides[name] else -1)
                for name, text in zip(question.dimensions, question.first, strict=True)
            )
            picked = None if liking == 0 else 1 if liking > 0 else 2
            memory.record(f"user {number}", question.choice("What?", *answers(question), picked))
            asked += 1
            if asked == 10:
                mean_D = memory.profile(f"user {number}").posterior.mean_D
                first = np.argsort(-np.abs(mean_D))[:2]
                found = {CATALOGUE[row].name: int(np.sign(mean_D[row])) for row in first}
                assert found == likes
        assert 10 <= asked < 60
