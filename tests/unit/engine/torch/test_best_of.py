"""Best-of-n: samples of one prompt in one batch, and the one with the highest total reward."""

from __future__ import annotations

import time
from typing import Any

import pytest
import torch

from pad_langchain.engine.local.best_of import BestOf
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, TokenEvent, WeightedPreference
from pad_langchain.errors import GuideError, InvalidRequestError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import TinyPair, tiny_model, tiny_pair


@pytest.fixture(scope="module")
def pair() -> TinyPair:
    return tiny_pair()


def ask(**kwargs: Any) -> Request:
    settings = {"temperature": 1.0, "seed": 5, "max_tokens": 12, "preferences": [WeightedPreference("be kind")]}
    return Request(messages=[{"role": "user", "content": "explain entropy"}], **{**settings, **kwargs})


def sample_seeds(seed: int, count: int) -> list[int]:
    """How the engine makes a seed for each sample after the first."""
    source = torch.Generator().manual_seed(seed)
    return [seed, *(int(torch.randint(2**62, (), generator=source)) for _ in range(count - 1))]


def engine_of(pair: TinyPair, kind: str) -> TorchEngine:
    if kind == "head":
        return TorchEngine(pair.model, pair.tokenizer, pair.guide())
    if kind == "self":
        return load_engine(pair.model, "self", tokenizer=pair.tokenizer)
    prompts = Prompts(pair.tokenizer)
    if kind == "model":
        return TorchEngine(pair.model, pair.tokenizer, ModelGuide(Backbone(tiny_model(7)), prompts))
    generator = torch.Generator().manual_seed(0)
    shapes = {"lora_A": (4, 32), "lora_B": (32, 4)}
    tensors = {
        f"model.layers.{layer}.self_attn.q_proj.{name}.weight": torch.randn(shape, generator=generator) / 2
        for layer in range(2)
        for name, shape in shapes.items()
    }
    base = Backbone(pair.model)
    adapter = Adapter(pair.model, tensors, {"peft_type": "LORA", "r": 4, "lora_alpha": 4})
    return TorchEngine(base, pair.tokenizer, ModelGuide(base, prompts, adapter=adapter))


@pytest.mark.parametrize("kind", ["head", "model", "self", "adapter"])
@pytest.mark.parametrize("beta", [0.5, -0.5])
def test_the_sample_with_the_highest_total_reward_is_given(pair: TinyPair, kind: str, beta: float) -> None:
    with engine_of(pair, kind) as engine:
        settings = {"beta": beta, "reference": "reference" if kind == "adapter" else "base"}
        singles = [engine.submit(ask(seed=seed, **settings)).result(60) for seed in sample_seeds(5, 6)]
        totals = [sum(event.reward for event in done.events) for done in singles]
        assert len({done.token_ids for done in singles}) == 6
        crowd = [engine.submit(ask(seed=seed)) for seed in (1, 2)]
        best = engine.submit(ask(best_of=6, **settings)).result(60)
        assert best.token_ids == singles[totals.index(max(totals))].token_ids
        assert sum(event.reward for event in best.events) == pytest.approx(max(totals), abs=1e-3)
        assert all(stream.result(60).token_ids for stream in crowd)


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
        until = time.monotonic() + 60
        while not engine.running and time.monotonic() < until:
            time.sleep(0.001)
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
