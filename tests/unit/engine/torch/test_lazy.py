"""Clipped rewards, and lazy guidance: the same tokens as the clipped rule, with fewer forwards of the guide."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from naive_reference import NaiveText, naive_decode
from pad_langchain.arithmetic.scoring import clip_rewards, decided, guided_scores
from pad_langchain.engine.stream import Completion
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import TinyPair

logits = st.lists(st.floats(-8, 8, width=32), min_size=4, max_size=4)
CONDITIONS = ((("be concise", 1.0),), (("be concise", 1.0), ("tell a joke or two", -0.5)))
GRID = list(itertools.product((-0.7, 0.3, 1.0), (0.05, 0.4, 2.0), (1, 10), (0.0, 0.1), CONDITIONS))


@pytest.fixture
def text_engine(pair: TinyPair, text_parts: tuple[Any, torch.nn.Linear]) -> Iterator[TorchEngine]:
    guide = ModelGuide(Backbone(text_parts[0]), Prompts(pair.tokenizer), text_parts[1])
    with TorchEngine(pair.model, pair.tokenizer, guide, prefix_tokens=0) as opened:
        yield opened


def guide_forwards(engine: TorchEngine) -> int:
    assert isinstance(engine.guide, ModelGuide)
    return engine.guide.backbone.tally.forwards


def ask(user: str = "explain entropy", **kwargs: Any) -> Request:
    settings = {"preferences": [WeightedPreference("be concise")], "max_tokens": 40, **kwargs}
    return Request(messages=[{"role": "user", "content": user}], **settings)


def test_lazy_guidance_is_the_clipped_rule(
    pair: TinyPair, text_engine: TorchEngine, text_parts: tuple[Any, torch.nn.Linear]
) -> None:
    """Against the naive clipped rule: lazy and not, over β × c × k × alpha × preferences, in a batch that shifts."""
    users = ["why is the sky " + "very " * (index % 5) + "blue?" for index in range(len(GRID))]
    requests, expected = [], []
    for index, (beta, clip, k, alpha, condition) in enumerate(GRID):
        settings: dict[str, Any] = {"beta": beta, "alpha": alpha, "max_tokens": 4 + index % 9}
        preferences = [WeightedPreference(text, weight) for text, weight in condition]
        requests += [
            ask(users[index], preferences=preferences, top_k=k, clip=clip, lazy=lazy, **settings)
            for lazy in (False, True)
        ]
        tokens, _ = naive_decode(
            pair.model,
            pair.tokenizer,
            users[index],
            NaiveText(*text_parts),
            condition,
            k=k,
            clip=clip,
            reference="base",
            combine="sum",
            **settings,
        )
        expected += [tokens, tokens]
    streams = [text_engine.submit(request) for request in requests]
    results = [stream.result(120) for stream in streams]
    for done, tokens, request in zip(results, expected, requests, strict=True):
        assert list(done.token_ids) == tokens, request
    assert all(done.skipped == 0 for done in results[::2])
    assert 0.3 < sum(done.skipped for done in results[1::2]) / len(GRID) < 0.99
    # Clipping changes the answer, so the rule that is kept is the clipped one.
    free = text_engine.submit(ask(users[1], beta=1.0, max_tokens=12)).result(60)
    tight = text_engine.submit(ask(users[1], beta=1.0, max_tokens=12, clip=0.05)).result(60)
    assert free.token_ids != tight.token_ids


def test_skipped_steps_cost_no_forward_and_are_reported(text_engine: TorchEngine) -> None:
    def run(**kwargs: Any) -> tuple[Completion, int]:
        before = guide_forwards(text_engine)
        return text_engine.submit(ask(**kwargs)).result(60), guide_forwards(text_engine) - before

    eager, eager_forwards = run(clip=0.15)
    lazy, lazy_forwards = run(clip=0.15, lazy=True)
    assert lazy.token_ids == eager.token_ids
    assert eager_forwards == len(eager.token_ids)
    skipped = [event.skipped for event in lazy.events]
    assert lazy.skipped == sum(skipped) / len(skipped)
    assert 0.1 < lazy.skipped < 1
    # The prefill, and one chunk before each step that is not skipped (the first is ready from the prefill).
    assert lazy_forwards == 1 + skipped[1:].count(False)
    asked = [event.reward for event in lazy.events if not event.skipped]
    assert lazy.mean_reward == pytest.approx(sum(asked) / len(asked))
    for late, early in zip(lazy.events, eager.events, strict=True):
        assert late.reward == (0.0 if late.skipped else pytest.approx(early.reward, abs=1e-4))
        assert abs(early.reward) <= 0.15 + 1e-6


def test_company_changes_neither_tokens_nor_what_counts_as_skipped(text_engine: TorchEngine) -> None:
    requests = [ask(f"{index}, why?", clip=0.3, lazy=True, max_tokens=10 + 3 * index) for index in range(5)]
    alone = [text_engine.submit(request).result(60) for request in requests]
    streams = [text_engine.submit(request) for request in [*requests, ask(max_tokens=30)]]
    for stream, single in zip(streams[:-1], alone, strict=True):
        together = stream.result(60)
        assert together.token_ids == single.token_ids
        assert [event.skipped for event in together.events] == [event.skipped for event in single.events]


@given(logits, logits, st.floats(-2, 2), st.floats(0.01, 3))
def test_a_decided_step_cannot_change(base: list[float], rewards: list[float], beta: float, clip: float) -> None:
    base_BK, keep_BK = torch.tensor([base]), torch.ones(1, 4, dtype=torch.bool)
    beta_B, clip_B = torch.tensor([beta]), torch.tensor([clip])
    clipped_BK = clip_rewards(torch.tensor([rewards]), clip_B)
    assert clipped_BK.abs().max() <= clip_B
    if decided(base_BK, keep_BK, beta_B, clip_B):
        assert guided_scores(base_BK, clipped_BK, beta_B, keep_BK).argmax() == base_BK.argmax()


def test_when_a_step_is_decided() -> None:
    base_BK = torch.tensor([[3.0, 1.0, 0.0], [3.0, 1.0, 0.0], [3.0, 1.0, 0.0], [3.0, math.nan, 0.0]])
    keep_BK = torch.tensor([[True] * 3, [True] * 3, [True, False, False], [True] * 3])
    beta_B, clip_B = torch.tensor([-2.0, 2.0, 1.0, 1.0]), torch.tensor([0.49, 0.51, math.inf, 0.1])
    assert decided(base_BK, keep_BK, beta_B, clip_B).tolist() == [True, False, True, False]
    assert clip_rewards(base_BK[:2], torch.tensor([0.5, math.inf])).tolist() == [[0.5, 0.5, 0.0], [3.0, 1.0, 0.0]]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clip": 0.0}, "clip has to be a finite number above 0"),
        ({"clip": math.nan}, "clip has to be"),
        ({"lazy": True}, "needs clip"),
        ({"lazy": True, "clip": 1.0, "temperature": 0.5}, r"temperature 0\.5"),
    ],
)
def test_what_lazy_guidance_refuses(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        ask(**settings)
