"""What every engine makes of repeats, of candidates that only the cut bounds, and of wishes in the last message."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from itertools import takewhile, zip_longest
from typing import Any

import numpy as np
import pytest

from llama_parts import llama_engine
from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.engine.protocol import Engine
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.testing import paused, tiny_pair

PART = 16  # engines keep prompts in parts of so many tokens at most
PAIR = tiny_pair()
WISH = [WeightedPreference("be concise")]
FACTORIES: dict[str, Callable[[], Any]] = {
    "torch": lambda: TorchEngine(PAIR.model, PAIR.tokenizer, PAIR.guide()),
    "llama.cpp": lambda: llama_engine(PAIR),
}


@pytest.fixture(scope="module", params=FACTORIES)
def engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    with FACTORIES[request.param]() as opened:
        yield opened


def ask(user: str = "explain entropy", **kwargs: Any) -> Request:
    return Request([{"role": "user", "content": user}], **{"max_tokens": 120, **kwargs})


def tokens(engine: Engine, request: Request) -> tuple[int, ...]:
    return engine.submit(request).result(60).token_ids


def grams(written: tuple[int, ...], n: int) -> list[tuple[int, ...]]:
    return [written[i : i + n] for i in range(len(written) - n + 1)]


# Repeats

WAYS: list[dict[str, Any]] = [{}, {"preferences": WISH}, {"preferences": WISH, "temperature": 0.7, "seed": 5}]


@pytest.mark.parametrize("way", WAYS, ids=["base", "guided", "sampled"])
@pytest.mark.parametrize("n", [1, 3])
def test_no_n_tokens_in_a_row_are_written_twice(engine: Engine, way: dict[str, Any], n: int) -> None:
    free, bound = (grams(tokens(engine, ask(no_repeat_ngram=ngram, **way)), n) for ngram in (0, n))
    assert len(set(bound)) == len(bound)
    assert len(set(free)) < len(free)


def test_a_penalty_makes_repeats_fewer_and_one_changes_nothing(engine: Engine) -> None:
    for way in WAYS:
        free, same, bound = (tokens(engine, ask(repetition_penalty=penalty, **way)) for penalty in (1.0, 1, 1e6))
        assert same == free
        assert len(set(bound)) == len(bound) > len(set(free))


def test_only_the_answers_own_tokens_count(engine: Engine) -> None:
    assert tokens(engine, ask(max_tokens=1, repetition_penalty=1e6)) == tokens(engine, ask(max_tokens=1))
    prompt = [*engine.prompts.render(ask().messages), *tokens(engine, ask(max_tokens=1))]
    first, again = (Request(prompt_ids=prompt, max_tokens=3, repetition_penalty=penalty) for penalty in (1.0, 1e6))
    assert tokens(engine, again)[0] == tokens(engine, first)[0]


def test_rows_have_repeats_of_their_own(engine: Any) -> None:
    made = [
        ask(preferences=wishes, repetition_penalty=penalty, no_repeat_ngram=n, max_tokens=30 + n)
        for wishes in ([], WISH)
        for penalty, n in ((1.0, 0), (1.4, 0), (1.0, 2), (1.2, 3))
    ]
    alone = [tokens(engine, request) for request in made]
    with paused(engine):
        streams = [engine.submit(request) for request in made]
    assert [stream.result(60).token_ids for stream in streams] == alone
    assert len(set(alone)) == len(alone)


def test_log_probabilities_have_the_penalties_and_rewards_do_not(engine: Engine) -> None:
    """All tokens are candidates, and a strength of almost 0 chooses the base's own token first."""
    request = {"beta": 1e-9, "candidates": 400, "top_k": 400, "max_tokens": 2}
    for wishes in ([], WISH):
        free, bound = (
            engine.submit(ask(preferences=wishes, repetition_penalty=penalty, **request)).result(60).events
            for penalty in (1.0, 1.5)
        )
        repeated = free[0].token_id
        assert bound[0].token_id == repeated
        before, now = ({one.token_id: one for one in events[1].candidates} for events in (free, bound))
        z = before[repeated].score
        assert now[repeated].score == pytest.approx(z / 1.5 if z > 0 else z * 1.5, rel=1e-4)
        total = logsum([one.score for one in now.values()])
        for token, one in now.items():
            assert one.reward == pytest.approx(before[token].reward, abs=2e-3)
            assert one.logprob == pytest.approx(one.score - total, abs=1e-3)
        assert bound[1].logprob == pytest.approx(now[bound[1].token_id].score - total, abs=1e-3)
        assert bool(wishes) == any(one.reward for one in now.values())


def logsum(values: list[float]) -> float:
    return float(np.logaddexp.reduce(values))


@pytest.mark.parametrize("way", WAYS, ids=["base", "guided", "sampled"])
def test_a_grammar_is_obeyed_where_it_has_to_repeat(engine: Engine, way: dict[str, Any]) -> None:
    told = [{"name": "ab ab ab ab"}, {"name": "ab ab ab ab"}]
    grammar = engine.grammars.json_schema({"const": told})
    costs = {"no_repeat_ngram": 1, "repetition_penalty": 10.0}
    done = engine.submit(ask(grammar=grammar, **costs, **way)).result(60)
    assert json.loads(done.text) == told
    assert done.finish_reason == "stop"


# Candidates


def test_where_only_the_cut_bounds_them_every_plausible_token_is_a_candidate(engine: Engine) -> None:
    plain = engine.submit(ask(candidates=400, top_k=400, max_tokens=1)).result(60).events[0]
    best = max(one.score for one in plain.candidates)
    for alpha in (0.5, 0.05, 0.002):
        wished = ask(preferences=WISH, alpha=alpha, top_k=400, candidates=400, max_tokens=1)
        found = engine.submit(wished).result(60).events[0]
        plausible = {one.token_id for one in plain.candidates if one.score >= best + math.log(alpha)}
        assert {one.token_id for one in found.candidates} == plausible
        assert sum(math.exp(one.logprob) for one in found.candidates) <= 1.0 + 1e-4
    assert len(plausible) > 10


# Wishes in the last message


def test_a_wish_in_the_last_message_leaves_earlier_turns_kept(engine: Any) -> None:
    """The second turn tells the first as it was, without the wish, so all that came before the wish is kept."""
    engine.forget_prefixes()
    chat = Chat(engine, settings=ChatSettings(max_tokens=4, condition_base=True, wish_place="user"))
    asked: list[Request] = []
    submit = engine.submit

    def record(request: Request) -> Any:
        asked.append(request)
        return submit(request)

    engine.submit = record
    try:
        talk = [{"role": "user", "content": "please explain " * 9 + "why the sky is so very blue today"}]
        answer = chat.submit(talk, CallOptions(preference="be brief")).result().text
        before = engine.stats.reused_tokens
        talk += [{"role": "assistant", "content": answer}, {"role": "user", "content": "and at night?"}]
        chat.submit(talk, CallOptions(preference="be brief")).result()
    finally:
        del engine.submit
    first, second = (engine.tokenizer.decode(request.prompt_ids) for request in asked)
    assert first.count("(Be brief.)") == second.count("(Be brief.)") == 1
    assert second.index("and at night?") < second.index("(Be brief.)")
    ids = [request.prompt_ids for request in asked]
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], zip_longest(*ids))))
    assert engine.tokenizer.decode(ids[0][:shared]).rstrip().endswith("so very blue today")
    assert shared - PART < engine.stats.reused_tokens - before <= shared
