"""What every guide keeps, wherever its rewards come from. A new guide only joins `GUIDES`.

Each factory makes a guide for the tiny pair, and is given the base's backbone for guides that ride in its forward.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from pad_langchain.engine.protocol import Guide
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Recommended, Request, WeightedPreference
from pad_langchain.errors import GuideError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.kv.prefixes import BLOCK
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides import ByteLevelGuide, ModelGuide, SelfGuide
from pad_langchain.testing import TinyPair, tiny_model, tiny_tokenizer
from parts import adapter_of, text_parts

Factory = Callable[[TinyPair, Backbone], Guide]


def text(pair: TinyPair, base: Backbone) -> Guide:
    model, value_head = text_parts()
    return ModelGuide(Backbone(model), Prompts(pair.tokenizer), value_head)


def byte_level(pair: TinyPair, base: Backbone) -> Guide:
    """A text PersRM with another tokenizer."""
    other = tiny_tokenizer(330)
    return ByteLevelGuide(Backbone(tiny_model(5, vocab_size=len(other), hidden_size=48)), Prompts(other))


def adapter(pair: TinyPair, base: Backbone) -> Guide:
    return ModelGuide(base, Prompts(pair.tokenizer), adapter=adapter_of(pair))


GUIDES: dict[str, Factory] = {
    "head": lambda pair, base: pair.guide(),
    "text": text,
    "byte_level": byte_level,
    "adapter": adapter,
    "self": lambda pair, base: SelfGuide(base, Prompts(pair.tokenizer)),
}

WISH = [WeightedPreference("be polite and formal")]
SYSTEM = {"role": "system", "content": "please be concise, formal and polite when you answer my question"}


@pytest.fixture(scope="module", params=GUIDES)
def make(request: pytest.FixtureRequest) -> Factory:
    return GUIDES[request.param]


@pytest.fixture(scope="module")
def steered(pair: TinyPair, make: Factory) -> Iterator[TorchEngine]:
    with engine_of(pair, make) as opened:
        yield opened


def engine_of(pair: TinyPair, make: Factory, **settings: Any) -> TorchEngine:
    base = Backbone(pair.model)
    return TorchEngine(base, pair.tokenizer, make(pair, base), **settings)


def ask(user: str = "explain entropy", **kwargs: Any) -> Request:
    settings = {"preferences": WISH, "max_tokens": 12, **kwargs}
    return Request([SYSTEM, {"role": "user", "content": user}], **settings)


def tokens(engine: TorchEngine, request: Request) -> tuple[int, ...]:
    return engine.submit(request).result(60).token_ids


# What it says of itself


def test_it_names_its_kind_and_what_it_recommends(steered: TorchEngine) -> None:
    guide = steered.guide
    assert guide is not None
    assert guide.kind in steered.capabilities.guides
    assert steered.recommended == guide.recommended
    assert isinstance(steered.recommended, Recommended)
    models = 1 if guide.backbone is None or guide.rides(steered.base) else 2
    assert len(steered.models) == models
    if guide.adapter is not None:
        assert guide.rides(steered.base)


# Rewards


def test_a_wish_steers_and_without_its_reward_it_is_the_base(steered: TorchEngine) -> None:
    base = tokens(steered, ask(preferences=[]))
    assert tokens(steered, ask(beta=0.0)) == base
    assert tokens(steered, ask(preferences=[WeightedPreference(WISH[0].text, 0.0)])) == base
    assert tokens(steered, ask(beta=2.0)) != base


def test_weights_scale_and_signs_oppose(steered: TorchEngine) -> None:
    rewards = {}
    for weight in (1.0, -1.0, 0.0):
        wish = [WeightedPreference("be kind", weight)]
        done = steered.submit(ask(preferences=wish, beta=1e-9, candidates=10, max_tokens=1)).result(60)
        rewards[weight] = torch.tensor([candidate.reward for candidate in done.events[0].candidates])
    assert rewards[1.0].abs().max() > 0.1
    assert torch.dot(rewards[1.0], rewards[-1.0]) < 0
    if steered.guide.kind == "head":  # its weight acts in the hidden state, before the logits are normalised
        assert rewards[0.0].abs().max() < 1e-5
    else:
        assert rewards[0.0].abs().max() == 0.0
        assert torch.allclose(rewards[1.0], -rewards[-1.0], atol=1e-5)


@pytest.mark.parametrize("beta", [0.5, -0.5])
def test_the_sample_with_the_highest_total_reward_is_given(steered: TorchEngine, beta: float) -> None:
    settings = {"temperature": 1.0, "beta": beta, "preferences": [WeightedPreference("be kind")]}
    settings["reference"] = "reference" if steered.guide.kind == "adapter" else "base"
    source = torch.Generator().manual_seed(5)  # how the engine makes a seed for each sample after the first
    seeds = [5, *(int(torch.randint(2**62, (), generator=source)) for _ in range(5))]
    singles = [steered.submit(ask(seed=seed, **settings)).result(60) for seed in seeds]
    totals = [sum(event.reward for event in done.events) for done in singles]
    assert len({done.token_ids for done in singles}) == 6
    crowd = [steered.submit(ask(seed=seed, temperature=1.0)) for seed in (1, 2)]
    best = steered.submit(ask(seed=5, best_of=6, **settings)).result(60)
    assert best.token_ids == singles[totals.index(max(totals))].token_ids
    assert sum(event.reward for event in best.events) == pytest.approx(max(totals), abs=1e-3)
    assert all(stream.result(60).token_ids for stream in crowd)


def test_tokens_settled_without_it_are_read_later(steered: TorchEngine) -> None:
    """Lazy guidance feeds several tokens at once."""
    clipped, lazy = (
        steered.submit(ask(max_tokens=40, clip=0.5, lazy=lazy, beta=0.6)).result(60) for lazy in (False, True)
    )
    assert lazy.token_ids == clipped.token_ids
    assert sum(event.skipped for event in lazy.events) > 0


# In company


def test_rows_that_come_and_go_are_as_alone(steered: TorchEngine) -> None:
    wishes = [WeightedPreference("be kind"), WeightedPreference("be brief", -0.5), WeightedPreference("tell jokes")]
    requests = [
        ask(
            "why? " * (1 + index),
            preferences=wishes[: index % 4],
            top_k=(10, 4, 25)[index % 3],
            alpha=0.02 * (index % 2),
            temperature=0.8 * (index % 2),
            combine="max" if index % 5 == 0 else "sum",
            seed=index,
            max_tokens=6 + 5 * index,
        )
        for index in range(8)
    ]
    alone = [tokens(steered, request) for request in requests]
    assert [stream.result(60).token_ids for stream in [steered.submit(one) for one in requests]] == alone


def test_a_reward_that_is_not_finite_fails_its_own_request(steered: TorchEngine) -> None:
    alone = tokens(steered, ask())
    good, bad = ask(), ask(preferences=[WeightedPreference("x", 3e38), WeightedPreference("y", -3e38)], beta=2.0)
    streams = [steered.submit(request) for request in (good, bad, good)]
    with pytest.raises(GuideError, match="not finite"):
        streams[1].result(60)
    assert [streams[index].result(60).token_ids for index in (0, 2)] == [alone, alone]


# Prefixes


def test_rows_of_another_salt_share_nothing(pair: TinyPair, make: Factory) -> None:
    """Neither the base's rows nor the guide's; what is written does not depend on it."""
    with engine_of(pair, make) as engine:
        reference = "reference" if engine.guide.kind == "adapter" else "base"

        def run(salt: str) -> tuple[tuple[int, ...], list[int]]:
            """The answer, and what each model knew of its prompts."""
            before = [backbone.tally.reused for backbone in engine.models]
            answer = tokens(engine, ask("what is an element?", salt=salt, reference=reference))
            return answer, [one.tally.reused - b for one, b in zip(engine.models, before, strict=True)]

        plain, first = run("")
        for salt in ("ada", "bob", "ad"):
            assert run(salt) == (plain, first)
        for salt in ("", "ada", "bob"):
            again, known = run(salt)
            assert again == plain
            assert all(now > then + BLOCK for now, then in zip(known, first, strict=True))


def test_a_common_beginning_is_run_once_and_the_same_is_written(pair: TinyPair, make: Factory) -> None:
    questions = ("what is an element?", "why is the sky blue? " * 3, "who are you?")
    requests = [ask(question) for question in questions]
    with engine_of(pair, make, prefix_tokens=0) as forgetful, engine_of(pair, make) as engine:
        expected = [tokens(forgetful, request) for request in requests]
        assert forgetful.stats.reused_tokens == 0
        assert [tokens(engine, request) for request in requests] == expected
        stats, prompts = engine.stats, forgetful.stats.prefilled_tokens
        assert stats.reused_tokens + stats.prefilled_tokens == prompts
        assert stats.reused_tokens > prompts / 8
        # the next turn runs what is new, and at most a block of what is not
        turn = Request(prompt_ids=[*engine.prompts.render(requests[0].messages), *expected[0], 5, 6, 7], max_tokens=20)
        assert tokens(engine, turn) == tokens(forgetful, turn)
        assert engine.stats.prefilled_tokens - stats.prefilled_tokens <= BLOCK + 3
