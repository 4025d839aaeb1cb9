"""Any value in any field of a request: it is refused at once, or it runs; and nobody else's answer is touched."""

from __future__ import annotations

import contextlib
import math
from dataclasses import fields, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pad_langchain import PADLLM, ChatPAD
from pad_langchain.chat import CallOptions, ChatSettings
from pad_langchain.chat.options import SETTLED
from pad_langchain.engine import EngineSettings, Recommended, Request, WeightedPreference
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.errors import GuideError, InvalidRequestError

ASKED = {"role": "user", "content": "hello"}


numbers = st.one_of(
    st.booleans(),
    st.integers(),
    st.integers(-(10**400), 10**400),
    st.floats(),
    st.sampled_from([math.nan, math.inf, 1e300, 5e-324, 1e-40, 5.0, 2.5, Decimal("0.5"), Fraction(1, 2), 1j]),
    st.sampled_from([np.int64(3), np.int8(-1), np.uint8(2), np.float32(0.5), np.float64("nan"), np.bool_(True)]),
)
things = st.recursive(
    st.one_of(
        st.none(),
        numbers,
        st.text(st.characters(), max_size=4),
        st.binary(max_size=3),
        st.sampled_from(["base", "max", "sum", "reference", "\ud800", np.arange(3), np.array(1), object(), int, len]),
        st.sampled_from([ASKED, WeightedPreference("be kind"), WeightedPreference("x", -1e6, np.ones(16))]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner),
        st.sets(st.integers(), max_size=2),
        st.dictionaries(st.sampled_from(["role", "content", "type", "function", "name"]), inner, max_size=3),
    ),
    max_leaves=5,
)
some_fields = st.dictionaries(st.sampled_from([field.name for field in fields(Request)]), things, max_size=3)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(some_fields)
def test_a_request_is_refused_or_runs(torch_engine: TorchEngine, values: dict[str, Any]) -> None:
    neighbour = Request([ASKED], preferences=[WeightedPreference("be kind")], max_tokens=6)
    expected = torch_engine.submit(neighbour).result(60).token_ids
    beside = torch_engine.submit(neighbour)
    try:
        request = Request(**{"messages": [ASKED], "max_tokens": 3, **values})
        stream = torch_engine.submit(replace(request, max_tokens=min(3, request.max_tokens)))
    except InvalidRequestError:
        pass
    else:
        with contextlib.suppress(GuideError):  # a weight so large that rewards are not finite ends its own row
            assert stream.result(60).finish_reason in ("stop", "length")
    assert beside.result(60).token_ids == expected


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from([field.name for field in fields(CallOptions)]), things, max_size=3))
def test_a_calls_options_are_refused_or_lead_to_a_request(values: dict[str, Any]) -> None:
    try:
        said = CallOptions(**values).over(ChatSettings())
    except InvalidRequestError:
        return
    names = ("temperature", "top_p", "seed", "max_tokens", "combine", "reference", "clip")
    settled = Recommended().settle(400, **{name: getattr(said, name) for name in SETTLED})
    Request([ASKED], stop=said.stop or (), **settled, **{name: getattr(said, name) for name in names})


@pytest.mark.parametrize(
    ("name", "value", "plain"),
    [
        ("top_k", np.int64(4), 4),
        ("temperature", np.float32(0.5), 0.5),
        ("temperature", 1, 1.0),
        ("seed", np.uint8(7), 7),
        ("prompt_ids", [np.int64(5), 6], (5, 6)),
        ("stop", "habitat", ("habitat",)),
        ("stop", ["a", "b"], ("a", "b")),
        ("lazy", np.False_, False),
        ("repetition_penalty", np.float32(1.5), 1.5),
        ("no_repeat_ngram", np.int8(3), 3),
    ],
)
def test_what_numpy_gives_is_taken_as_plain_python(name: str, value: Any, plain: Any) -> None:
    got = getattr(Request([ASKED], **{name: value}), name)
    assert (got, type(got)) == (plain, type(plain))


