"""What every engine keeps, whatever runs below it. A new engine only joins `ENGINES`.

Each factory opens an engine on the same tiny pair, guided by its head, with a context of 512 tokens; keywords are
settings. Where an engine cannot do something, its `capabilities` say so and the test is skipped.
"""

from __future__ import annotations

import asyncio
import copy
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from fake_vllm import remote_engine
from llama_parts import llama_engine
from pad_langchain.engine.grammar import Grammar
from pad_langchain.engine.protocol import Engine
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Recommended, Request, WeightedPreference
from pad_langchain.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineClosedError,
    GuideError,
    InvalidRequestError,
    PadError,
)
from pad_langchain.testing import TinyPair, paused, tiny_pair
from waiting import until

Factory = Callable[..., Engine]

PAIR = tiny_pair()
WISH = [WeightedPreference("be concise")]


def torch_engine(pair: TinyPair, *, guided: bool = True, **settings: Any) -> Engine:
    return TorchEngine(pair.model, pair.tokenizer, pair.guide() if guided else None, **settings)


ENGINES: dict[str, Factory] = {"torch": torch_engine, "llama.cpp": llama_engine, "remote": remote_engine}


@pytest.fixture(scope="module", params=ENGINES)
def factory(request: pytest.FixtureRequest) -> Factory:
    return ENGINES[request.param]


@pytest.fixture(scope="module")
def engine(factory: Factory) -> Iterator[Engine]:
    with factory(PAIR) as opened:
        yield opened


def ask(user: str = "explain entropy", **kwargs: Any) -> Request:
    return Request(messages=[{"role": "user", "content": user}], **{"max_tokens": 30, **kwargs})


def tokens(engine: Engine, request: Request) -> tuple[int, ...]:
    return engine.submit(request).result(60).token_ids


class Gate(Grammar):
    """The grammar of one request that is in flight for sure: any text without an end, of which `after` tokens come.

    The step that would choose the next one waits, with all who share it, until the gate is opened or the engine closed.
    """

    finished = False

    def __init__(self, engine: Engine, after: int = 1) -> None:
        self._engine, self._left, self._opened = engine, after, threading.Event()
        self.vocab_size = PAIR.head.config.vocab_size
        self.source = f"gate {id(self)}"

    def __enter__(self) -> Gate:
        if (fake := getattr(self._engine, "fake", None)) is not None:
            fake.grammars[self.source] = copy.copy(self)  # the server counts its own tokens
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._opened.set()

    def start(self) -> Any:
        return self

    def mask(self) -> np.ndarray:
        if not self._left:
            until(lambda: self._opened.is_set() or self._engine.closed)
        legal_V = np.ones(self.vocab_size, dtype=bool)
        legal_V[list(self._engine.end_tokens)] = False
        return legal_V

    def accept(self, token_id: int) -> None:
        self._left = max(0, self._left - 1)


# What an engine says of itself


def test_it_tells_what_it_is(engine: Engine, factory: Factory) -> None:
    assert engine.context == 512
    assert engine.guided
    assert engine.recommended == Recommended(PAIR.head.config.beta, PAIR.head.config.alpha)
    assert PAIR.tokenizer.eos_token_id in engine.end_tokens
    assert isinstance(engine.end_tokens, frozenset)
    assert "head" in engine.capabilities.guides
    assert engine.settings.max_batch >= 1
    request = ask()
    assert engine.count_tokens(request) == len(engine.prompts.render(request.messages))
    assert engine.room(request) == 30
    assert engine.room(ask(max_tokens=10_000)) == 512 - engine.count_tokens(request)
    with factory(PAIR, guided=False) as plain:
        assert not plain.guided
        assert plain.recommended == Recommended(1.0, 0.0)


# One answer


@pytest.mark.parametrize("preferences", [[], WISH], ids=["base", "guided"])
def test_the_stream_is_the_result(engine: Engine, preferences: list[WeightedPreference]) -> None:
    stream = engine.submit(ask(preferences=preferences, max_tokens=60))
    events = list(stream)
    done = stream.result(10)
    assert tuple(events) == done.events == stream.events == tuple(stream)
    assert stream.error is None
    assert [event.index for event in events] == list(range(len(events)))
    assert [event.finish_reason for event in events[:-1]] == [None] * (len(events) - 1)
    assert done.finish_reason == events[-1].finish_reason in ("length", "stop")
    assert done.text == "".join(event.text for event in events)
    written = [token for token in done.token_ids if token not in engine.end_tokens]
    assert done.text == PAIR.tokenizer.decode(written)
    assert (done.prompt_tokens, done.completion_tokens) == (engine.count_tokens(ask()), len(done.token_ids))
    assert all(event.logprob <= 0 for event in events)
    if preferences and engine.capabilities.token_rewards:
        assert done.mean_reward == pytest.approx(sum(event.reward for event in events) / len(events))
        assert any(event.reward for event in events)
    else:
        assert not any(event.reward for event in events)


