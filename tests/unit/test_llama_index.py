"""`PADLLM` on a tiny pair with random weights: users, ways to call, tools, and what LlamaIndex builds on it."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import time

import pytest
from llama_index.core import Document, PromptTemplate, Settings, VectorStoreIndex
from llama_index.core.agent.workflow import FunctionAgent, ReActAgent, ToolCallResult
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.chat_engine import SimpleChatEngine
from llama_index.core.evaluation import FaithfulnessEvaluator
from llama_index.core.llms import ChatMessage, ChatResponse
from llama_index.core.memory import Memory
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel, Field, ValidationError

from pad_langchain import PADLLM, ChatPAD, InvalidRequestError
from pad_langchain.llama_index import PADEmbedding, PreferenceMemoryBlock
from pad_langchain.runtime import shared_engine
from pad_langchain.testing import HashEmbedder, TinyPair, tiny_head, tiny_model, tiny_tokenizer
from pad_memory import PreferenceMemory, Statement

QUESTION = "what is an element?"
ASKED = [ChatMessage(QUESTION)]
WISHES = {"ada": "be concise and brief", "bob": "use a formal tone"}


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    # LlamaIndex's own prompts are long, and this tokenizer needs a token for every two letters.
    model = tiny_model(max_position_embeddings=16384)
    pair = TinyPair(model, tiny_tokenizer(), tiny_head(model), HashEmbedder())
    base, persrm = pair.save(tmp_path_factory.mktemp("pair"))
    return {
        "model": str(base),
        "reward_model": str(persrm),
        "embedder": pair.embedder,
        "max_tokens": 12,
        "beta": 2.0,
    }


@pytest.fixture(scope="module")
def memory():
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        for user, wish in WISHES.items():
            memory.record(user, Statement(wish))
        yield memory


@pytest.fixture
def llm(settings, memory):
    return PADLLM(**settings, memory=memory)


@pytest.fixture(scope="module")
def engine(settings):
    return shared_engine(settings["model"], settings["reward_model"], embedder=settings["embedder"])


@pytest.fixture(scope="module")
def expected(settings, memory):
    """The text each user must get, from the LangChain face."""
    chat = ChatPAD(**settings, memory=memory)
    texts = {user: chat.invoke(QUESTION, user_id=user).text for user in (None, *WISHES)}
    assert len(set(texts.values())) == 3, "the tiny pair has to answer its users differently"
    return texts


# ---- users and the ways to call


@pytest.mark.parametrize("user", [None, *WISHES])
def test_every_way_to_call_gives_the_users_answer(llm, expected, user):
    for personal, keywords in ((llm.for_user(user) if user else llm, {}), (llm, {"user_id": user})):
        assert personal.chat(ASKED, **keywords).message.content == expected[user]
        assert personal.complete(QUESTION, **keywords).text == expected[user]
        for stream in (personal.stream_chat(ASKED, **keywords), personal.stream_complete(QUESTION, **keywords)):
            assert "".join(response.delta for response in stream) == expected[user]


@pytest.mark.parametrize("user", [None, *WISHES])
async def test_every_async_way_to_call_gives_the_users_answer(llm, expected, user):
    personal = llm.for_user(user) if user else llm
    assert (await personal.achat(ASKED)).message.content == expected[user]
    assert (await personal.acomplete(QUESTION)).text == expected[user]
    for stream in (await personal.astream_chat(ASKED), await personal.astream_complete(QUESTION)):
        assert "".join([response.delta async for response in stream]) == expected[user]


def test_for_user_is_a_copy_on_the_same_engine(llm, engine):
    ada, bob = llm.for_user("ada"), llm.for_user("bob")
    assert (llm.user_id, ada.user_id, bob.user_id) == (None, "ada", "bob")
    assert ada._chat_model()._engine() is bob._chat_model()._engine() is engine
    assert ada.memory is llm.memory
    for blank in ("", " ", 7):
        with pytest.raises(InvalidRequestError, match="user_id has to be a string that is not blank"):
            llm.for_user(blank)


def test_settings_may_be_changed_later(llm, expected):
    llm.user_id = "ada"
    assert llm.complete(QUESTION).text == expected["ada"]
    llm.max_tokens = 3
    assert llm.complete(QUESTION).raw["usage"]["completion_tokens"] == 3


def test_preference_and_other_keywords_of_a_call(llm, expected):
    explicit = llm.chat(ASKED, user_id="ada", preference="use a formal tone").raw["pad"]
    assert explicit["condition"] == [{"text": "use a formal tone", "weight": 1.0}]
    assert llm.for_user("ada").chat(ASKED, beta=0.0).message.content == expected[None]
    sampled = {llm.complete(QUESTION, temperature=1.0, seed=seed).text for seed in (1, 2, 1, 2)}
    assert len(sampled) == 2
    text = expected[None]
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    assert llm.complete(QUESTION, stop=[stop]).text == text[: text.index(stop)]


def test_a_stream_grows_to_the_answer(llm):
    *parts, last = llm.stream_chat(ASKED, user_id="ada")
    assert parts
    text = ""
    for response in (*parts, last):
        text += response.delta
        assert response.message.content == text
    assert all(response.raw is None for response in parts)
    whole = llm.chat(ASKED, user_id="ada")
    assert whole.message == last.message
    for raw in (whole.raw, last.raw):
        raw["pad"].pop("response_id")
    assert whole.raw == last.raw


def test_what_an_answer_carries(llm, settings):
    response = llm.for_user("ada").chat(ASKED, logprobs=True, top_logprobs=2)
    raw = response.raw
    assert (raw["model"], raw["pad"]["user"], raw["pad"]["beta"]) == (settings["model"], "ada", 2.0)
    assert raw["finish_reason"] in ("stop", "length")
    usage = raw["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert len(response.logprobs) == usage["completion_tokens"]
    assert {len(weighed) for weighed in response.logprobs} == {3}
    assert all(one.logprob <= 0 for weighed in response.logprobs for one in weighed)
    assert llm.chat(ASKED).logprobs is None


def test_llama_indexs_own_token_counter_reads_the_usage(settings):
    counter = TokenCountingHandler()
    counted = PADLLM(**settings, callback_manager=CallbackManager([counter]))
    usage = counted.chat(ASKED).raw["usage"]
    event = counter.llm_token_counts[-1]
    assert (event.prompt_token_count, event.completion_token_count) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


def test_metadata(llm, settings):
    card = llm.metadata
    assert (card.context_window, card.num_output, card.model_name) == (16384, 12, settings["model"])
    assert card.is_chat_model
    assert card.is_function_calling_model
    assert llm.model_copy(update={"context_window": 99}).metadata.context_window == 99
    assert llm.get_token_ids("hello") == ChatPAD(**settings).get_token_ids("hello")
    assert not {"memory", "embedder"} & llm.to_dict().keys()
    assert PADLLM.from_dict(llm.to_dict()).max_tokens == 12


# ---- batching, cancelling


async def test_concurrent_users_share_their_forwards(llm, engine, expected):
    await llm.achat(ASKED)
    before = engine.steps
    users = ["ada", "bob"] * 4
    answers = await asyncio.gather(*(llm.for_user(user).achat(ASKED) for user in users))
    assert [answer.message.content for answer in answers] == [expected[user] for user in users]
    assert engine.steps - before <= 2 * 12, "8 answers of 12 tokens have to share their forwards"


async def test_leaving_or_cancelling_frees_the_row(llm, engine):
    endless = llm.model_copy(update={"max_tokens": 4096})
    stream = endless.stream_chat(ASKED)
    next(stream)
    stream.close()
    astream = await endless.astream_chat(ASKED)
    assert isinstance(await anext(astream), ChatResponse)
    await astream.aclose()
    del stream, astream
    task = asyncio.create_task(endless.achat(ASKED, temperature=1.0, seed=3))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    deadline = time.monotonic() + 2
    while engine.running and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert engine.running == 0


# ---- bad input


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", -1.0, "temperature has to be"),
        ("beta", math.nan, "beta has to be a finite number"),
        ("top_k", 0, "top_k has to be an integer of at least 1"),
        ("max_tokens", 0, "max_tokens has to be an integer of at least 1"),
    ],
)
def test_bad_settings_are_refused_in_the_constructor_and_in_a_call(llm, field, value, message):
    with pytest.raises(ValidationError, match=message):
        PADLLM(**{field: value})
    with pytest.raises(InvalidRequestError, match=message):
        llm.chat(ASKED, **{field: value})


def test_other_bad_calls(llm):
    with pytest.raises(InvalidRequestError, match=r"unknown keywords \['max_new_tokens'\]"):
        llm.chat(ASKED, max_new_tokens=3)
    with pytest.raises(InvalidRequestError, match="list of messages is empty"):
        llm.chat([])
    with pytest.raises(InvalidRequestError, match="requires a user id"):
        llm.model_copy(update={"require_user": True}).complete(QUESTION)


def test_without_llama_index_the_install_line_is_named():
    code = (
        "import sys; sys.modules['llama_index'] = None\n"
        "import pad_langchain\n"
        "try:\n    pad_langchain.PADLLM\n"
        "except pad_langchain.MissingDependencyError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip().endswith('Install it: pip install "pad-langchain[llama-index]"')


# ---- tools


class Weather(BaseModel):
    """The weather of a place."""

    city: str = Field(max_length=8)
    days: int = Field(ge=1, le=9)


def weather(city: str, days: int) -> str:
    """Tell the weather of a city."""
    return f"{days} days of rain"


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


WEATHER = FunctionTool.from_defaults(weather, fn_schema=Weather)
ADD = FunctionTool.from_defaults(add)


@pytest.fixture
def caller(llm):
    return llm.model_copy(update={"max_tokens": 400, "temperature": 1.0, "seed": 1})


def test_a_required_call_is_valid_whatever_the_weights(caller):
    for user in WISHES:
        response = caller.for_user(user).chat_with_tools([WEATHER], QUESTION, tool_required=True)
        (call,) = caller.get_tool_calls_from_response(response)
        assert call.tool_name == "weather"
        assert Weather(**call.tool_kwargs)
        assert call.tool_id
        assert response.raw["finish_reason"] == "tool_calls"
        assert not response.message.content


async def test_a_call_streams_in_parts_that_only_grow(caller):
    *parts, last = caller.stream_chat_with_tools([WEATHER], QUESTION, tool_required=True)
    (call,) = caller.get_tool_calls_from_response(last)
    begun = [caller.get_tool_calls_from_response(part, error_on_no_tool_call=False) for part in parts]
    assert any(calls and calls[0].tool_kwargs.keys() < call.tool_kwargs.keys() for calls in begun)
    assert {calls[0].tool_id for calls in begun if calls} == {call.tool_id}
    whole = caller.get_tool_calls_from_response(caller.chat_with_tools([WEATHER], QUESTION, tool_required=True))
    assert whole[0].tool_kwargs == call.tool_kwargs
    stream = await caller.astream_chat_with_tools([WEATHER], QUESTION, tool_required=True)
    *_, same = [response async for response in stream]
    assert caller.get_tool_calls_from_response(same)[0].tool_kwargs == call.tool_kwargs


def test_a_tool_may_be_named(caller):
    response = caller.chat_with_tools([WEATHER, ADD], QUESTION, tool_choice="add")
    assert [call.tool_name for call in caller.get_tool_calls_from_response(response)] == ["add"]
    with pytest.raises(InvalidRequestError, match="subtract"):
        caller.chat_with_tools([WEATHER, ADD], QUESTION, tool_choice="subtract")


def test_no_call_is_said_or_raised(llm):
    cut = llm.chat_with_tools([WEATHER], QUESTION, tool_required=True, max_tokens=14)
    assert llm.get_tool_calls_from_response(cut, error_on_no_tool_call=False) == []
    with pytest.raises(InvalidRequestError, match=r"Raise max_tokens \(now 12\)"):
        llm.get_tool_calls_from_response(cut)
    with pytest.raises(InvalidRequestError, match="force a call with tool_required=True"):
        llm.get_tool_calls_from_response(llm.chat_with_tools([WEATHER], QUESTION, tool_choice="none"))
    assert llm.chat_with_tools([], QUESTION).message.content


def test_predict_and_call_runs_the_tool(caller):
    answer = caller.predict_and_call([WEATHER], QUESTION, tool_required=True)
    assert answer.response.endswith("days of rain")


def test_structured_predict(caller):
    prompt = PromptTemplate("Make up the weather of {place}.")
    whole = caller.structured_predict(Weather, prompt, place="Rome")
    assert isinstance(whole, Weather)
    *partial, last = caller.stream_structured_predict(Weather, prompt, place="Rome")
    assert last == whole
    assert len(partial) > 1
    with pytest.raises(InvalidRequestError, match="cut off"):
        caller.structured_predict(Weather, prompt, llm_kwargs={"max_tokens": 14}, place="Rome")


async def test_structured_predict_async(caller):
    prompt = PromptTemplate("Make up the weather of {place}.")
    expected = caller.structured_predict(Weather, prompt, place="Rome")
    assert await caller.astructured_predict(Weather, prompt, place="Rome") == expected
    stream = await caller.astream_structured_predict(Weather, prompt, place="Rome")
    assert [one async for one in stream][-1] == expected


def test_a_structured_llm(caller):
    structured = caller.for_user("ada").as_structured_llm(Weather)
    response = structured.chat(ASKED)
    assert isinstance(response.raw, Weather)
    assert Weather.model_validate_json(structured.complete(QUESTION).text) == response.raw


# ---- agents, engines, evaluators


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent_calls_and_answers(caller, streaming):
    agent = FunctionAgent(
        tools=[WEATHER, ADD],
        llm=caller.for_user("ada"),
        initial_tool_choice="weather",
        allow_parallel_tool_calls=False,
        streaming=streaming,
    )
    handler = agent.run(QUESTION, max_iterations=8)
    events = [event async for event in handler.stream_events()]
    results = [event for event in events if isinstance(event, ToolCallResult)]
    assert results[0].tool_name == "weather"
    assert results[0].tool_output.content.endswith("days of rain")
    answer = await handler
    assert answer.response.content
    assert answer.raw["pad"]["user"] == "ada"


async def test_a_react_agent_answers(llm):
    agent = ReActAgent(tools=[ADD], llm=llm.for_user("ada"))
    assert (await agent.run(QUESTION)).response.content


PASSAGES = ("Velmora is a country in Europe.", "Karsund is a country in Asia.", "A brimtail is a kind of bird.")


@pytest.fixture
def index():
    documents = [Document(text=text, id_=text.split()[0]) for text in PASSAGES]
    return VectorStoreIndex.from_documents(documents, embed_model=PADEmbedding(embedder=HashEmbedder()))


def test_a_query_engine_answers_each_user_from_the_same_sources(llm, index):
    question = PASSAGES[1]  # these embeddings know only what is the same
    answers = {
        user: index.as_query_engine(llm=llm.for_user(user), similarity_top_k=1).query(question) for user in WISHES
    }
    assert answers["ada"].response != answers["bob"].response
    for answer in answers.values():
        assert [node.text for node in answer.source_nodes] == [PASSAGES[1]]
    stream = index.as_query_engine(llm=llm.for_user("ada"), similarity_top_k=1, streaming=True).query(question)
    assert "".join(stream.response_gen) == answers["ada"].response


def test_an_index_may_take_everything_from_the_settings(llm, monkeypatch):
    monkeypatch.setattr(Settings, "_llm", llm.for_user("ada"))
    monkeypatch.setattr(Settings, "_embed_model", PADEmbedding(embedder=HashEmbedder()))
    index = VectorStoreIndex.from_documents([Document(text=PASSAGES[0])])
    assert index.as_query_engine().query(PASSAGES[0]).response


@pytest.mark.parametrize("mode", ["simple", "context", "condense_question", "condense_plus_context"])
def test_chat_engines_answer_each_user(llm, index, mode):
    texts = set()
    for user in WISHES:
        engine = index.as_chat_engine(chat_mode=mode, llm=llm.for_user(user))
        assert engine.chat("hello").response
        streamed = engine.stream_chat(QUESTION)
        texts.add("".join(streamed.response_gen))
    assert len(texts) == 2


def test_an_evaluator_judges(llm):
    result = FaithfulnessEvaluator(llm=llm).evaluate(query=QUESTION, response="a metal", contexts=[PASSAGES[0]])
    assert result.passing in (True, False)


# ---- the memory block


async def told(memory, question="hello"):
    messages = await memory.aget(input=question)
    return messages[0].content if messages else ""


async def test_sessions_share_a_block_without_leaking(memory):
    users = {"monday": "ada", "tuesday": "bob", "holiday": None}
    block = PreferenceMemoryBlock(memory=memory, user_id=users.__getitem__)
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


async def test_concurrent_sessions_do_not_mix(memory):
    block = PreferenceMemoryBlock(memory=memory, user_id=lambda session: session.split("-")[0])
    sessions = [
        Memory.from_defaults(session_id=f"{user}-{n}", memory_blocks=[block]) for n in range(4) for user in WISHES
    ]
    for session, text in zip(sessions, await asyncio.gather(*map(told, sessions)), strict=True):
        user = session.session_id.split("-")[0]
        assert [wish in text for wish in WISHES.values()] == [name == user for name in WISHES]


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


async def test_a_function_of_the_session_needs_one(memory):
    block = PreferenceMemoryBlock(memory=memory, user_id=lambda session: session)
    with pytest.raises(InvalidRequestError, match="Pass session_id or user_id"):
        await block.aget()
    assert WISHES["bob"] in await block.aget(user_id="bob")


def test_a_chat_engine_with_the_block_tells_the_model(settings, memory):
    plain = PADLLM(**settings)  # no memory: it knows of the user by the block alone
    block = PreferenceMemoryBlock(memory=memory, user_id="ada")
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
