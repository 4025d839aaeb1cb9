"""The event loop goes on whatever a call waits for: a memory that is busy, a disk that is slow."""

from __future__ import annotations

import asyncio
import os
import threading

import pytest
from langchain.agents import create_agent
from langchain_core.caches import InMemoryCache
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory

from pad_langchain import PADLLM, ChatPAD, PreferenceMiddleware, PreferenceStore
from pad_langchain.llama_index import PADEmbedding, PreferenceMemoryBlock
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory, Statement
from waiting import PATIENCE


class SlowEmbedder(HashEmbedder):
    """Waits over one word until it may go on; the memory embeds a new wish while it records."""

    def __init__(self):
        super().__init__()
        self.began, self.go_on = threading.Event(), threading.Event()

    def embed(self, texts):
        if any("leisurely" in text for text in texts):
            self.began.set()
            assert self.go_on.wait(PATIENCE)
        return super().embed(texts)


@pytest.fixture(scope="module")
def slow_embedder():
    return SlowEmbedder()


@pytest.fixture(scope="module")
def slow_memory(slow_embedder):
    with PreferenceMemory(embedder=slow_embedder) as memory:
        memory.record("ada", Statement("be concise and brief"))
        yield memory


@pytest.fixture(scope="module")
def doors(slow_memory, tmp_path_factory):
    """Every way to ask on an event loop, each for a question of its own; they were used before."""
    base, persrm = map(str, tiny_pair().save(tmp_path_factory.mktemp("pair")))
    settings = {"model": base, "reward_model": persrm, "memory": slow_memory, "user_id": "ada", "max_tokens": 2}
    llm, other, store = ChatPAD(**settings), PADLLM(**settings), PreferenceStore(slow_memory)
    agent = create_agent(llm, [], middleware=[PreferenceMiddleware(slow_memory, learn=True)])
    ada = {"configurable": {"user_id": "ada"}}
    session = Memory.from_defaults(
        session_id="ada", memory_blocks=[PreferenceMemoryBlock(memory=slow_memory, user_id="ada")]
    )

    async def all_of(stream):
        return [each async for each in (await stream if asyncio.iscoroutine(stream) else stream)]

    return {
        "ainvoke": lambda text: llm.ainvoke(text),
        "abatch": lambda text: llm.abatch([text + " one", text + " two"]),
        "agenerate": lambda text: llm.agenerate([[HumanMessage(text + " three")]]),
        "astream": lambda text: all_of(llm.astream(text)),
        "astream_events": lambda text: all_of(llm.astream_events(text + " four", version="v2")),
        "agent": lambda text: agent.ainvoke({"messages": [("user", f"{text}: from now on, use lists")]}, ada),
        "achat": lambda text: other.achat([ChatMessage(text)]),
        "astream_chat": lambda text: all_of(other.astream_chat([ChatMessage(text)])),
        "acomplete": lambda text: other.acomplete(text),
        "block": lambda text: session.aget(input=text),
        "store": lambda text: store.asearch(("ada",), query=text),
        "embedding": lambda text: PADEmbedding(embedder=slow_memory.embedder).aget_text_embedding(text),
        "aio": lambda text: slow_memory.aio.condition("ada", text),
    }


@pytest.fixture
def answer_cache():
    before = get_llm_cache()
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(before)


async def test_a_busy_memory_holds_up_nobody_else(doors, slow_memory, slow_embedder, answer_cache):
    await asyncio.gather(*(ask("first") for ask in doors.values()))
    recording = threading.Thread(target=slow_memory.record, args=("bob", Statement("be leisurely")))
    recording.start()
    assert slow_embedder.began.wait(PATIENCE)
    await asyncio.gather(*(ask("while it is busy") for ask in doors.values()))
    assert recording.is_alive(), "the calls have waited for the memory"
    slow_embedder.go_on.set()
    recording.join(PATIENCE)


async def test_a_slow_disk_holds_up_nobody_else(doors, answer_cache, monkeypatch):
    await asyncio.gather(*(ask("second") for ask in doors.values()))
    went_on, scan, loop = [], os.scandir, asyncio.get_running_loop()

    def slowly(*args):
        """As slow as the loop: it never returns to one that waits for it."""
        if len(went_on) < 3:
            beat = threading.Event()
            loop.call_soon_threadsafe(beat.set)
            went_on.append(beat.wait(PATIENCE))
        return scan(*args)

    monkeypatch.setattr(os, "scandir", slowly)
    await asyncio.gather(*(ask("third") for ask in doors.values()))
    assert went_on
    assert all(went_on)
