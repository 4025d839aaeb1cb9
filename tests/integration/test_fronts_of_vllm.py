"""`pad-langchain serve --engine-url` as processes in front of a vLLM server: copies of it know each other's answers."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import openai
import pytest

from fake_vllm import FakeVllm, demo_vllm
from pad_memory import PreferenceMemory, SignScorer
from served_process import Running, serve
from servers import Server
from waiting import until

pytestmark = pytest.mark.slow

USERS = ("ada", "bob", "cleo", "dan")
EACH = 25  # answers of each user at each front
ENGINE = "{max_batch: 16, max_queue: 64, retries: 0, timeout: 20}"


@dataclass
class Fronts:
    """Two front servers, and what is behind them."""

    one: Running
    other: Running
    vllm: FakeVllm
    chroma: Server


@pytest.fixture(scope="module")
def fronts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fronts]:
    folder: Path = tmp_path_factory.mktemp("fronts")
    with ExitStack() as stack:
        vllm = stack.enter_context(demo_vllm())
        chroma = Server(folder / "chroma")
        stack.callback(chroma.stop)
        options = ("--engine-url", vllm.url, "--memory", chroma.url, "--answer-retention", "3600")
        places = [folder / name for name in ("one", "other")]
        for place in places:
            place.mkdir()
        options += ("--engine-settings", ENGINE)
        one, other = (stack.enter_context(serve(place, *options)) for place in places)
        yield Fronts(one, other, vllm, chroma)


def test_feedback_by_the_others_response_id(fronts: Fronts) -> None:
    """The memory is all that they share. Nothing here can judge answers, so what was told waits, and is not lost."""

    def answer(at: Running, user: str) -> str:
        said = [{"role": "user", "content": "What is a lion?"}]
        return at.sdk(user).chat.completions.create(model="pad-demo", messages=said, max_tokens=3).id

    def judge(at: Running, user: str, response_id: str) -> int:
        said = {"kind": "thumb", "response_id": response_id, "up": True}
        return at.http(user).post("/v1/feedback", json=said).status_code

    asked = [(at, user) for at in (fronts.one, fronts.other) for user in USERS for _ in range(EACH)]
    with ThreadPoolExecutor(8) as threads:
        ids = list(threads.map(answer, *zip(*asked, strict=True)))
        for user in USERS:
            until(lambda user=user: len(fronts.one.http(user).get("/v1/me").json().get("answers", ())) == 2 * EACH)
        crossed = [(fronts.other if at is fronts.one else fronts.one, user) for at, user in asked]
        told = list(threads.map(judge, *zip(*crossed, strict=True), ids))
    assert told == [201] * 2 * EACH * len(USERS) == [201] * 200
    with PreferenceMemory(url=fronts.chroma.url) as memory:
        assert [memory.profile(user).pending for user in USERS] == [2 * EACH] * 4
        memory.scorer = SignScorer()
        assert [memory.profile(user).pending for user in USERS] == [0] * 4
        assert all(len(memory.events(user)) == 2 * EACH for user in USERS)


def test_what_is_told_at_one_steers_at_the_other(fronts: Fronts) -> None:
    said = {"kind": "statement", "text": "please be concise and brief"}
    assert fronts.one.http("dan").post("/v1/feedback", json=said).status_code == 201
    fronts.vllm.bodies.clear()
    messages = [{"role": "user", "content": "Tell me about copper."}]
    answer = fronts.other.sdk("dan").chat.completions.create(model="pad-demo", messages=messages, max_tokens=3)
    assert answer.model_extra is not None
    assert answer.model_extra["pad"]["mean_reward"] is None
    (body,) = fronts.vllm.bodies
    assert any(body["vllm_xargs"]["pad_gate"])


def test_nothing_from_outside_reaches_the_plugin(fronts: Fronts) -> None:
    fronts.vllm.bodies.clear()
    said = {"model": "pad-demo", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 2}
    for more in ({"vllm_xargs": {"pad_gate": [9.0] * 64}}, {"pad_gate": [9.0]}, {"pad": {"gate": [9.0]}}):
        assert fronts.one.http("bob").post("/v1/chat/completions", json={**said, **more}).status_code == 400
    assert fronts.vllm.bodies == []
    fronts.one.http("bob").post("/v1/chat/completions", json=said).raise_for_status()
    assert "cache_salt" in fronts.vllm.bodies[-1]


def test_a_front_is_ready_while_a_server_answers(fronts: Fronts) -> None:
    client = fronts.one.http()
    assert client.get("/ready").status_code == 200
    fronts.vllm.dies_after = 2
    messages = [{"role": "user", "content": "Tell me about copper."}]
    with pytest.raises(openai.APIError, match="does not answer, or broke off"):
        list(fronts.one.sdk().chat.completions.create(model="pad-demo", messages=messages, stream=True))
    fronts.vllm.stop()
    until(lambda: client.get("/ready").status_code == 503)
    assert client.get("/health").status_code == 200
    refused = client.post("/v1/chat/completions", json={"model": "pad-demo", "messages": messages})
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_unavailable")
    fronts.vllm.dies_after = None
    fronts.vllm.start()
    until(lambda: client.get("/ready").status_code == 200)
    client.post("/v1/chat/completions", json={"model": "pad-demo", "messages": messages}).raise_for_status()
