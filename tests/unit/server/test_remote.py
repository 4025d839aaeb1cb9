"""The server in front of other servers: it starts without them, is ready with them, and tells nobody where they are."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_vllm import FakeVllm, decoder, fingerprint, tiny_base
from pad_langchain.chat import Chat, ChatSettings
from pad_langchain.engine.remote import RemoteEngine
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.server import ServerSettings
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory
from pad_memory.values import Values
from served_app import serving
from waiting import auntil

PAIR = tiny_pair()
MARK = fingerprint(PAIR)
ASKED = {"model": "pad-demo", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}


@pytest.fixture(scope="module")
def decodes() -> Iterator[TorchEngine]:
    with decoder(PAIR) as engine:
        yield engine


def chat_on(url: str) -> Chat:
    memory = PreferenceMemory(embedder=HashEmbedder(), values=Values(classifier=False))
    engine = RemoteEngine(tiny_base(PAIR), url, PAIR.guide(), fingerprint=MARK, retries=0)
    return Chat(engine, settings=ChatSettings(memory=memory, max_tokens=8))


async def test_it_starts_without_them_and_is_ready_with_them(decodes: TorchEngine, tmp_path: Path) -> None:
    server = FakeVllm(decodes, heads={"tiny": MARK})
    with serving(tmp_path, chat_on(server.url)) as served:
        async with served.client() as ada:
            assert (await ada.get("/health")).status_code == 200
            ready = await ada.get("/ready")
            assert (ready.status_code, ready.json()["error"]["code"]) == (503, "not_ready")
            refused = await ada.post("/v1/chat/completions", json=ASKED)
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "engine_unavailable")
            assert str(server.port) not in refused.text
            assert refused.headers["Retry-After"]
            server.start()
            try:
                assert (await ada.get("/ready")).status_code == 200
                answer = (await ada.post("/v1/chat/completions", json={**ASKED, "logprobs": True})).json()
                assert answer["pad"]["mean_reward"] == 0.0  # nothing steers
                server.status = 400
                bad = await ada.post("/v1/chat/completions", json=ASKED)
                assert (bad.status_code, bad.json()["error"]["code"]) == (400, "invalid_value")
                assert str(server.port) not in bad.text
            finally:
                server.stop()


async def test_who_leaves_frees_the_row_on_the_server(decodes: TorchEngine, tmp_path: Path) -> None:
    server = FakeVllm(decodes, heads={"tiny": MARK}, delay=0.05).start()
    try:
        with serving(tmp_path, chat_on(server.url)) as served:
            said = {**ASKED, "max_tokens": 400, "stream": True}
            async with served.client() as ada:
                await ada.post("/v1/chat/completions", json={**said, "max_tokens": 2})
            turn = served.chat.submit([{"role": "user", "content": "Hello"}])
            await auntil(lambda: decodes.running)
            turn.cancel()
            await auntil(lambda: not decodes.running)
            assert served.chat.engine.running == 0
    finally:
        server.stop()


def test_a_server_that_does_not_fit_is_said_at_the_start(decodes: TorchEngine, tmp_path: Path) -> None:
    server = FakeVllm(decodes, heads=None).start()
    try:
        with pytest.raises(IncompatibleModelError, match="no PersRM"), serving(tmp_path, chat_on(server.url)):
            raise AssertionError("it started")
    finally:
        server.stop()


def test_addresses_and_a_scorer_are_settings() -> None:
    environment = {"PAD_SERVER_ENGINE_URL": "http://one:8000/v1, http://two:8000", "PAD_SERVER_SCORER": "smollm2-135m"}
    settings = ServerSettings.load({"model": "pad-demo", "memory": "/tmp/memory"}, environment)
    assert settings.engine_url == ("http://one:8000", "http://two:8000")
    assert settings.scorer == "smollm2-135m"
    with pytest.raises(InvalidRequestError, match="engine_url"):
        ServerSettings.load({"model": "pad-demo", "engine_url": ["vllm:8000"]}, {})
    with pytest.raises(InvalidRequestError, match="scorer judges for the memory, but there is none"):
        ServerSettings.load({"model": "pad-demo", "scorer": "pad-demo"}, {})


def test_nobody_listens_is_no_answer() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with RemoteEngine(tiny_base(PAIR), f"http://127.0.0.1:{port}") as engine:
        assert engine.alive
        assert not engine.ready()
    assert not engine.alive
    assert not engine.ready()
