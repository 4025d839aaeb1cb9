"""What choices say beyond the catalogue: a residual gate, concluded only where it predicts left-out choices better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_memory import CATALOGUE, Choice
from pad_memory.errors import InvalidEventError
from pad_memory.events import Edit, Retraction
from pad_memory.evidence import Evidence, Features, Recorded
from pad_memory.profile import fold
from pad_memory.profile.taste import LEAST, residual

R = 8
LIKED = np.eye(R)[2]


def chosen(number: int, features: Features | None, styles=({}, {})) -> Recorded:
    event = Choice(
        f"q{number}", f"the good answer {number}", f"the other {number}", id=f"c{number}", time=float(number)
    )
    return Recorded(event, number, Evidence(styles=styles, features=features))


def choices(count: int = 24, maker: str = "head:a", seed: int = 0, liked: np.ndarray = LIKED) -> list[Recorded]:
    """A user who picks whichever of two random answers has more along one direction."""
    rng, made = np.random.default_rng(seed), []
    for number in range(count):
        two_2R = rng.normal(size=(2, R))
        order = [0, 1] if two_2R[0] @ liked > two_2R[1] @ liked else [1, 0]
        made.append(chosen(number, Features.of(maker, two_2R[order])))
    return made


def taste_of(records):
    return fold(records, CATALOGUE).taste


def test_what_no_catalogue_says_is_learned_with_the_answers_it_came_from():
    taste = taste_of(choices())
    assert taste.gate_R.argmax() == 2
    assert taste.gain > 0.0
    assert taste.maker == "head:a"
    assert taste.evidence == tuple(f"c{n}" for n in range(24))
    id, text = taste.like[0]
    assert text == f"the good answer {id[1:]}"
    assert f"more like this: “{text}”" in taste.why()
    assert "more like this" in fold(choices(), CATALOGUE).to_json()


def test_a_user_who_chooses_by_nothing_has_no_taste():
    rng = np.random.default_rng(1)
    found = [
        taste_of([chosen(n, Features.of("m", rng.normal(size=(2, R)))) for n in range(20)]) is not None
        for _ in range(40)
    ]
    assert sum(found) <= 4


def test_what_the_catalogue_explains_is_left_to_it():
    along = np.eye(R)[2]
    records = [
        chosen(n, Features.of("m", np.stack([along, -along])), ({"length": 1.0}, {"length": -1.0})) for n in range(24)
    ]
    alone = taste_of([chosen(n, Features.of("m", np.stack([along, -along]))) for n in range(24)])
    known = taste_of(records)
    assert known is None or np.linalg.norm(known.gate_R) < 0.7 * np.linalg.norm(alone.gate_R)


@given(st.permutations(range(24)))
@settings(max_examples=10, deadline=None)
def test_the_order_of_records_changes_nothing(order):
    records = choices()
    assert fold([records[n] for n in order], CATALOGUE).to_json() == fold(records, CATALOGUE).to_json()


def test_what_is_taken_back_teaches_nothing():
    records = choices()
    gone = Recorded(Retraction("c3", id="r", time=99.0), 99, Evidence())
    less = [record for record in records if record.id != "c3"]
    assert taste_of([*records, gone]) == taste_of(less) != taste_of(records)


def test_features_of_another_scorer_or_rank_do_not_count():
    mine = choices(maker="head:b", seed=3)
    older = [Recorded(r.event.stamped(id="", time=0.0), r.sequence, r.evidence) for r in choices(maker="head:a")]
    older = [
        Recorded(Choice("q", f"a{n}", f"b{n}", id=f"o{n}", time=-100.0 + n), n, r.evidence) for n, r in enumerate(older)
    ]
    assert taste_of([*older, *mine]) == taste_of(mine)
    shorter = [
        Recorded(
            Choice("q", f"a{n}", f"b{n}", id=f"o{n}", time=-100.0 + n),
            n,
            Evidence(styles=({}, {}), features=Features.of("head:b", np.ones((2, R - 1)))),
        )
        for n in range(5)
    ]
    assert taste_of([*shorter, *mine]) == taste_of(mine)


@pytest.mark.parametrize("count", [0, LEAST - 1])
def test_few_choices_conclude_nothing(count):
    assert taste_of(choices(count)) is None


def test_old_records_without_features_work_on():
    old = [chosen(n, None) for n in range(5)]
    assert taste_of(old) is None
    later = [Recorded(r.event.stamped(id="", time=0.0), r.sequence, r.evidence) for r in choices()]
    assert taste_of([*old[:0], *later]) is not None


def test_what_is_left_out_is_predicted_as_a_fit_without_it_does():
    """Laplace's leave-one-out against fits that really leave one out."""
    rng = np.random.default_rng(5)
    x_NR = rng.normal(size=(30, R)) + 0.5 * LIKED
    offset_N, ones_N = 0.3 * rng.normal(size=30), np.ones(30)
    _, gain, _ = residual(x_NR, offset_N, ones_N)
    exact = []
    for n in range(30):
        count_N = ones_N.copy()
        count_N[n] = 1e-9
        theta_R, *_ = residual(x_NR, offset_N, count_N)
        exact.append(np.log1p(np.exp(-offset_N[n])) - np.log1p(np.exp(-offset_N[n] - theta_R @ x_NR[n])))
    assert abs(gain - np.mean(exact)) < 0.08  # the mode alone is a little surer than the posterior


def test_equal_answers_give_no_gate():
    theta_R, gain, sure = residual(np.zeros((9, R)), np.zeros(9), np.ones(9))
    assert not theta_R.any()
    assert gain == 0.0
    assert not sure


def test_features_survive_storage_and_refuse_what_is_none():
    features = Features.of("head:a", np.array([[0.5, -1.25], [1e9, 0.0]]))
    again = Evidence.from_dict(Evidence(features=features).to_dict())
    assert again == Evidence(features=features)
    assert again.features.vectors_NR.tolist() == [[0.5, -1.25], [65504.0, 0.0]]
    for rows in ((), ("###",), ("AAA=", "AAAAAA=="), ("AH4=",), (None,)):
        with pytest.raises(InvalidEventError):
            Features("head:a", rows)
    with pytest.raises(InvalidEventError):
        Features("", features.rows)


def test_edits_count_as_choices():
    edits = [
        Recorded(Edit("q", "was", f"now {n}", id=f"e{n}", time=float(n)), n, record.evidence)
        for n, record in enumerate(choices())
    ]
    assert np.allclose(taste_of(edits).gate_R, taste_of(choices()).gate_R, atol=1e-5)
