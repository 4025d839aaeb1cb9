"""`PADLLM` on a tiny pair with random weights: users, ways to call, tools, and what LlamaIndex builds on it."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import time

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatResponse
from llama_index_parts import ADD, ASKED, QUESTION, WEATHER, WISHES, Weather, pair_settings
from pydantic import ValidationError

from pad_langchain import PADLLM, ChatPAD, InvalidRequestError
from pad_langchain.chat import Chat
from pad_langchain.chat.engines import shared_pair
from pad_langchain.testing import HashEmbedder, paused
from pad_memory import PreferenceMemory, Statement


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return pair_settings(tmp_path_factory.mktemp("pair"))


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
    return shared_pair(settings["model"], settings["reward_model"], embedder=settings["embedder"]).engine


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
    assert Chat.of(ada.model, ada).engine is Chat.of(bob.model, bob).engine is engine
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
    users = ["ada", "bob"] * 4
    before = engine.steps
    with paused(engine, until=8):
        answers = await asyncio.gather(*(llm.for_user(user).achat(ASKED) for user in users))
    assert [answer.message.content for answer in answers] == [expected[user] for user in users]
    assert engine.steps - before == 11, "answers of 12 tokens, the first of them from the prefill"


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
    *_, last = structured.stream_chat(ASKED)
    assert last.raw == response.raw


async def test_a_structured_llm_on_an_event_loop(caller):
    structured = caller.for_user("ada").as_structured_llm(Weather)
    expected = structured.chat(ASKED).raw
    assert (await structured.achat(ASKED)).raw == expected
    assert Weather.model_validate_json((await structured.acomplete(QUESTION)).text) == expected
    *partial, last = [response async for response in await structured.astream_chat(ASKED)]
    assert last.raw == expected
    assert partial
