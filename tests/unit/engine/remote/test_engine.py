"""The remote engine against the one on torch, token for token, and what only it does: servers that fail or do not fit.

What every engine keeps is in `contract/engines.py`.
"""

from __future__ import annotations

import itertools
import math
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from fake_vllm import FakeVllm, decoder, fingerprint, tiny_base
from pad_langchain.engine.regions import Region
from pad_langchain.engine.remote import RemoteEngine
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineUnavailableError,
    IncompatibleModelError,
    InvalidRequestError,
)
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides.self_guide import SelfGuide
from pad_langchain.testing import tiny_pair
from waiting import until

PAIR = tiny_pair()
MARK = fingerprint(PAIR)
WISH = [WeightedPreference("be concise")]
SEVERAL = [*WISH, WeightedPreference("tell a joke or two", -0.5), WeightedPreference("use formal words", 1.5)]
TOOL = {
    "name": "weather",
    "parameters": {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]},
}


@pytest.fixture(scope="module")
def local() -> Iterator[TorchEngine]:
    with TorchEngine(PAIR.model, PAIR.tokenizer, PAIR.guide()) as engine:
        yield engine


@pytest.fixture(scope="module")
def decodes() -> Iterator[TorchEngine]:
    with decoder(PAIR) as engine:
        yield engine


class Made:
    """Servers on one decoder, and engines that ask them, until the end of a test."""

    def __init__(self, decodes: TorchEngine, stack: ExitStack) -> None:
        self.decodes, self._stack = decodes, stack

    def server(self, **said: Any) -> FakeVllm:
        fake = FakeVllm(self.decodes, **{"heads": {"tiny": MARK}, **said}).start()
        self._stack.callback(fake.stop)
        return fake

    def engine(self, *servers: FakeVllm | str, guided: bool = True, **settings: Any) -> RemoteEngine:
        urls = [one if isinstance(one, str) else one.url for one in servers]
        how = {"guide": PAIR.guide(), "fingerprint": MARK} if guided else {}
        return self._stack.enter_context(RemoteEngine(tiny_base(PAIR), urls, **how, **settings))


@pytest.fixture
def made(decodes: TorchEngine) -> Iterator[Made]:
    with ExitStack() as stack:
        yield Made(decodes, stack)


@pytest.fixture(scope="module")
def shared(decodes: TorchEngine) -> Iterator[tuple[RemoteEngine, FakeVllm]]:
    """One engine on one server, for tests that change neither."""
    with ExitStack() as stack:
        made = Made(decodes, stack)
        server = made.server()
        yield made.engine(server), server


def ask(user: str = "explain entropy", **said: Any) -> Request:
    return Request([{"role": "user", "content": user}], **{"max_tokens": 12, **said})


def tokens(engine: Any, request: Request) -> tuple[int, ...]:
    return tuple(engine.submit(request).result(60).token_ids)


