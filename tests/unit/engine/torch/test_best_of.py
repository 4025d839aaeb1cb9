"""Best-of-n: samples of one prompt in one batch, and the one with the highest total reward."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pad_langchain.engine.local.best_of import BestOf
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, TokenEvent, WeightedPreference
from pad_langchain.errors import GuideError, InvalidRequestError
from pad_langchain.testing import TinyPair
from waiting import until


def ask(**kwargs: Any) -> Request:
    settings = {"temperature": 1.0, "seed": 5, "max_tokens": 12, "preferences": [WeightedPreference("be kind")]}
    return Request(messages=[{"role": "user", "content": "explain entropy"}], **{**settings, **kwargs})


def sample_seeds(seed: int, count: int) -> list[int]:
    """How the engine makes a seed for each sample after the first."""
    source = torch.Generator().manual_seed(seed)
    return [seed, *(int(torch.randint(2**62, (), generator=source)) for _ in range(count - 1))]


def test_the_prompt_is_prefilled_once(pair: TinyPair) -> None:
    with TorchEngine(pair.model, pair.tokenizer, pair.guide(), prefix_tokens=0) as engine:
        done = engine.submit(ask(best_of=8)).result(60)
        assert engine.stats.prefilled_tokens == done.prompt_tokens
        assert engine.stats.forwards <= 12


def test_beta_zero_ranks_what_the_base_samples_among_its_candidates(pair: TinyPair) -> None:
    with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
        best = engine.submit(ask(best_of=6, beta=0.0)).result(60)
        singles = [engine.submit(ask(seed=seed, beta=1e-9)).result(60) for seed in sample_seeds(5, 6)]
        totals = [sum(event.reward for event in done.events) for done in singles]
        assert best.token_ids == singles[totals.index(max(totals))].token_ids


def test_a_caller_who_leaves_frees_all_samples(pair: TinyPair) -> None:
    with TorchEngine(pair.model, pair.tokenizer, pair.guide(), max_batch=8) as engine:
        stream = engine.submit(ask(best_of=8, max_tokens=450))
        waiting = engine.submit(ask(best_of=2, max_tokens=3))
        until(lambda: engine.running)
        stream.cancel()
        assert stream.result(10).finish_reason == "cancelled"
        assert len(waiting.result(10).token_ids) == 3


def test_a_sample_that_fails_fails_the_request() -> None:
    stream = Stream(ask(best_of=2), 7)
    first, second = BestOf(stream, 2).samples
    first.put(TokenEvent(0, 9, "x", 0.0, 1.0, "length"))
    assert not stream.done
    second.fail(GuideError("no reward"))
    assert second.cancelled
    with pytest.raises(GuideError):
        stream.result(1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"best_of": 0}, "best_of has to be an integer of at least 1"),
        ({"best_of": 2, "temperature": 0.0}, r"temperature above 0 \(got 0\.0\)"),
        ({"best_of": 2, "preferences": []}, r"needs preferences \(got 0\)"),
        ({"best_of": 5}, "max_batch allows 4 samples"),
    ],
)
def test_what_best_of_refuses(pair: TinyPair, settings: dict[str, Any], message: str) -> None:
    engine = TorchEngine(pair.model, pair.tokenizer, pair.guide(), max_batch=4)
    with engine, pytest.raises(InvalidRequestError, match=message):
        engine.submit(ask(**settings))