@pytest.mark.parametrize("preferences", [[], WISH], ids=["base", "guided"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_a_request_without_logprobs_gets_nan_for_them_and_nothing_else_changes(
    engine: Engine, preferences: list[WeightedPreference], temperature: float
) -> None:
    said = {"preferences": preferences, "temperature": temperature, "seed": 1, "max_tokens": 8}
    wanted, unwanted = ask(**said), ask(**said, logprobs=False)
    expected, alone = (engine.submit(request).result(60) for request in (wanted, unwanted))
    assert all(math.isnan(event.logprob) for event in alone.events)
    assert [replace(event, logprob=0.0) for event in alone.events] == [
        replace(event, logprob=0.0) for event in expected.events
    ]
    with paused(engine):
        streams = [engine.submit(request) for request in (wanted, unwanted)]
    company, found = (stream.result(60) for stream in streams)
    assert company.token_ids == found.token_ids == expected.token_ids
    assert all(event.logprob <= 0 for event in company.events)
    assert all(math.isnan(event.logprob) for event in found.events)


async def test_async_readers_get_the_same(engine: Engine) -> None:
    expected = engine.submit(ask(preferences=WISH)).result(60)

    async def read(stream: Stream) -> list[tuple[int, str]]:
        return [(event.token_id, event.text) async for event in stream]

    streams = [engine.submit(ask(preferences=WISH)) for _ in range(3)]
    told = [(event.token_id, event.text) for event in expected.events]
    assert await asyncio.gather(*map(read, streams)) == [told] * 3
    assert (await engine.submit(ask(preferences=WISH)).aresult()).text == expected.text


def test_beta_zero_is_the_base(engine: Engine) -> None:
    """Greedy against transformers, sampled against a request without preferences."""
    for user in ("tell me about tea", "why is the sky blue?"):
        ids = engine.prompts.render(ask(user).messages)
        theirs = PAIR.model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=30, pad_token_id=0)
        assert list(tokens(engine, ask(user, preferences=WISH, beta=0.0))) == theirs[0, len(ids) :].tolist()
    sampled = {"temperature": 1.2, "seed": 4}
    assert tokens(engine, ask(preferences=WISH, beta=0.0, **sampled)) == tokens(engine, ask(**sampled))
    assert tokens(engine, ask(preferences=WISH)) != tokens(engine, ask())


@pytest.mark.parametrize(("start", "length"), [(5, 1), (9, 3), (20, 7)])
def test_stop_strings_are_cut_alike_in_stream_and_result(engine: Engine, start: int, length: int) -> None:
    whole = engine.submit(ask(max_tokens=60)).result(60).text
    stop = whole[start : start + length]
    done = engine.submit(ask(max_tokens=60, stop=["never there", stop])).result(60)
    assert done.text == whole[: whole.index(stop)]
    assert done.finish_reason == "stop"
    assert "".join(event.text for event in done.events) == done.text
    assert done.completion_tokens < 60


def test_candidates_are_reported_best_first(engine: Engine) -> None:
    for preferences in ([], WISH):
        event = engine.submit(ask(max_tokens=1, candidates=5, preferences=preferences)).result(60).events[0]
        told = engine.capabilities.token_rewards or not preferences  # else they are known by the base's logprobs alone
        scores = [candidate.score if told else candidate.logprob for candidate in event.candidates]
        assert len(scores) == 5
        assert scores == sorted(scores, reverse=True)
        assert {candidate.reward is None for candidate in event.candidates} == {not told}
        assert event.candidates[0].token_id == event.token_id or not told
        assert [one.text for one in event.candidates] == [
            PAIR.tokenizer.decode([one.token_id]) for one in event.candidates
        ]


# In company


def test_batched_is_alone_greedy_and_sampled(engine: Engine) -> None:
    """Rows of every kind join late and leave early; none of them sees it."""
    mixed = [
        ask(
            "why is the sky " + "very " * (index % 4) + "blue?",
            preferences=WISH if index % 2 else [],
            beta=(0.5, 1.5)[index % 4 // 2],
            temperature=0.9 if index % 3 == 0 else 0.0,
            top_p=0.95,
            top_k=2 + index,
            seed=index,
            max_tokens=5 + 3 * index,
        )
        for index in range(9)
    ]
    alone = [tokens(engine, request) for request in mixed]
    streams = [engine.submit(request) for request in mixed]
    assert [stream.result(60).token_ids for stream in streams] == alone


def test_the_same_seed_is_the_same_text(engine: Engine) -> None:
    request = ask(temperature=1.0, seed=7, preferences=WISH)
    assert tokens(engine, request) == tokens(engine, request)
    assert len({tokens(engine, ask(temperature=1.0, seed=seed)) for seed in range(4)}) == 4
    assert len({tokens(engine, ask(temperature=1.0)) for _ in range(4)}) > 1


def test_one_rows_error_is_its_own(engine: Engine) -> None:
    """A huge but finite weight overflows in the guide: its request fails, its neighbours and the engine live."""
    good, bad = ask(preferences=WISH), ask(preferences=[WeightedPreference("x", 3e38)])
    alone = tokens(engine, good)
    streams = [engine.submit(request) for request in (good, bad, good)]
    with pytest.raises(GuideError, match="not finite"):
        streams[1].result(60)
    assert isinstance(streams[1].error, GuideError)
    assert [streams[index].result(60).token_ids for index in (0, 2)] == [alone, alone]
    assert tokens(engine, good) == alone


# Leaving, waiting, closing


def test_cancelling_ends_one_request_alone(factory: Factory) -> None:
    with factory(PAIR) as engine:
        with Gate(engine) as gate:
            stream = engine.submit(ask(max_tokens=450, grammar=gate))
            neighbour = engine.submit(ask("and you?", max_tokens=40))
            next(iter_events := iter(stream))
            stream.cancel()
        done = stream.result(10)
        assert done.finish_reason == "cancelled"
        assert done.completion_tokens < 450
        assert list(iter_events)[-1].finish_reason == "cancelled"
        assert neighbour.result(60).finish_reason in ("length", "stop")


def test_a_reader_who_leaves_cancels(factory: Factory) -> None:
    with factory(PAIR) as engine:
        with Gate(engine, after=2) as gate:
            stream = engine.submit(ask(max_tokens=450, grammar=gate))
            for event in stream:
                if event.index == 1:
                    break
            assert stream.cancelled
        assert stream.result(10).finish_reason == "cancelled"


def test_a_full_queue_refuses(factory: Factory) -> None:
    with factory(PAIR, max_batch=1, max_queue=2) as engine:
        with Gate(engine) as gate:
            running = engine.submit(ask(max_tokens=450, grammar=gate))
            next(waiting := iter(running))  # it has left the queue
            streams = [engine.submit(ask()) for _ in range(2)]
            with pytest.raises(EngineBusyError, match="max_queue"):
                engine.submit(ask())
            for stream in (running, *streams):
                stream.cancel()
        assert list(waiting)[-1].finish_reason == "cancelled"
        assert [stream.result(10).finish_reason for stream in streams] == ["cancelled"] * 2


def test_who_left_a_full_queue_makes_room_in_it(factory: Factory) -> None:
    with factory(PAIR, max_batch=1, max_queue=3) as engine:
        with Gate(engine) as gate:
            running = engine.submit(ask(max_tokens=450, grammar=gate))
            next(waiting := iter(running))  # it has left the queue
            first, left, last = (engine.submit(ask(max_tokens=2)) for _ in range(3))
            left.cancel()
            late = engine.submit(ask(max_tokens=2))
            assert left.result(10).finish_reason == "cancelled"
            assert engine.waiting == 3
            with pytest.raises(EngineBusyError):
                engine.submit(ask())
            running.cancel()
        assert list(waiting)[-1].finish_reason == "cancelled"
        assert {stream.result(10).finish_reason for stream in (first, last, late)} <= {"stop", "length"}


def test_closing_ends_what_is_in_flight(factory: Factory) -> None:
    engine = factory(PAIR, max_batch=2)
    with Gate(engine) as gate:
        streams = [engine.submit(ask(max_tokens=450, grammar=gate)), *(engine.submit(ask()) for _ in range(4))]
        reader = iter(streams[0])
        next(reader)
        engine.close()
    for stream in streams:
        with pytest.raises(EngineClosedError):
            stream.result(10)
    with pytest.raises(EngineClosedError):
        engine.submit(ask())
    engine.close()


def test_it_says_whether_it_can_answer(factory: Factory) -> None:
    with factory(PAIR) as opened:
        assert opened.alive
        tokens(opened, ask(max_tokens=1))
        assert opened.alive
    assert not opened.alive


def test_many_threads_may_submit(engine: Engine) -> None:
    expected = tokens(engine, ask(preferences=WISH))
    found: list[tuple[int, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(tokens(engine, ask(preferences=WISH)))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 8


# What is refused


def test_the_context_is_a_limit(engine: Engine) -> None:
    for length in (512, 700):
        with pytest.raises(ContextLengthError, match=rf"{length} tokens.*512"):
            engine.submit(Request(prompt_ids=[9] * length))
    done = engine.submit(Request(prompt_ids=[9] * 509, max_tokens=50)).result(60)
    assert (done.completion_tokens, done.finish_reason) == (3, "length")


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ask(top_k=401), "top_k has to be from 1 to the vocabulary's 400"),
        (Request(prompt_ids=[1, 400]), "prompt_ids has to be token ids from 0 to 399"),
        (ask(max_tokens=400), "max_batch_tokens 300 tokens"),
        (ask(preferences=[WeightedPreference("x", 1.0, torch.zeros(3).numpy())]), "16 finite numbers"),
    ],
)
def test_what_cannot_run_is_refused_at_once(factory: Factory, request_: Request, message: str) -> None:
    with factory(PAIR, max_batch_tokens=300) as engine, pytest.raises(InvalidRequestError, match=message):
        engine.submit(request_)


def test_no_guide_means_no_preferences(factory: Factory) -> None:
    with factory(PAIR, guided=False) as engine:
        with pytest.raises(InvalidRequestError, match="no PersRM"):
            engine.submit(ask(preferences=WISH))
        assert tokens(engine, ask(preferences=WISH, beta=0.0)) == tokens(engine, ask())


def test_a_setting_out_of_its_range_is_refused(factory: Factory) -> None:
    with pytest.raises(PadError, match="max_batch has to be an integer of at least 1"):
        factory(PAIR, max_batch=0)


# Prefixes

LONG = "please explain why the sky is so very blue today and how do you make tea"


def reused(engine: Engine, request: Request) -> int:
    """Prompt tokens of a request that were known before it came."""
    before = engine.stats.reused_tokens
    engine.submit(request).result(60)
    return engine.stats.reused_tokens - before


def test_a_common_beginning_is_run_once_and_changes_nothing(factory: Factory) -> None:
    with factory(PAIR, prefix_tokens=0) as forgetful:
        expected = tokens(forgetful, ask(LONG, preferences=WISH))
        assert tokens(forgetful, ask(LONG, preferences=WISH)) == expected
        assert forgetful.stats.reused_tokens == 0
    with factory(PAIR) as engine:
        if not engine.capabilities.prefixes:
            pytest.skip("this engine keeps no prefixes")
        assert [tokens(engine, ask(LONG, preferences=WISH)) for _ in range(2)] == [expected] * 2
        assert engine.stats.reused_tokens > engine.count_tokens(ask(LONG)) / 2
        tokens(engine, Request(prompt_ids=[9], max_tokens=1))  # until then a row may still leave what it has run
        engine.forget_prefixes()
        assert reused(engine, ask(LONG)) == 0


@pytest.mark.parametrize("preferences", [[], WISH], ids=["base", "guided"])
def test_a_prefix_is_shared_within_its_salt_alone(factory: Factory, preferences: list[WeightedPreference]) -> None:
    with factory(PAIR) as engine:
        if not engine.capabilities.prefixes:
            pytest.skip("this engine keeps no prefixes")

        def request(salt: str) -> Request:
            return ask(LONG, preferences=preferences, salt=salt, max_tokens=4)

        unsalted = tokens(engine, request(""))
        assert reused(engine, request("ada")) == 0
        assert reused(engine, request("bob")) == 0
        own = [reused(engine, request(salt)) for salt in ("", "ada", "bob")]
        assert min(own) > engine.count_tokens(request("")) / 2
        assert [tokens(engine, request(salt)) for salt in ("ada", "bob")] == [unsalted] * 2


def test_a_salt_is_a_string() -> None:
    with pytest.raises(InvalidRequestError, match="salt has to be a string, but is 7"):
        ask(salt=7)
