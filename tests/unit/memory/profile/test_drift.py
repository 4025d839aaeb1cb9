"""A taste that changes without a word is flagged with its evidence, asked about, and followed; words stay."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_memory import CATALOGUE, Choice, Edit, Feedback, Rating, Statement, Thumb
from pad_memory.evidence import Evidence, Recorded
from pad_memory.language.reader import Reading
from pad_memory.profile import Drift, Profile, fold, questions
from pad_memory.profile.population import Population

LONG, SHORT = "length:detailed", "length:concise"
DAY = 86_400.0


def judged(number: int, x: float, name: str = "length", *, after: float = 0.0) -> Recorded:
    """A choice for an answer of style x over its opposite, one a day."""
    event = Choice("q", f"{number} a", f"{number} b", id=f"e{number}", time=after + number * DAY)
    return Recorded(event, number, Evidence(styles=({name: x}, {name: -x})))


def said(number: int, key: str) -> Recorded:
    event = Statement(key, id=f"e{number}", time=number * DAY)
    return Recorded(event, number, Evidence(readings=(Reading(key, key),)))


def history(*styles: float) -> list[Recorded]:
    return [judged(number, x) for number, x in enumerate(styles)]


def concluded(profile: Profile) -> list[str]:
    return [item.key for item in profile.preferences]


def test_a_change_is_flagged_within_ten_with_its_evidence_and_followed() -> None:
    before = history(*[-0.8] * 20)
    assert concluded(fold(before, CATALOGUE)) == [LONG]
    flagged = None
    for count in range(1, 11):
        profile = fold([*before, *history(*[-0.8] * 20, *[0.8] * count)[20:]], CATALOGUE)
        if flagged is None and profile.drifts:
            flagged = count, profile
    assert flagged is not None
    assert 3 <= flagged[0] <= 10
    (drift,) = profile.drifts
    assert (drift.dimension, drift.before, drift.after, drift.stated) == ("length", LONG, SHORT, False)
    assert drift.since == 20 * DAY
    assert drift.evidence == tuple(f"e{number}" for number in range(20, 30))
    assert "10 of your last 10 judgements that bear on length point to “be concise and brief”" in drift.why
    assert concluded(profile) == [SHORT]
    assert profile.why(SHORT).startswith("10 of 10 of your judgements that bear on length, since your taste changed,")
    assert profile.to_dict()["drifts"] == [drift.to_dict()]


def test_a_flag_lowers_certainty_and_is_asked_about_first() -> None:
    profile = next(
        profile for count in range(1, 11) if (profile := fold(history(*[-0.8] * 20, *[0.8] * count), CATALOGUE)).drifts
    )
    posterior = profile.posterior
    assert max(posterior.positive_D[0], posterior.negative_D[0]) < 0.65  # neither pole steers
    first, *others = questions(posterior, CATALOGUE, profile.drifts)
    assert first.dimensions == ("length",)
    assert first.why.startswith("You liked “be detailed and thorough”, but")
    assert sum(question.dimensions == ("length",) for question in [first, *others]) == 1
    assert sorted(others, key=lambda question: -question.gain) == others


def test_without_contrary_judgements_nothing_is_flagged_and_no_byte_changes() -> None:
    profile = fold(history(*[-0.8] * 30), CATALOGUE)
    assert profile.drifts == ()
    assert "drifts" not in profile.to_dict()


def test_a_few_wrong_judgements_flag_nothing() -> None:
    styles = [-0.8] * 40
    for place in (5, 6, 20, 33, 38):
        styles[place] = 0.8
    assert fold(history(*styles), CATALOGUE).drifts == ()


def test_what_the_memory_never_knew_cannot_change() -> None:
    assert fold(history(*[-0.3, 0.3] * 10, *[0.5] * 4), CATALOGUE).drifts == ()


def test_one_answer_judged_in_many_ways_counts_less_than_many_answers() -> None:
    def about(answers: int) -> Profile:
        records = history(*[-0.9] * 15)
        kinds: list[type[Feedback]] = [Thumb, Rating, Edit]
        for number in range(15, 15 + 3 * answers):
            answer, kind = f"answer {number // 3}", kinds[number % 3]
            event: Feedback = (
                Thumb("q", answer, up=False)
                if kind is Thumb
                else Rating("q", answer, rating=1)
                if kind is Rating
                else Edit("q", answer, edited=f"{answer} shorter")
            )
            styles = ({"length": 0.5}, {"length": -0.9}) if kind is Edit else ({"length": -0.9},)
            records.append(Recorded(event.stamped(id=f"e{number}", time=number * DAY), number, Evidence(styles=styles)))
        return fold(records, CATALOGUE)

    assert about(1).drifts == ()
    assert [drift.after for drift in about(5).drifts] == [SHORT]


def test_undo_of_the_contrary_judgements_takes_the_flag_back() -> None:
    records = history(*[-0.8] * 20, *[0.8] * 8)
    (drift,) = fold(records, CATALOGUE).drifts
    kept = [record for record in records if record.id not in drift.evidence]
    assert fold(kept, CATALOGUE).to_json() == fold(records[:20], CATALOGUE).to_json()


def test_a_taste_that_comes_back_is_the_old_one_and_a_settled_change_no_news() -> None:
    back = fold(history(*[-0.8] * 25, *[0.8] * 25, *[-0.8] * 12), CATALOGUE)
    assert [(drift.before, drift.after) for drift in back.drifts] == [(SHORT, LONG)]
    assert concluded(back) == [LONG]
    settled = fold(history(*[-0.8] * 40, *[0.8] * 21), CATALOGUE)
    assert (settled.drifts, concluded(settled)) == ((), [SHORT])


def test_who_stops_caring_is_flagged_without_a_new_pole() -> None:
    rng = random.Random(1)
    profile = fold(history(*[-0.8] * 25, *[rng.choice((0.8, -0.8)) for _ in range(30)]), CATALOGUE)
    assert [(drift.before, drift.after) for drift in profile.drifts] == [(LONG, None)]
    assert "speak against it" in profile.drifts[0].why
    assert concluded(profile) == []


def test_old_judgements_that_come_late_fall_into_their_place() -> None:
    now = [replace(judged(number, 0.8), sequence=number) for number in range(100, 112)]
    assert fold(now, CATALOGUE).drifts == ()
    late = [replace(judged(number, 0.8), sequence=1000 + number) for number in range(20)]
    assert fold([*now, *late], CATALOGUE).drifts == ()
    other = [replace(judged(number, -0.8), sequence=1000 + number) for number in range(20)]
    (drift,) = fold([*now, *other], CATALOGUE).drifts  # the old taste is the old one, whenever it was imported
    assert (drift.before, drift.after, drift.since) == (LONG, SHORT, 100 * DAY)
    assert concluded(fold([*now, *other], CATALOGUE)) == [SHORT]


def test_judgements_that_fit_two_changes_flag_one() -> None:
    def both(number: int, x: float, y: float) -> Recorded:
        styles = ({"length": x, "level": y}, {"length": -x, "level": -y})
        return replace(judged(number, x), evidence=Evidence(styles=styles))

    before = [both(number, -0.9, 0.1) for number in range(20)]
    after = [both(number, 0.9, 0.4) for number in range(20, 30)]
    assert [drift.dimension for drift in fold([*before, *after], CATALOGUE).drifts] == ["length"]


# ---- words


def test_words_stay_and_judgements_against_them_ask_once() -> None:
    told = [said(0, LONG), *(judged(number, 0.8) for number in range(1, 11))]
    profile = fold(told, CATALOGUE)
    (wish,) = profile.preferences
    assert (wish.key, wish.source, wish.confidence, wish.weight) == (LONG, "stated", 0.9, 1.0)
    (drift,) = profile.drifts
    assert (drift.stated, drift.asked, drift.before, drift.after) == (True, False, LONG, SHORT)
    assert drift.why.startswith("You said “be detailed and thorough”, but 10 of your last 10")
    question = questions(profile.posterior, CATALOGUE, profile.drifts)[0]
    assert (question.dimensions, question.first) == (("length",), (CATALOGUE[0].poles[0].text,))
    answer = question.choice("q", "short", "long", 1).stamped(id="asked", time=20 * DAY)
    answered = Recorded(answer, 20, Evidence(styles=({"length": 0.8}, {"length": -0.8})))
    profile = fold([*told, answered], CATALOGUE)
    assert profile.drifts[0].asked
    assert profile.preferences[0].key == LONG
    asked = questions(profile.posterior, CATALOGUE, profile.drifts)
    assert ("length",) not in [question.dimensions for question in asked]


def test_a_newer_word_settles_it_and_what_was_judged_before_is_not_against_it() -> None:
    told = [said(0, LONG), *(judged(number, 0.8) for number in range(1, 11))]
    for key in (LONG, SHORT):
        profile = fold([*told, said(11, key)], CATALOGUE)
        assert (concluded(profile), profile.drifts) == ([key], ())


def test_the_population_does_not_fill_in_for_a_taste_that_drifts() -> None:
    others = Population(50, {LONG: 40})
    profile = next(
        profile for count in range(1, 11) if (profile := fold(history(*[-0.8] * 20, *[0.8] * count), CATALOGUE)).drifts
    )
    assert others.preferences(profile, CATALOGUE) == ()
    assert [item.key for item in others.preferences(fold([], CATALOGUE), CATALOGUE)] == [LONG]


# ---- properties

STYLES = st.lists(st.floats(-1.0, 1.0, allow_nan=False).map(lambda x: round(x, 4)), max_size=40)


@settings(max_examples=25, deadline=None)
@given(STYLES, st.integers(5, 25), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_bytes(styles: list[float], changed: int, rng: random.Random) -> None:
    records = history(*[-0.7] * changed, *[abs(x) for x in styles[:12]], *styles[12:])
    live = fold(records, CATALOGUE).to_json()
    rng.shuffle(records)
    assert fold(records, CATALOGUE).to_json() == live


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.0, 1.0, allow_nan=False), max_size=40))
def test_judgements_that_all_agree_never_flag(styles: list[float]) -> None:
    assert fold(history(*styles), CATALOGUE).drifts == ()


@settings(max_examples=25, deadline=None)
@given(STYLES, st.integers(0, 25))
def test_every_flag_rests_on_contrary_judgements_and_the_posterior_is_one(styles: list[float], changed: int) -> None:
    profile = fold(history(*[-0.7] * changed, *styles), CATALOGUE)
    assert np.isclose(profile.posterior.p_H.sum(), 1.0)
    for drift in profile.drifts:
        assert len(drift.evidence) >= 3
        assert 0.5 <= drift.confidence <= 1.0
        assert drift.before != drift.after
        records = [record for record in history(*[-0.7] * changed, *styles) if record.id not in drift.evidence]
        assert drift.to_dict() not in fold(records, CATALOGUE).to_dict().get("drifts", [])


@pytest.mark.parametrize("picked", [1, 2])
def test_an_answer_to_the_question_moves_the_doubt(picked: Literal[1, 2]) -> None:
    records = next(
        records for count in range(1, 11) if fold(records := history(*[-0.8] * 20, *[0.8] * count), CATALOGUE).drifts
    )
    profile = fold(records, CATALOGUE)
    question = questions(profile.posterior, CATALOGUE, profile.drifts)[0]
    answer = question.choice("q", "short", "long", picked).stamped(id="asked", time=99 * DAY)
    x = 0.8 if picked == 1 else -0.8
    after = fold([*records, Recorded(answer, 99, Evidence(styles=({"length": x}, {"length": -x})))], CATALOGUE)
    moved = after.posterior.mean_D[0] - profile.posterior.mean_D[0]
    assert moved * x > 0.1
    assert all(isinstance(drift, Drift) for drift in after.drifts)
