"""The event loop goes on whatever a call waits for: a memory that is busy, a disk that is slow."""

from __future__ import annotations

import asyncio
import os
import threading
import time

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

BUSY = 3.0  # seconds
STANDSTILL = BUSY / 2  # a busy machine is late by less


class SlowEmbedder(HashEmbedder):
    """Takes its time over one word; the memory embeds a new wish while it holds its lock."""

    def __init__(self):
        super().__init__()
        self.began = threading.Event()

    def embed(self, texts):
        if any("leisurely" in text for text in texts):
            self.began.set()
            time.sleep(BUSY)
        return super().embed(texts)


@pytest.fixture(scope="module")
def embedder():
    return SlowEmbedder()


@pytest.fixture(scope="module")
def memory(embedder):
    with PreferenceMemory(embedder=embedder) as memory:
        memory.record("ada", Statement("be concise and brief"))
        yield memory


@pytest.fixture(scope="module")
def doors(memory, tmp_path_factory):
    """Every way to ask on an event loop, each for a question of its own; they were used before."""
    base, persrm = map(str, tiny_pair().save(tmp_path_factory.mktemp("pair")))
    settings = {"model": base, "reward_model": persrm, "memory": memory, "user_id": "ada", "max_tokens": 2}
    llm, other, store = ChatPAD(**settings), PADLLM(**settings), PreferenceStore(memory)
    agent = create_agent(llm, [], middleware=[PreferenceMiddleware(memory, learn=True)])
    ada = {"configurable": {"user_id": "ada"}}
    session = Memory.from_defaults(
        session_id="ada", memory_blocks=[PreferenceMemoryBlock(memory=memory, user_id="ada")]
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
        "embedding": lambda text: PADEmbedding(embedder=memory.embedder).aget_text_embedding(text),
        "aio": lambda text: memory.aio.condition("ada", text),
    }


@pytest.fixture
def cached():
    before = get_llm_cache()
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(before)


async def longest_pause(calls):
    """Seconds that the loop stood still at most, while all of these ran."""
    longest, on = 0.0, True

    async def beat():
        nonlocal longest
        last = time.monotonic()
        while on:
            await asyncio.sleep(0.02)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    beating = asyncio.ensure_future(beat())
    await asyncio.sleep(0)
    try:
        await asyncio.gather(*calls)
    finally:
        on = False
        await beating
    return longest


async def test_a_busy_memory_holds_up_nobody_else(doors, memory, embedder, cached):
    await asyncio.gather(*(ask("first") for ask in doors.values()))
    recording = threading.Thread(target=memory.record, args=("bob", Statement("be leisurely")))
    recording.start()
    assert embedder.began.wait(60)

    async def while_it_is_busy(ask):
        number = 0
        while recording.is_alive():
            number += 1
            await ask(f"question {number}")

    assert await longest_pause([while_it_is_busy(ask) for ask in doors.values()]) < STANDSTILL


async def test_a_slow_disk_holds_up_nobody_else(doors, cached, monkeypatch):
    await asyncio.gather(*(ask("second") for ask in doors.values()))
    looks, scan = [], os.scandir

    def slowly(*args):
        looks.append(args)
        if len(looks) <= 3:
            time.sleep(BUSY)
        return scan(*args)

    monkeypatch.setattr(os, "scandir", slowly)
    assert await longest_pause([ask("third") for ask in doors.values()]) < STANDSTILL
    assert looks
