"""What every face keeps: whose conversation it is. A wish for one conversation steers there and nowhere else.

A face is a way to ask: `(shop, user, thread) → text`. Each is given the same tiny pair with random weights and the same
memory, in which ada said "in this conversation, …" on monday.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import MemorySaver
from llama_index.core.llms import ChatMessage
from rich.console import Console

from fake_vllm import FakeVllm, decoder, fingerprint_of
from gguf_models import to_gguf
from llama_parts import needs_llama_cpp
from pad_langchain import PADLLM, ChatPAD, PreferenceMiddleware
from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.chat.compare import two_answers
from pad_langchain.chat.engines import unload
from pad_langchain.cli.chat import ChatSession
from pad_langchain.cli.show import printable
from pad_langchain.server import ServerSettings, build_app
from pad_langchain.server.keys import Keys
from pad_langchain.server.service import Service
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory, Statement

QUESTION = "what is an element?"
WISH = "In this conversation, be concise and brief"
# Rows that come together or apart are rounded alike, as nearly as llama.cpp can.
EXACT = {"threads": 1, "max_batch_tokens": 1024, "kv_type": "f32", "flash_attention": False}
DEFAULTS = [("be detailed and thorough", 1.0), ("use a formal and polite tone", 0.5)]


@dataclass
class Shop:
    """What the faces share: the folders of a pair, and a memory that ada has talked to on monday."""

    model: str
    reward_model: str
    memory: PreferenceMemory
    engine: dict[str, Any]
    defaults: list[tuple[str, float]] = field(default_factory=list)
    fake: FakeVllm | None = None

    @classmethod
    def open(cls, folder: Any, backend: str) -> Shop:
        base, persrm = tiny_pair().save(folder)
        engine: dict[str, Any] = {}
        if backend == "llama.cpp":
            base = to_gguf(base, base / "tiny.gguf")
            engine = {"backend": backend, "engine_settings": EXACT}
        fake = None
        if backend == "vLLM":
            fake = FakeVllm(decoder(tiny_pair()), heads={"tiny": fingerprint_of(persrm)}).start()
            engine = {"url": fake.url}
        memory = PreferenceMemory(embedder=HashEmbedder())
        memory.record("ada", Statement(WISH, thread="monday"))
        return cls(str(base), str(persrm), memory, engine, fake=fake)

    def close(self) -> None:
        self.memory.close()
        if self.fake is not None:
            vars(self).pop("chat", None)
            unload(self.model)
            self.fake.close()

    @property
    def settings(self) -> dict[str, Any]:
        told = {"reward_model": self.reward_model, "memory": self.memory, "defaults": self.defaults}
        return {**told, "max_tokens": 10, "beta": 2.0, **self.engine}

    @cached_property
    def chat(self) -> Chat:
        return Chat.of(self.model, ChatSettings(**self.settings))

    def told(self, preference: Any) -> str:
        """The answer under explicit preferences, which involves no user and no thread."""
        options = CallOptions(preference=preference)
        return self.chat.submit([{"role": "user", "content": QUESTION}], options).result().text


Ask = Callable[[Shop, str, "str | None"], str]


def _ids(user: str, thread: str | None) -> dict[str, str]:
    return {"user_id": user, **({} if thread is None else {"thread_id": thread})}


def _config(user: str, thread: str | None) -> Any:
    return {"configurable": _ids(user, thread)}


def _llm(shop: Shop, **fields: Any) -> ChatPAD:
    return ChatPAD(model=shop.model, **shop.settings, **fields)


def _padllm(shop: Shop, **fields: Any) -> PADLLM:
    return PADLLM(model=shop.model, **shop.settings, **fields)


async def _astream(shop: Shop, user: str, thread: str | None) -> str:
    return "".join([chunk.text async for chunk in _llm(shop).astream(QUESTION, _config(user, thread))])


async def _padllm_astream(shop: Shop, user: str, thread: str | None) -> str:
    stream = await _padllm(shop).for_user(user, thread).astream_chat([ChatMessage(QUESTION)])
    return "".join([response.delta or "" async for response in stream])


def _command(shop: Shop, user: str, thread: str | None) -> str:
    out = io.StringIO()
    console = Console(file=out, width=200, highlight=False)
    ChatSession(lambda: shop.chat, shop.memory, user, console, thread=thread).handle(QUESTION)
    return out.getvalue().removesuffix("\n")


def _agent(shop: Shop, user: str, thread: str | None) -> str:
    middleware = PreferenceMiddleware(shop.memory, learn=True)
    # A checkpointer has to have a thread.
    saver = None if thread is None else MemorySaver()
    agent = create_agent(_llm(shop), [], middleware=[middleware], checkpointer=saver)
    state = agent.invoke({"messages": [HumanMessage(QUESTION)]}, _config(user, thread))
    return str(state["messages"][-1].text)


async def _completion(shop: Shop, user: str, thread: str | None) -> str:
    with TemporaryDirectory() as folder:
        settings = ServerSettings("tiny", keys=f"{folder}/keys.json")
        _, key = Keys(settings.keys_file).create("app")
        app = build_app(settings)
        app.state.service = Service(settings, shop.chat, app.state.metrics)
        headers = {"Authorization": f"Bearer {key}", "X-PAD-User": user}
        pad = {} if thread is None else {"thread_id": thread}
        said = {"model": "tiny", "messages": [{"role": "user", "content": QUESTION}], "pad": pad}
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            answer = await client.post("/v1/chat/completions", json=said)
        return str(answer.json()["choices"][0]["message"]["content"])


FACES: dict[str, Ask] = {
    "the chat": lambda shop, user, thread: (
        shop.chat.submit([{"role": "user", "content": QUESTION}], CallOptions(**_ids(user, thread))).result().text
    ),
    "ChatPAD.invoke, config": lambda shop, user, thread: _llm(shop).invoke(QUESTION, _config(user, thread)).text,
    "ChatPAD.invoke, keyword": lambda shop, user, thread: _llm(shop).invoke(QUESTION, **_ids(user, thread)).text,
    "ChatPAD.invoke, field": lambda shop, user, thread: _llm(shop, **_ids(user, thread)).invoke(QUESTION).text,
    "ChatPAD.stream": lambda shop, user, thread: "".join(
        chunk.text for chunk in _llm(shop).stream(QUESTION, _config(user, thread))
    ),
    "ChatPAD.batch": lambda shop, user, thread: _llm(shop).batch([QUESTION] * 2, _config(user, thread))[1].text,
    "ChatPAD.ainvoke": lambda shop, user, thread: asyncio.run(_llm(shop).ainvoke(QUESTION, _config(user, thread))).text,
    "ChatPAD.astream": lambda shop, user, thread: asyncio.run(_astream(shop, user, thread)),
    "PADLLM.chat, keyword": lambda shop, user, thread: str(
        _padllm(shop).chat([ChatMessage(QUESTION)], **_ids(user, thread)).message.content
    ),
    "PADLLM.complete, field": lambda shop, user, thread: _padllm(shop, **_ids(user, thread)).complete(QUESTION).text,
    "PADLLM.stream_chat": lambda shop, user, thread: "".join(
        response.delta or "" for response in _padllm(shop).for_user(user, thread).stream_chat([ChatMessage(QUESTION)])
    ),
    "PADLLM.achat": lambda shop, user, thread: str(
        asyncio.run(_padllm(shop).for_user(user, thread).achat([ChatMessage(QUESTION)])).message.content
    ),
    "PADLLM.astream_chat": lambda shop, user, thread: asyncio.run(_padllm_astream(shop, user, thread)),
    "the server": lambda shop, user, thread: asyncio.run(_completion(shop, user, thread)),
    "the command": _command,
    "an agent": _agent,
}


@pytest.fixture(scope="module", params=["torch", "llama.cpp", "vLLM"])
def shop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    if request.param == "llama.cpp":
        needs_llama_cpp()
    opened = Shop.open(tmp_path_factory.mktemp("pair"), request.param)
    yield opened
    opened.close()


@pytest.fixture(params=list(FACES))
def ask(request: pytest.FixtureRequest) -> Ask:
    return FACES[request.param]


class TestSteered:
    """Once for every face."""

    def test_the_wish_steers_in_its_conversation(self, shop: Shop, ask: Ask) -> None:
        wishes = [(item.text, item.weight) for item in shop.memory.condition("ada", query=QUESTION, thread="monday")]
        assert wishes
        assert shown(ask(shop, "ada", "monday")) == shown(shop.told(wishes)) != shown(shop.told([]))

    def test_it_does_not_in_another_one_nor_without_one(self, shop: Shop, ask: Ask) -> None:
        assert shown(ask(shop, "ada", "tuesday")) == shown(ask(shop, "ada", None)) == shown(shop.told([]))

    def test_it_does_not_steer_somebody_else_there(self, shop: Shop, ask: Ask) -> None:
        assert shown(ask(shop, "bob", "monday")) == shown(shop.told([]))

    def test_the_operators_defaults_steer_whoever_does_not_wish_otherwise(self, shop: Shop, ask: Ask) -> None:
        styled = replace(shop, defaults=DEFAULTS)
        assert shown(ask(styled, "bob", None)) == shown(shop.told(DEFAULTS)) != shown(shop.told([]))
        own = [(item.text, item.weight) for item in shop.memory.condition("ada", query=QUESTION, thread="monday")]
        assert shown(ask(styled, "ada", "monday")) == shown(shop.told([*own, DEFAULTS[1]]))


def shown(text: str) -> str:
    """Text as a terminal shows it, so that the command may be compared with the rest."""
    return printable(text)


class TestCompared:
    """The comparison answers under a question's sides, and what else is known in the conversation."""

    def test_a_comparison_knows_its_conversation(self, shop: Shop) -> None:
        question = next(one for one in shop.memory.questions("ada") if "length" not in one.dimensions)

        def answers(thread: str | None) -> tuple[str, str]:
            return two_answers(shop.chat, question, QUESTION, CallOptions(**_ids("ada", thread)))

        known = [(item.text, item.weight) for item in shop.memory.condition("ada", query=QUESTION, thread="monday")]
        sides = [[(text, 1.0) for text in side] for side in (question.first, question.second)]
        assert answers("monday") == tuple(shop.told([*known, *side]) for side in sides)
        assert answers("tuesday") == answers(None) == tuple(shop.told(side) for side in sides) != answers("monday")


FACT = "I am vegetarian"


@pytest.fixture(scope="module")
def ignorant(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The shop with a head that knows no wish at all."""
    folder, head = tmp_path_factory.mktemp("ignorant"), tiny_pair().head
    head.save_pretrained(folder, strengths=[0.0] * head.config.prototypes)
    shop.memory.record("zoe", Statement(FACT))
    return replace(shop, reward_model=str(folder))


class TestTold:
    """What the PersRM does not know is told to the base, on every face."""

    def test_a_wish_that_the_head_does_not_know_is_told(self, shop: Shop, ignorant: Shop, ask: Ask) -> None:
        prompted = CallOptions(user_id="zoe")
        chat = Chat.of(shop.model, ChatSettings(**{**shop.settings, "reward_model": None}))
        turn = chat.submit([{"role": "user", "content": QUESTION}], prompted).result()
        assert turn.pad is not None
        assert [(wish["text"], wish["route"]) for wish in turn.pad["condition"]] == [(FACT, "prompt")]
        assert shown(ask(ignorant, "zoe", None)) == shown(turn.text) != shown(shop.told([]))