BAD = {
    "stop": [[1], ["END", None], [b"x"], b"x", [""], "", 5, {"a": 1}],
    "top_k": [True, 5.0, "5", 0, Decimal(5), 10**5000],
    "max_tokens": [True, 16.0, None, -1],
    "temperature": ["0.5", True, math.nan, math.inf, -0.1, 10**400, 1e300],
    "top_p": [0, 1.01, math.nan, None],
    "beta": [math.nan, 1e39, "1"],
    "seed": ["7", 7.0, True, 2**64],
    "best_of": [True, 2.0, 0],
    "clip": [0, math.inf, True],
    "repetition_penalty": [0.99, 0, True, "1.1", math.nan, math.inf],
    "no_repeat_ngram": [-1, 2.0, True, "3"],
    "lazy": [1, "yes", None],
    "combine": ["mean", ["sum"], None],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD.items() for value in values], ids=lambda _: ""
)
def test_bad_values_are_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"^{name} has to be "):
        Request([ASKED], **{name: value})
    if value is not None or name in ("lazy", "combine"):
        with pytest.raises(InvalidRequestError, match=f"^{name} has to be "):
            CallOptions(**{name: value})


@pytest.mark.parametrize("value", [2.5, True, "2", -1, [1]])
def test_top_logprobs_is_a_count(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^top_logprobs has to be an integer from 0"):
        CallOptions(logprobs=True, top_logprobs=value)


@pytest.mark.parametrize(
    "made",
    [
        lambda: WeightedPreference(5),
        lambda: WeightedPreference("\ud800"),
        lambda: WeightedPreference("be kind", True),
        lambda: WeightedPreference("be kind", "1"),
        lambda: WeightedPreference("be kind", 10**400),
        lambda: WeightedPreference("be kind", 1.0, "vector"),
        lambda: WeightedPreference("be kind", 1.0, [[1.0], [2.0, 3.0]]),
        lambda: ChatSettings(top_k=True),
        lambda: ChatSettings(seed=2**64),
        lambda: ChatSettings(repetition_penalty=0.5),
        lambda: ChatSettings(no_repeat_ngram=-1),
        lambda: Recommended(top_k=0),
        lambda: Recommended(beta=None),
        lambda: EngineSettings(max_batch=True),
        lambda: EngineSettings(compile=2),
        lambda: EngineSettings(pack_weights=np.arange(2)),
    ],
)
def test_preferences_and_settings_are_checked_as_well(made: Any) -> None:
    with pytest.raises(ValueError, match=r"has to be|a number is asked for"):
        made()


def test_more_samples_than_the_engine_decodes_cost_nothing_to_refuse(torch_engine: TorchEngine) -> None:
    with pytest.raises(InvalidRequestError, match="max_batch allows"):
        torch_engine.submit(Request([ASKED], preferences=[WeightedPreference("x")], temperature=1.0, best_of=2**60))


def test_a_grammar_of_another_vocabulary_is_refused(torch_engine: TorchEngine) -> None:
    from pad_langchain.engine.grammar import GrammarCompiler

    grammar = GrammarCompiler(torch_engine.tokenizer, 512).json_schema({"type": "integer"})
    with pytest.raises(InvalidRequestError, match="compiled for 512 tokens, but the model has 400"):
        torch_engine.submit(Request([ASKED], grammar=grammar))


# One stop string


def test_one_stop_string_is_one_in_every_face() -> None:
    question = "What is a lion?"
    llm = ChatPAD(max_tokens=40)
    want = llm.invoke(question, stop=["habitat"]).text
    assert len(want) > 10
    assert llm.invoke(question, stop="habitat").text == want
    assert llm.bind(stop="habitat").invoke(question).text == want
    assert "".join(chunk.text for chunk in llm.stream(question, stop="habitat")) == want
    made = ChatPAD(max_tokens=40, stop="habitat")
    assert (made.stop, made.invoke(question).text) == (["habitat"], want)
    assert PADLLM(max_tokens=40).complete(question, stop="habitat").text == want
    assert PADLLM(max_tokens=40, stop="habitat").complete(question).text == want
    assert CallOptions(stop="habitat").stop == ["habitat"]
    assert llm.model_copy(update={"stop": "habitat"}).invoke(question).text == want
