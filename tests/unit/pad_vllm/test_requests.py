"""Every request that a worker could choke on is refused in the front end, and what it allows is told."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pad_vllm.heads import Heads
from pad_vllm.requests import read_guidance, read_repeats

R, V = 6, 60
GATE = [0.5, -0.25, 0.0, 1.0, -1.0, 0.125]


def test_a_request_without_a_gate_is_plain(heads: Heads) -> None:
    for plain in (None, {}, {"kv_transfer_params": {"a": 1}}):
        assert read_guidance(plain, heads) is None


@pytest.mark.parametrize("changes", [{"pad_beta": 0}, {"pad_beta": 0.0}, {"pad_gate": [0] * R}])
def test_neutral_guidance_is_plain(heads: Heads, changes: dict) -> None:
    assert read_guidance({"pad_gate": GATE, **changes}, heads) is None


def test_what_is_not_said_is_what_the_head_recommends(heads: Heads) -> None:
    found = read_guidance({"pad_gate": GATE}, heads)
    assert found is not None
    assert (found.beta, found.alpha, found.top_k) == (1.5, 0.01, 10)
    assert found.gate_R.dtype == np.float32
    assert found.gate_R.tolist() == GATE
    said = read_guidance({"pad_gate": tuple(GATE), "pad_beta": -2, "pad_alpha": 1, "pad_top_k": V}, heads)
    assert said is not None
    assert (said.beta, said.alpha, said.top_k) == (-2.0, 1.0, V)


def test_a_gate_comes_back_from_json_to_the_bit(heads: Heads) -> None:
    gate_R = np.random.default_rng(0).normal(size=R).astype(np.float32)
    found = read_guidance(json.loads(json.dumps({"pad_gate": gate_R.astype(float).tolist()})), heads)
    assert found is not None
    assert (found.gate_R == gate_R).all()


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ({"pad_gate": GATE[:-1]}, r"pad_gate has to be 6 numbers from .* but is 5 values"),
        ({"pad_gate": []}, "but is 0 values"),
        ({"pad_gate": "abcdef"}, "but is 'abcdef'"),
        ({"pad_gate": None}, "but is None"),
        ({"pad_gate": [*GATE[:-1], math.nan]}, r"pad_gate\[5\] has to be a number from .* but is nan"),
        ({"pad_gate": [*GATE[:-1], math.inf]}, "but is inf"),
        ({"pad_gate": [*GATE[:-1], True]}, "but is True"),
        ({"pad_gate": [*GATE[:-1], "1"]}, "but is '1'"),
        ({"pad_gate": [*GATE[:-1], 10**5000]}, "an integer of 16610 bits"),
        ({"pad_gate": [1e9, *GATE[1:]]}, r"pad_gate\[0\]"),
        ({"pad_gate": GATE, "pad_beta": "2"}, "pad_beta has to be a number from -1e"),
        ({"pad_gate": GATE, "pad_beta": math.inf}, "pad_beta"),
        ({"pad_gate": GATE, "pad_beta": 1e7}, "pad_beta"),
        ({"pad_gate": GATE, "pad_alpha": 1.5}, "pad_alpha has to be a number from 0 to 1, but is 1.5"),
        ({"pad_gate": GATE, "pad_alpha": [0.5]}, "pad_alpha"),
        ({"pad_gate": GATE, "pad_top_k": 0}, "pad_top_k has to be an integer from 1 to 60, but is 0"),
        ({"pad_gate": GATE, "pad_top_k": V + 1}, "pad_top_k"),
        ({"pad_gate": GATE, "pad_top_k": 5.0}, "pad_top_k"),
        ({"pad_gate": GATE, "pad_top_k": True}, "pad_top_k"),
        ({"pad_gate": GATE, "pad_head": "other"}, r"pad_head has to be one of \['persrm'\], but is 'other'"),
        ({"pad_gate": GATE, "pad_head": 3}, "pad_head has to be the name of a head"),
        ({"pad_gate": GATE, "pad_head": "../persrm"}, "pad_head has to be one of"),
        ({"pad_gate": GATE, "pad_betta": 1}, "pad_betta"),
        ({"pad_beta": 1.0}, "pad_beta without pad_gate says nothing"),
    ],
)
def test_a_wrong_request_is_refused_and_told_why(heads: Heads, said: dict, allowed: str) -> None:
    with pytest.raises(ValueError, match=allowed):
        read_guidance(said, heads)


def test_a_gate_at_the_bound_is_taken_and_one_beyond_it_is_not(heads: Heads) -> None:
    bound = heads.get().gate_bound
    assert read_guidance({"pad_gate": [float(np.float32(bound))] * R}, heads) is not None
    with pytest.raises(ValueError, match="pad_gate"):
        read_guidance({"pad_gate": [-bound * 1.001] * R}, heads)


def test_what_repeats_cost_is_read_with_a_gate_and_without(heads: Heads) -> None:
    for more in ({}, {"pad_gate": GATE}, {"other": 1}):
        assert read_repeats(more) is None
        assert read_repeats({**more, "pad_repetition_penalty": 1, "pad_no_repeat_ngram": 0}) is None
        said = {**more, "pad_repetition_penalty": 1.07, "pad_no_repeat_ngram": 3}
        found = read_repeats(said)
        assert found is not None
        assert (found.penalty, found.ngram) == (1.07, 3)
        assert (read_guidance(said, heads) is None) == ("pad_gate" not in more)
    assert read_repeats(None) is None
    with pytest.raises(ValueError, match="pad_beta without pad_gate says nothing"):
        read_guidance({"pad_beta": 1.0, "pad_repetition_penalty": 1.1}, heads)


@pytest.mark.parametrize(
    "penalty", [0.99, 0, -2, 1.1e6, math.inf, math.nan, True, "1.1", None, [1.1], pytest.param(10**5000, id="long")]
)
def test_a_wrong_penalty_is_refused(penalty: object) -> None:
    with pytest.raises(ValueError, match=r"pad_repetition_penalty has to be a number from 1 to 1e\+06, but is"):
        read_repeats({"pad_repetition_penalty": penalty})


@pytest.mark.parametrize("ngram", [-1, 2.0, True, "2", None, [2], pytest.param(-(10**5000), id="long")])
def test_a_wrong_ngram_is_refused(ngram: object) -> None:
    with pytest.raises(ValueError, match="pad_no_repeat_ngram has to be an integer of 0 or more, but is"):
        read_repeats({"pad_no_repeat_ngram": ngram})


_values = st.one_of(
    st.none(),
    st.booleans(),
    st.text(),
    st.integers(),
    st.floats(),
    st.lists(st.one_of(st.floats(), st.integers(), st.text())),
)
_gates = st.one_of(_values, st.lists(st.one_of(st.floats(), st.integers(), st.text()), min_size=R, max_size=R))


@settings(max_examples=1000, deadline=None)
@given(st.fixed_dictionaries({"pad_gate": _gates}, optional={
    "pad_beta": _values, "pad_alpha": _values, "pad_top_k": _values, "pad_head": _values, "pad_more": _values,
    "pad_repetition_penalty": _values, "pad_no_repeat_ngram": _values,
}))  # fmt: skip
def test_whatever_comes_is_refused_or_can_be_decoded_with(heads: Heads, said: dict) -> None:
    found, refusal, repeats = None, "", None
    try:
        found = read_guidance(said, heads)
        repeats = read_repeats(said)
    except ValueError as error:
        refusal = str(error)
    assert not refusal or ("pad_" in refusal and len(refusal) < 600)
    if repeats is not None:
        repeats.follow([1, 2, 1])
        row_V = np.zeros(V, dtype=np.float32)
        repeats.apply(row_V)
        assert (row_V <= 0).all()
    if found is not None:
        head = found.head
        assert found.gate_R.shape == (R,)
        assert np.isfinite(found.gate_R).all()
        assert abs(found.gate_R).max() <= head.gate_bound * 1.0001
        assert math.isfinite(found.beta)
        assert found.beta != 0
        assert 0 <= found.alpha <= 1
        assert 1 <= found.top_k <= V