def nobody() -> str:
    """An address where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# The same tokens


def test_greedy_tokens_are_those_of_the_engine_here(local: TorchEngine, shared: tuple[RemoteEngine, FakeVllm]) -> None:
    grid = itertools.product((WISH, SEVERAL, []), (0.5, 1.5), (1, 10), (0.0, 0.02))
    requests = [ask(preferences=wishes, beta=beta, top_k=k, alpha=alpha) for wishes, beta, k, alpha in grid]
    streams = [shared[0].submit(request) for request in requests]
    assert [stream.result(60).token_ids for stream in streams] == [tokens(local, request) for request in requests]
    assert len({stream.result(60).token_ids for stream in streams}) == 4


def test_what_repeats_costs_the_same_where_the_plugin_can(
    local: TorchEngine, shared: tuple[RemoteEngine, FakeVllm]
) -> None:
    request = ask(preferences=WISH, repetition_penalty=1.3, no_repeat_ngram=2, max_tokens=30)
    assert tokens(shared[0], request) == tokens(local, request) != tokens(local, ask(preferences=WISH, max_tokens=30))


def test_a_grammar_ends_the_answer_without_the_servers_end_token(
    local: TorchEngine, shared: tuple[RemoteEngine, FakeVllm]
) -> None:
    schema = {"type": "object", "properties": {"a": {"enum": [1, 22]}, "b": {"type": "boolean"}}, "required": ["a"]}
    written = []
    for engine in (local, shared[0]):
        grammar = engine.grammars.json_schema(schema)
        done = engine.submit(ask(preferences=WISH, grammar=grammar, max_tokens=60)).result(60)
        assert (done.text[0], done.text[-1], done.finish_reason) == ("{", "}", "stop")
        assert not set(done.token_ids) & engine.end_tokens
        written.append(done.token_ids)
    assert written[0] == written[1]


def test_preferences_steer_up_to_the_first_call(local: TorchEngine, shared: tuple[RemoteEngine, FakeVllm]) -> None:
    remote, server = shared
    visible = set(PAIR.tokenizer.convert_tokens_to_ids(["<tool_call>", "</tool_call>"]))
    said: dict[str, Any] = {"visible": visible, "max_tokens": 90, "beta": 4.0, "preferences": WISH}
    region = Region(frozenset(), "<tool_call>\n")

    def called(engine: Any, region: Region | None) -> Any:
        grammar = engine.grammars.tool_calls([TOOL], choice="required", parallel=True)
        return engine.submit(ask(grammar=grammar, region=region, **said))

    expected = called(local, region).result(60)
    server.bodies.clear()
    stream = called(remote, region)
    assert stream.result(60).token_ids == expected.token_ids
    assert stream.result(60).text.startswith("<tool_call>\n{")
    assert stream.notes == {"steered": "up to the first call"}
    assert ["pad_gate" in body.get("vllm_xargs", {}) for body in server.bodies] == [True, False]
    # The second part would not count what the first has.
    server.bodies.clear()
    for name, value in (("repetition_penalty", 1.2), ("no_repeat_ngram", 3)):
        said[name] = value
        with pytest.raises(InvalidRequestError, match=f"{name}={value} counts no tokens before a call.*Pass {name}="):
            called(remote, region).result(60)
        assert called(remote, None).result(60).token_ids  # it is asked for at once
        del said[name]
    assert all(body["prompt"] == server.bodies[0]["prompt"] for body in server.bodies)
    # A region that a server cannot be asked for alone is not steered at all.
    json_only = remote.submit(
        ask(grammar=remote.grammars.json_schema({"enum": ["a", "b"]}), region=Region(frozenset()), **said)
    )
    assert json_only.result(60).finish_reason == "stop"
    assert json_only.notes == {"steered": "not at all"}
    assert "vllm_xargs" not in server.bodies[-1]


def test_a_gate_beyond_the_servers_bound_is_scaled_into_it(local: TorchEngine, made: Made) -> None:
    gate = PAIR.guide().plan(ask(preferences=SEVERAL)).rows[0].tolist()
    server = made.server(bound=max(map(abs, gate)) / 16)
    stream = made.engine(server).submit(ask(preferences=SEVERAL))
    weaker = [WeightedPreference(one.text, one.weight / 16) for one in SEVERAL]
    assert (
        stream.result(60).token_ids == tokens(local, ask(preferences=weaker)) != tokens(local, ask(preferences=SEVERAL))
    )
    assert stream.notes == {"gate_scaled": pytest.approx(1 / 16, abs=1e-4)}


# What is sent


def test_every_setting_is_said_and_no_word_of_a_preference(shared: tuple[RemoteEngine, FakeVllm]) -> None:
    engine, server = shared
    tokens(engine, ask(preferences=WISH, temperature=0.7, top_p=0.9, seed=2**64 - 1, logprobs=False))
    body = server.bodies[-1]
    assert (body["temperature"], body["top_p"], body["seed"], body["top_k"]) == (0.7, 0.9, -1, -1)
    assert "logprobs" not in body
    assert body["vllm_xargs"].keys() == {"pad_gate", "pad_beta", "pad_alpha", "pad_top_k", "pad_head"}
    assert "concise" not in str(body)


def test_salts_tell_nobody_whose_they_are(shared: tuple[RemoteEngine, FakeVllm]) -> None:
    engine, server = shared

    def salt(said: str | None) -> str | None:
        tokens(engine, ask(salt=said, max_tokens=1))
        return server.bodies[-1].get("cache_salt")

    assert salt("") is None
    assert salt("acme") == salt("acme") != salt("other")
    assert "acme" not in str(salt("acme"))
    assert len({salt(None), salt(None), None}) == 3
    before = salt("acme")
    engine.forget_prefixes()
    assert salt("acme") not in (before, None)
    assert salt("") is not None


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({"best_of": 2, "temperature": 1.0}, "best_of"),
        ({"clip": 1.0}, "clip"),
        ({"combine": "max"}, "combine"),
    ],
)
def test_what_a_server_cannot_do_is_refused_by_name(
    shared: tuple[RemoteEngine, FakeVllm], said: dict[str, Any], name: str
) -> None:
    with pytest.raises(InvalidRequestError, match=f"Pass {name}="):
        shared[0].submit(ask(preferences=SEVERAL, **said))
    assert tokens(shared[0], ask(preferences=SEVERAL, **{"beta": 0.0, **said, "best_of": 1}))


def test_penalties_that_the_plugin_lacks_are_refused_by_name(made: Made) -> None:
    engine = made.engine(made.server(accepts=()))
    with pytest.raises(InvalidRequestError, match=r"repetition_penalty is 1.1.*Pass repetition_penalty=1.0"):
        engine.submit(ask(repetition_penalty=1.1)).result(60)
    assert tokens(engine, ask())


def test_rewards_are_not_known(shared: tuple[RemoteEngine, FakeVllm]) -> None:
    guided, plain = (shared[0].submit(ask(preferences=wishes)).result(60) for wishes in (WISH, []))
    assert {event.reward for event in guided.events if event.token_id >= 0} == {None}
    assert guided.mean_reward is None
    assert plain.mean_reward == 0.0
    assert not shared[0].capabilities.token_rewards


# Servers that fail


@pytest.mark.parametrize("quiet", [False, True])
def test_a_server_that_dies_mid_stream_ends_it_with_an_error(made: Made, quiet: bool) -> None:
    server, other = made.server(dies_after=3, quiet=quiet), made.server()
    engine = made.engine(server)
    stream = engine.submit(ask(preferences=WISH))
    with pytest.raises(EngineUnavailableError, match="after 3 tokens"):
        stream.result(60)
    assert [event.finish_reason for event in stream.events] == [None] * 3
    assert len(server.bodies) == 1
    assert not other.bodies


def test_a_request_moves_to_another_server_before_its_first_token(local: TorchEngine, made: Made) -> None:
    broken = [made.server(dies_after=0), made.server(status=500), nobody()]
    good = made.server()
    expected = tokens(local, ask(preferences=WISH))
    for first in broken:
        good.bodies.clear()
        engine = made.engine(first, good)
        assert [tokens(engine, ask(preferences=WISH)) for _ in range(3)] == [expected] * 3
        assert len(good.bodies) == 3
        assert isinstance(first, str) or len(first.bodies) <= 1  # it rests


@pytest.mark.parametrize("in_stream", [False, True])
def test_a_refused_request_is_not_tried_again(made: Made, in_stream: bool) -> None:
    servers = [made.server(status=400, refusal="no such thing", in_stream=in_stream) for _ in range(2)]
    engine = made.engine(*servers)
    with pytest.raises(InvalidRequestError, match=r"refuses the request: no such thing$"):
        engine.submit(ask()).result(60)
    assert sum(len(server.bodies) for server in servers) == 1
    assert engine.ready()


def test_busy_servers_are_busy(made: Made) -> None:
    servers = [made.server(status=429) for _ in range(2)]
    with pytest.raises(EngineBusyError, match="429"):
        made.engine(*servers).submit(ask()).result(60)
    assert [len(server.bodies) > 0 for server in servers] == [True, True]


def test_who_is_down_is_named_and_asked_again(local: TorchEngine, made: Made) -> None:
    server, dead = made.server(), nobody()
    server.stop()
    engine = made.engine(server, dead)
    assert not engine.ready()
    with pytest.raises(EngineUnavailableError, match=f"(?s)No server answers.*{server.url}.*{dead}"):
        engine.submit(ask()).result(60)
    assert engine.alive
    server.start()
    assert engine.ready()
    assert tokens(engine, ask(preferences=WISH)) == tokens(local, ask(preferences=WISH))


def test_the_least_loaded_server_is_chosen(made: Made) -> None:
    servers = [made.server(delay=0.03) for _ in range(2)]
    engine = made.engine(*servers)
    assert engine.ready()
    streams = [engine.submit(ask(max_tokens=6)) for _ in range(6)]
    for stream in streams:
        stream.result(60)
    assert [len(server.bodies) for server in servers] == [3, 3]


def test_leaving_frees_the_row_on_the_server(made: Made) -> None:
    server = made.server(delay=0.02)
    engine = made.engine(server)
    stream = engine.submit(ask(max_tokens=400))
    next(iter(stream))
    assert stream.cancelled
    assert stream.result(10).finish_reason == "cancelled"
    until(lambda: not server.engine.running)
    assert engine.running == 0


def test_a_stop_string_frees_the_row_as_well(made: Made) -> None:
    server = made.server()
    engine = made.engine(server)
    whole = engine.submit(ask(max_tokens=60)).result(60).text
    assert engine.submit(ask(max_tokens=400, stop=whole[9:12])).result(60).text == whole[: whole.index(whole[9:12])]
    until(lambda: not server.engine.running)


# Servers that do not fit


@pytest.mark.parametrize(
    ("server", "message"),
    [
        ({"heads": None}, "no PersRM: install pad-vllm"),
        ({"heads": {"tiny": "0" * 64}}, f"other heads than the reward_model here, whose fingerprint is {MARK[:12]}"),
        ({"tokens_shifted": True}, "another base than 'tiny'"),
        ({"rank": 4}, "hidden size, vocabulary and rank"),
    ],
)
def test_a_server_with_another_model_or_head_is_refused(made: Made, server: dict[str, Any], message: str) -> None:
    engine = made.engine(made.server(**server))
    assert not engine.ready()
    with pytest.raises(IncompatibleModelError, match=message):
        engine.submit(ask()).result(60)


def test_one_that_fits_takes_all(made: Made) -> None:
    wrong, right = made.server(heads=None), made.server(heads={"other": "0" * 64, "mine": MARK})
    engine = made.engine(wrong, right)
    for _ in range(2):
        tokens(engine, ask(preferences=WISH))
    assert not wrong.bodies
    assert {body["vllm_xargs"]["pad_head"] for body in right.bodies} == {"mine"}


def test_without_a_guide_no_plugin_is_needed(local: TorchEngine, made: Made) -> None:
    assert tokens(made.engine(made.server(heads=None), guided=False), ask()) == tokens(local, ask())


def test_a_name_that_is_not_served_is_refused(made: Made) -> None:
    server = made.server()
    with pytest.raises(IncompatibleModelError, match=r"serves \['tiny'\], but not 'large'"):
        made.engine(server, served_model="large").submit(ask()).result(60)


def test_a_key_is_sent(made: Made) -> None:
    server = made.server(key="s3cret")
    with pytest.raises(EngineUnavailableError, match="refuses the key"):
        made.engine(server).submit(ask()).result(60)
    assert made.engine(server, api_key="s3cret").ready()


def test_the_servers_context_is_a_limit_too(made: Made) -> None:
    engine = made.engine(made.server(max_model_len=40))
    with pytest.raises(ContextLengthError, match=r"45 tokens.*40"):
        engine.submit(Request(prompt_ids=[9] * 45)).result(60)
    done = engine.submit(Request(prompt_ids=[9] * 37, max_tokens=50)).result(60)
    assert (done.completion_tokens, done.finish_reason) == (3, "length")


def test_a_guide_that_runs_rows_of_its_own_is_refused() -> None:
    prompts = Prompts(PAIR.tokenizer)
    guide = SelfGuide(Backbone(PAIR.model), prompts, template="{text} {preference}", beta=1.0, alpha=0.1)
    with pytest.raises(IncompatibleModelError, match="kind 'self' runs rows of its own"):
        RemoteEngine(tiny_base(PAIR), nobody(), guide, fingerprint=MARK)


@pytest.mark.parametrize("url", ["", [], "vllm:8000", "ftp://vllm", "http://me:secret@vllm", [7]])
def test_an_address_that_is_none_is_refused(url: Any) -> None:
    with pytest.raises(InvalidRequestError, match="url has to be an address like"):
        RemoteEngine(tiny_base(PAIR), url)


def test_logprobs_are_what_the_server_says(local: TorchEngine, shared: tuple[RemoteEngine, FakeVllm]) -> None:
    mine, theirs = (engine.submit(ask(candidates=3, max_tokens=4)).result(60) for engine in (local, shared[0]))
    for one, other in zip(mine.events, theirs.events, strict=True):
        assert math.isclose(one.logprob, other.logprob, rel_tol=1e-6)
        assert [c.token_id for c in one.candidates] == [c.token_id for c in other.candidates]
