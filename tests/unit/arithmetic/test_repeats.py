"""What repeats cost: the rule, the same in numpy and torch, and the torch engine against the naive reference."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from naive_reference import NaiveHead, NaiveText, naive_decode, with_repeats
from pad_langchain.arithmetic.repeats import Repeats
from pad_langchain.arithmetic.scoring import penalised
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.testing import TinyPair, paused
from parts import text_parts

WISHES = (("be concise", 1.0), ("use formal words", -0.5))
COSTS = [(1.0, 0), (1.3, 0), (2.5, 0), (1.0, 1), (1.0, 3), (1.2, 2)]


def after(tokens: list[int], penalty: float, ngram: int) -> Repeats:
    repeats = Repeats(penalty, ngram)
    for token in tokens:
        repeats.append(token)
    return repeats


def test_positive_logits_are_divided_and_others_multiplied() -> None:
    logits = [3.0, -2.0, 0.0, -math.inf]
    expected = [1.5, -4.0, 0.0, -math.inf]
    assert penalised(np.array(logits, dtype=np.float32), 2.0).tolist() == expected
    assert penalised(torch.tensor(logits), 2.0).tolist() == expected


@pytest.mark.parametrize(("penalty", "ngram"), [*COSTS, (1.5, 4), (1.0, 5)])
def test_both_libraries_do_what_the_naive_loop_does(penalty: float, ngram: int) -> None:
    rng = np.random.default_rng(3)
    for length in (0, 1, 2, 5, 40):
        tokens = rng.integers(0, 6, length).tolist()
        row_V = rng.normal(size=6).astype(np.float32)
        expected = with_repeats(row_V.tolist(), tokens, penalty, ngram)
        in_numpy, in_torch = row_V.copy(), torch.from_numpy(row_V.copy())
        repeats = after(tokens, penalty, ngram)
        repeats.apply(in_numpy)
        repeats.apply(in_torch)
        assert in_numpy.tolist() == in_torch.tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_candidates_are_penalised_as_their_rows_are(library: str) -> None:
    row_V = np.linspace(-2, 2, 8, dtype=np.float32)
    places_K = np.array([6, 1, 3])
    repeats = after([1, 6, 6, 2], 1.7, 0)
    whole_V = row_V.copy()
    repeats.apply(whole_V)
    if library == "torch":
        found = repeats.penalise(torch.from_numpy(places_K), torch.from_numpy(row_V[places_K])).numpy()
    else:
        found = repeats.penalise(places_K, row_V[places_K])
    assert found.tolist() == whole_V[places_K].tolist()


def test_of_what_a_grammar_allows_something_stays_allowed() -> None:
    row_V = np.array([1.0, -math.inf, 0.5, -math.inf], dtype=np.float32)
    after([0, 1], 1.0, 1).apply(row_V)
    assert row_V.tolist() == [-math.inf, -math.inf, 0.5, -math.inf]
    row_V = np.array([1.0, -math.inf, 0.5, -math.inf], dtype=np.float32)
    after([0, 2], 1.0, 1).apply(row_V)
    assert row_V.tolist() == [1.0, -math.inf, 0.5, -math.inf]


def test_an_answer_without_settings_has_no_repeats() -> None:
    assert Repeats.of(1.0, 0) is None
    made = Repeats.of(1.2, 3)
    assert made is not None
    assert (made.penalty, made.ngram) == (1.2, 3)


def test_what_an_answer_was_told_again_or_otherwise_counts_once() -> None:
    """A step has the answer's tokens so far; one may begin from others, as drafts were refused or a row is another."""
    rng = np.random.default_rng(5)
    followed = Repeats(1.4, 2)
    for tokens in ([], [3], [3, 1], [3, 1], [3, 1, 3, 2], [3, 1, 0], [3, 1, 0, 3], [2], []):
        followed.follow(tokens)
        row_V = rng.normal(size=6).astype(np.float32)
        expected_V = row_V.copy()
        followed.apply(row_V)
        after(tokens, 1.4, 2).apply(expected_V)
        assert row_V.tolist() == expected_V.tolist()


def requests() -> list[tuple[str, Request]]:
    return [
        (
            f"why is the sky {'very ' * n}blue?",
            Request(
                [{"role": "user", "content": f"why is the sky {'very ' * n}blue?"}],
                preferences=[WeightedPreference(*wish) for wish in WISHES],
                beta=beta,
                top_k=k,
                alpha=alpha,
                reference="reference" if n % 2 else "base",
                repetition_penalty=penalty,
                no_repeat_ngram=ngram,
                max_tokens=20 + n % 5,
            ),
        )
        for n, (beta, (k, alpha), (penalty, ngram)) in enumerate(
            itertools.product((0.0, 1.0), ((10, 0.0), (400, 0.02)), COSTS)
        )
    ]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["head", "text"])
def test_every_cost_equals_the_naive_reference(pair: TinyPair, kind: str) -> None:
    """beta × (k, alpha) × penalty × n; alone, and all in one batch, each row with its own."""
    guide, naive_guide = pair.guide(), NaiveHead(pair.head, pair.embedder)
    if kind == "text":
        model, value_head = text_parts()
        guide = ModelGuide(Backbone(model), Prompts(pair.tokenizer), value_head)
        naive_guide = NaiveText(model, value_head)
    expected = [
        naive_decode(
            pair.model,
            pair.tokenizer,
            user,
            naive_guide,
            WISHES,
            beta=request.beta,
            k=request.top_k,
            alpha=request.alpha,
            reference=request.reference,
            combine=request.combine,
            max_tokens=request.max_tokens,
            penalty=request.repetition_penalty,
            ngram=request.no_repeat_ngram,
        )
        for user, request in requests()
    ]
    with TorchEngine(pair.model, pair.tokenizer, guide) as engine:
        with paused(engine):
            streams = [engine.submit(request) for _, request in requests()]
        together = [stream.result(120) for stream in streams]
        alone = [engine.submit(request).result(60).token_ids for _, request in requests()]
    for (tokens, rewards), done, by_itself, (_, request) in zip(expected, together, alone, requests(), strict=True):
        assert list(done.token_ids) == list(by_itself) == tokens, request
        assert [event.reward for event in done.events] == pytest.approx(rewards, abs=1e-3), request
    assert len({tuple(tokens) for tokens, _ in expected}) > len(expected) / 2


def test_in_lower_precision_rewards_and_penalties_are_of_exact_logits(pair: TinyPair) -> None:
    """bfloat16: the candidates' logits are computed anew in float32, and the penalty acts on these."""
    model = copy.deepcopy(pair.model).bfloat16()
    asked = {"messages": [{"role": "user", "content": "hi"}], "preferences": [WeightedPreference("be concise")]}
    asked |= {"beta": 1e-6, "candidates": 10}
    with TorchEngine(model, pair.tokenizer, pair.guide()) as engine:
        free, bound = (
            engine.submit(Request(**asked, max_tokens=2, repetition_penalty=penalty)).result(60)
            for penalty in (1.0, 1e-9 + 1.0)
        )
        costly = engine.submit(Request(**asked, max_tokens=40, repetition_penalty=1e6)).result(60)
    assert free.events == bound.events
    assert len(set(costly.token_ids)) == len(costly.token_ids)
