"""`PreferenceMemoryBlock` and `PADEmbedding`: the preference memory as LlamaIndex sees it."""

from __future__ import annotations

import asyncio

import pytest
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.llms import ChatMessage
from llama_index.core.memory import Memory

from fakes import QUESTION, WISHES
from llama_index_parts import ASKED
from pad_langchain import PADLLM, InvalidRequestError
from pad_langchain.llama_index import PADEmbedding, PreferenceMemoryBlock
from pad_langchain.testing import HashEmbedder
from pad_memory import PreferenceMemory, Statement


async def told(memory, question="hello"):
    messages = await memory.aget(input=question)
    return messages[0].content if messages else ""


async def test_sessions_share_a_block_without_leaking(wished):
    users = {"monday": "ada", "tuesday": "bob", "holiday": None}
    block = PreferenceMemoryBlock(memory=wished, user_id=users.__getitem__)
    sessions = {name: Memory.from_defaults(session_id=name, memory_blocks=[block]) for name in users}
    before = block.model_dump(exclude={"user_id"})
    for _ in range(2):
        monday, tuesday = await told(sessions["monday"]), await told(sessions["tuesday"])
        assert WISHES["ada"] in monday
        assert WISHES["bob"] not in monday
        assert WISHES["bob"] in tuesday
        assert WISHES["ada"] not in tuesday
        assert await told(sessions["holiday"]) == ""
    assert block.model_dump(exclude={"user_id"}) == before, "a call must leave nothing behind in the block"
    with pytest.raises(KeyError):
        await told(Memory.from_defaults(session_id="unknown", memory_blocks=[block]))


async def test_concurrent_sessions_do_not_mix(wished):
    block = PreferenceMemoryBlock(memory=wished, user_id=lambda session: session.split("-")[0])
    sessions = [
        Memory.from_defaults(session_id=f"{user}-{n}", memory_blocks=[block]) for n in range(4) for user in WISHES
    ]
    for session, text in zip(sessions, await asyncio.gather(*map(told, sessions)), strict=True):
        user = session.session_id.split("-")[0]
        assert [wish in text for wish in WISHES.values()] == [name == user for name in WISHES]


async def test_a_wish_for_one_conversation_is_told_in_its_session_only():
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        memory.record("ada", Statement("In this conversation, be concise and brief", thread="monday"))
        block = PreferenceMemoryBlock(memory=memory, user_id="ada")
        sessions = {
            name: Memory.from_defaults(session_id=name, memory_blocks=[block]) for name in ("monday", "tuesday")
        }
        assert "be concise and brief" in await told(sessions["monday"])
        assert await told(sessions["tuesday"]) == ""
        assert "be concise and brief" in await block.aget(session_id="tuesday", thread_id="monday")


async def test_the_block_follows_feedback_and_learns_nothing_itself():
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        block = PreferenceMemoryBlock(memory=memory, user_id="ada")
        session = Memory.from_defaults(memory_blocks=[block], token_limit=40, token_flush_size=10)
        assert await told(session) == ""
        memory.record("ada", Statement("be concise and brief"))
        assert "The user prefers: be concise and brief." in await told(session)
        for number in range(6):
            await session.aput(ChatMessage(f"Please be formal and give me a long list, number {number}."))
            await session.aput(ChatMessage("Certainly, here it is.", role="assistant"))
        assert len(memory.events("ada")) == 1
        assert await block.aget(user_id="bob") == ""
        memory.forget("ada")
        assert await block.aget() == ""


async def test_a_function_of_the_session_needs_one(wished):
    block = PreferenceMemoryBlock(memory=wished, user_id=lambda session: session)
    with pytest.raises(InvalidRequestError, match="Pass session_id or user_id"):
        await block.aget()
    assert WISHES["bob"] in await block.aget(user_id="bob")


def test_a_chat_engine_with_the_block_tells_the_model(padllm_settings, wished):
    plain = PADLLM(**padllm_settings)  # no memory: it knows of the user by the block alone
    block = PreferenceMemoryBlock(memory=wished, user_id="ada")
    counts = []
    for blocks in ([], [block]):
        session = Memory.from_defaults(session_id=f"blocks-{len(blocks)}", memory_blocks=blocks)
        engine = SimpleChatEngine.from_defaults(llm=plain, memory=session)
        counts.append(plain.chat(session.get(input=QUESTION) + ASKED).raw["usage"]["prompt_tokens"])
        assert engine.chat(QUESTION).response
    assert counts[1] > counts[0]


# ---- embeddings


async def test_embeddings_are_the_memorys():
    embedder = HashEmbedder()
    embedding = PADEmbedding(embedder=embedder)
    assert embedding.model_name == "hash-16"
    expected = embedder.embed(["tea", "copper"]).tolist()
    assert embedding.get_text_embedding_batch(["tea", "copper"]) == expected
    assert embedding.get_query_embedding("tea") == expected[0]
    assert await embedding.aget_query_embedding("tea") == expected[0]
    assert await embedding.aget_text_embedding("copper") == expected[1]
    assert await embedding.aget_text_embedding_batch(["tea", "copper"]) == expected
