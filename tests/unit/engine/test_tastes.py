"""A user's taste steers on every engine as a gate of the head's own, within the head's bounds and beside harm."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from llama_parts import llama_engine
from pad_langchain.engine.residual import ResidualGate
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import tiny_pair

PAIR = tiny_pair()
PAIR.head.config = replace(PAIR.head.config, reach=50.0)
R = PAIR.head.config.rank
MAKER = PAIR.head.features_maker
STRONG = np.where(np.arange(R) % 2, 10.0, -10.0)


@pytest.fixture(scope="module", params=["torch", "llama.cpp"])
def engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "torch":
        opened: Any = TorchEngine(PAIR.model, PAIR.tokenizer, PAIR.guide())
    else:
        opened = llama_engine(PAIR)
    with opened:
        yield opened


def tokens(engine: Any, gate: Any = None, **keywords: Any) -> tuple[int, ...]:
    taste = None if gate is None else ResidualGate(MAKER, gate)
    messages = [{"role": "user", "content": "explain entropy"}]
    request = Request(messages=messages, taste=taste, **{"max_tokens": 20, "beta": 4.0, **keywords})
    return engine.submit(request).result(60).token_ids


@pytest.mark.parametrize("preferences", [(), (WeightedPreference("be concise"),)], ids=["alone", "beside a wish"])
def test_a_taste_changes_tokens_and_a_gate_of_zeros_does_not(engine: Any, preferences: Any) -> None:
    plain = tokens(engine, preferences=preferences)
    assert tokens(engine, np.zeros(R), preferences=preferences) == plain
    assert tokens(engine, STRONG, preferences=preferences) != plain
    assert tokens(engine, STRONG, preferences=preferences, beta=0.0) == tokens(engine)


def test_a_taste_is_what_a_wish_of_the_same_gate_is(engine: Any) -> None:
    wish = WeightedPreference("be concise")
    (gate_R,) = engine.guide.plan(Request(messages=[{"role": "user", "content": "x"}], preferences=[wish])).rows
    assert tokens(engine, gate_R.numpy()) == tokens(engine, preferences=[wish]) != tokens(engine)


@pytest.mark.parametrize("gate", [np.ones(R + 1), np.ones(R - 1)])
def test_a_gate_of_another_rank_is_refused(engine: Any, gate: Any) -> None:
    with pytest.raises(InvalidRequestError, match=f"{R} numbers.*with {len(gate)}"):
        tokens(engine, gate)


def test_a_gate_of_another_head_is_refused(engine: Any) -> None:
    other = ResidualGate("head:other", np.ones(R))
    with pytest.raises(InvalidRequestError, match="'head:other'"):
        engine.submit(Request(messages=[{"role": "user", "content": "x"}], taste=other))


@pytest.mark.parametrize("gate", [np.ones((2, R)), np.full(R, np.nan), [], "tea", None, [10.0**60]])
def test_what_is_no_gate_is_refused(gate: Any) -> None:
    with pytest.raises(InvalidRequestError, match="vector of finite numbers"):
        ResidualGate("head:a", gate)
    with pytest.raises(InvalidRequestError, match="ResidualGate"):
        Request(messages=[{}], taste=gate if gate is not None else "tea")


def test_a_gate_is_bounded_and_loses_what_harms() -> None:
    head = tiny_pair(1).head
    head.config = replace(head.config, reach=2.0)
    harm_KR = torch.linalg.qr(torch.randn(R, 2, generator=torch.Generator().manual_seed(0))).Q.T.contiguous()
    head.harm_KR = harm_KR
    guide = HeadGuide(head)

    def planned(gate: Any) -> torch.Tensor:
        taste = ResidualGate(head.features_maker, gate)
        return guide.plan(Request(messages=[{"role": "user", "content": "x"}], taste=taste)).rows[0]

    found_R = planned(100.0 * np.ones(R))
    assert float(found_R.norm()) == pytest.approx(2.0, rel=1e-5)
    assert float(harm_KR[0] @ found_R) < -0.2  # it leans away from harm
    assert abs(float(harm_KR[1] @ found_R)) < 1e-5
    assert planned(7.0 * harm_KR[0].numpy()).abs().max() < 1e-5  # all of it harms
    small_R = 0.01 * torch.ones(R)
    kept_R = small_R - harm_KR.T @ (harm_KR @ small_R)
    assert torch.allclose(planned(small_R.numpy()), kept_R - 0.15 * kept_R.norm() * harm_KR[0], atol=1e-6)


def test_a_head_without_a_reach_takes_no_taste() -> None:
    head = tiny_pair().head
    assert head.config.reach is None
    assert head.features_maker is None
    with TorchEngine(PAIR.model, PAIR.tokenizer, tiny_pair().guide()) as engine, pytest.raises(InvalidRequestError):
        engine.submit(Request(messages=[{"role": "user", "content": "x"}], taste=ResidualGate("head:a", np.ones(R))))


def test_a_persrm_that_is_no_head_refuses_a_taste() -> None:
    from pad_langchain.models.backbone import Backbone
    from pad_langchain.models.prompts import Prompts

    guide = ModelGuide(Backbone(PAIR.model), Prompts(PAIR.tokenizer), None)
    with (
        TorchEngine(PAIR.model, PAIR.tokenizer, guide) as engine,
        pytest.raises(InvalidRequestError, match="gate of a head"),
    ):
        engine.submit(Request(messages=[{"role": "user", "content": "x"}], taste=ResidualGate("head:a", np.ones(R))))


def test_a_head_is_another_one_where_its_features_are() -> None:
    one, other = tiny_pair().head, tiny_pair().head
    one.config = other.config = replace(one.config, reach=1.0)
    assert one.features_maker == other.features_maker == MAKER
    other.harm_KR = torch.eye(R)[:1]
    assert one.features_maker != other.features_maker
