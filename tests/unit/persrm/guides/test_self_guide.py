"""The base as its own guide: told a wish against told its opposite, in two rows, exactly as two prompts say."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from naive_reference import NaiveContrast, naive_decode, render
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Recommended, Request, WeightedPreference
from pad_langchain.errors import ContextLengthError, InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.kv.prefixes import BLOCK
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.build import load_pair
from pad_langchain.persrm.guides import SelfGuide
from pad_langchain.testing import TinyPair, paused

WISHES = [[("be concise", 1.0)], [("be formal", -0.7), ("use a list", 1.4)], [("be kind", 0.5), ("be brief", 0.0)]]
STEERING = [(0.5, 50, 0.001), (1.5, 5, 0.02), (3.0, 10, 0.0), (0.0, 10, 0.0)]
LONG = "please explain why the sky is so very blue today and how do you make a cup of tea for a friend of mine"


@pytest.fixture(scope="module")
def engine(pair: TinyPair) -> Iterator[TorchEngine]:
    with engine_of(pair) as opened:
        yield opened


def engine_of(pair: TinyPair, **settings: Any) -> TorchEngine:
    base = Backbone(pair.model)
    return TorchEngine(base, pair.tokenizer, SelfGuide(base, Prompts(pair.tokenizer)), **settings)


def told(user: str, wish: str = "be concise") -> str:
    return f"{user} ({wish}.)"


def ask(pair: TinyPair, user: str = "explain entropy", wishes: Any = WISHES[0], **settings: Any) -> Request:
    """A request whose base is told one thing, and contrasted with another."""
    given = {
        "preferences": [WeightedPreference(*wish) for wish in wishes],
        "prompt_ids": render(pair.tokenizer, told(user)),
        "contrast_ids": render(pair.tokenizer, told(user, "be detailed")),
        "max_tokens": 12,
        **settings,
    }
    return Request([{"role": "user", "content": user}], **given)


@pytest.mark.slow
def test_two_rows_are_two_prompts_token_for_token(pair: TinyPair, engine: TorchEngine) -> None:
    """beta × k × alpha × one or several wishes; alone, and in one batch with a row that nothing steers."""
    requests, expected = [], []
    for index, (wishes, (beta, k, alpha)) in enumerate(itertools.product(WISHES, STEERING)):
        user = "why is the sky " + "very " * (index % 5) + "blue?"
        settings: dict[str, Any] = {"beta": beta, "alpha": alpha, "max_tokens": 4 + index}
        requests.append(ask(pair, user, wishes, top_k=k, **settings))
        nonzero = [wish for wish in wishes if wish[1]]
        guide = NaiveContrast(told(user, "be detailed"))
        naive = {"k": k, "reference": "base", "combine": "sum", **settings}
        expected.append(naive_decode(pair.model, pair.tokenizer, told(user), guide, nonzero, **naive))
    plain = Request([{"role": "user", "content": "hi"}], max_tokens=20)
    for together in (False, True):
        if together:
            with paused(engine):
                streams = [engine.submit(request) for request in (plain, *requests)][1:]
            done = [stream.result(120) for stream in streams]
        else:
            done = [engine.submit(request).result(120) for request in requests]
        for (tokens, rewards), one in zip(expected, done, strict=True):
            assert list(one.token_ids) == tokens
            assert [event.reward for event in one.events] == pytest.approx(rewards, abs=1e-3)
    unsteered = [tokens for (tokens, _), request in zip(expected, requests, strict=True) if not request.beta]
    steered = [tokens for (tokens, _), request in zip(expected, requests, strict=True) if request.beta == 3.0]
    assert any(one[:4] != other[:4] for one, other in zip(unsteered, steered, strict=True))


def test_however_many_wishes_there_are_two_rows(pair: TinyPair) -> None:
    with engine_of(pair, max_batch_tokens=2 * 160) as engine:
        wishes = [(f"wish {n}", 1.0) for n in range(8)]
        assert engine.submit(ask(pair, wishes=wishes, max_tokens=60)).result(60).token_ids
        with pytest.raises(InvalidRequestError, match="needs 9 rows"):
            engine.submit(ask(pair, wishes=wishes, max_tokens=60, contrast_ids=None))


def test_the_mean_weight_scales_and_the_signs_are_in_the_words(pair: TinyPair, engine: TorchEngine) -> None:
    def rewards(*weights: float) -> list[float]:
        wishes = [(f"wish {n}", weight) for n, weight in enumerate(weights)]
        request = ask(pair, wishes=wishes, beta=1e-9, candidates=10, max_tokens=1)
        return [candidate.reward for candidate in engine.submit(request).result(60).events[0].candidates]

    once = rewards(1.0)
    assert max(map(abs, once)) > 0.01
    assert rewards(-1.0) == pytest.approx(once)
    assert rewards(0.5, -2.0, 0.0) == pytest.approx([1.25 * reward for reward in once], rel=1e-4)
    assert rewards(0.0) == pytest.approx([0.0] * 10)


def test_both_rows_run_a_kept_beginning_once(pair: TinyPair) -> None:
    """They begin alike up to the wish, so the second question runs what is new in each."""
    with engine_of(pair) as engine, engine_of(pair, prefix_tokens=0) as forgetful:
        first = ask(pair, LONG)
        prompts = [render(pair.tokenizer, told(LONG, wish)) for wish in ("use a list", "write in prose")]
        second = ask(pair, LONG, prompt_ids=prompts[0], contrast_ids=prompts[1])
        assert engine.submit(first).result(60).token_ids == forgetful.submit(first).result(60).token_ids
        before = engine.stats
        assert engine.submit(second).result(60).token_ids == forgetful.submit(second).result(60).token_ids
        reused = engine.stats.reused_tokens - before.reused_tokens
        columns = zip(first.prompt_ids or (), *prompts, strict=False)
        common = len(list(itertools.takewhile(lambda column: len(set(column)) == 1, columns)))
        fresh = max(map(len, prompts)) - common // BLOCK * BLOCK  # the longer row's, and both run as many
        assert engine.stats.prefilled_tokens - before.prefilled_tokens == 2 * fresh
        assert reused == sum(map(len, prompts)) - 2 * fresh >= common


@pytest.mark.parametrize(
    ("contrast", "error", "message"),
    [
        ([5, 400], InvalidRequestError, r"contrast_ids has to be token ids from 0 to 399, but has \[400\]"),
        ([5, "a"], InvalidRequestError, "contrast_ids has to be a list of token ids"),
        ([9] * 512, ContextLengthError, "prompt has 512 tokens, but its context is 512"),
    ],
)
def test_a_contrast_that_cannot_run_is_refused(
    pair: TinyPair, engine: TorchEngine, contrast: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        engine.submit(ask(pair, contrast_ids=contrast))


def test_other_guides_do_not_read_a_contrast(pair: TinyPair) -> None:
    with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
        one, other = (engine.submit(ask(pair, contrast_ids=ids)).result(60) for ids in (None, [5, 6]))
        assert one.token_ids == other.token_ids


def test_what_it_recommends(pair: TinyPair) -> None:
    with load_pair(pair.model, "self", tokenizer=pair.tokenizer).engine as engine:
        guide = engine.guide
        assert isinstance(guide, SelfGuide)
        assert engine.recommended == Recommended(0.5, 0.001, top_k=50, condition_base=True, wish_place="user")
