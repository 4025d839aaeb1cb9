"""`PADLLM` on a tiny pair with random weights: users, ways to call, tools, and what LlamaIndex builds on it."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys

import pytest
from llama_index.core import PromptTemplate
from llama_index.core.callbacks import CallbackManager, TokenCountingHandler
from llama_index.core.llms import ChatResponse
from pydantic import ValidationError

from fakes import QUESTION, WISHES
from llama_index_parts import ADD, ASKED, WEATHER, Weather
from pad_langchain import PADLLM, ChatPAD, InvalidRequestError
from pad_langchain.chat import Chat
from pad_langchain.testing import paused
from waiting import auntil


@pytest.fixture(scope="module")
def chat_texts(padllm_settings, wished):
    """The text each user must get, from the LangChain face."""
    chat = ChatPAD(**padllm_settings, memory=wished)
    texts = {user: chat.invoke(QUESTION, user_id=user).text for user in (None, *WISHES)}
    assert len(set(texts.values())) == 3, "the tiny pair has to answer its users differently"
    return texts


# ---- users and the ways to call


@pytest.mark.parametrize("user", [None, *WISHES])
def test_every_way_to_call_gives_the_users_answer(padllm, chat_texts, user):
    for personal, keywords in ((padllm.for_user(user) if user else padllm, {}), (padllm, {"user_id": user})):
        assert personal.chat(ASKED, **keywords).message.content == chat_texts[user]
        assert personal.complete(QUESTION, **keywords).text == chat_texts[user]
        for stream in (personal.stream_chat(ASKED, **keywords), personal.stream_complete(QUESTION, **keywords)):
            assert "".join(response.delta for response in stream) == chat_texts[user]


@pytest.mark.parametrize("user", [None, *WISHES])
async def test_every_async_way_to_call_gives_the_users_answer(padllm, chat_texts, user):
    personal = padllm.for_user(user) if user else padllm
    assert (await personal.achat(ASKED)).message.content == chat_texts[user]
    assert (await personal.acomplete(QUESTION)).text == chat_texts[user]
    for stream in (await personal.astream_chat(ASKED), await personal.astream_complete(QUESTION)):
        assert "".join([response.delta async for response in stream]) == chat_texts[user]


def test_for_user_is_a_copy_on_the_same_engine(padllm, shared_engine):
    ada, bob = padllm.for_user("ada"), padllm.for_user("bob")
    assert (padllm.user_id, ada.user_id, bob.user_id) == (None, "ada", "bob")
    assert Chat.of(ada.model, ada).engine is Chat.of(bob.model, bob).engine is shared_engine
    assert ada.memory is padllm.memory
    for blank in ("", " ", 7):
        with pytest.raises(InvalidRequestError, match="user_id has to be a string that is not blank"):
            padllm.for_user(blank)


def test_settings_may_be_changed_later(padllm, chat_texts):
    padllm.user_id = "ada"
    assert padllm.complete(QUESTION).text == chat_texts["ada"]
    padllm.max_tokens = 3
    assert padllm.complete(QUESTION).raw["usage"]["completion_tokens"] == 3


def test_preference_and_other_keywords_of_a_call(padllm, chat_texts):
    explicit = padllm.chat(ASKED, user_id="ada", preference="use a formal tone").raw["pad"]
    assert explicit["condition"] == [{"text": "use a formal tone", "weight": 1.0, "source": "call", "route": "guide"}]
    assert padllm.for_user("ada").chat(ASKED, beta=0.0).message.content == chat_texts[None]
    sampled = {padllm.complete(QUESTION, temperature=1.0, seed=seed).text for seed in (1, 2, 1, 2)}
    assert len(sampled) == 2
    text = chat_texts[None]
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    assert padllm.complete(QUESTION, stop=[stop]).text == text[: text.index(stop)]


def test_a_stream_grows_to_the_answer(padllm):
    *parts, last = padllm.stream_chat(ASKED, user_id="ada")
    assert parts
    text = ""
    for response in (*parts, last):
        text += response.delta
        assert response.message.content == text
    assert all(response.raw is None for response in parts)
    whole = padllm.chat(ASKED, user_id="ada")
    assert whole.message == last.message
    for raw in (whole.raw, last.raw):
        raw["pad"].pop("response_id")
    assert whole.raw == last.raw


def test_what_an_answer_carries(padllm, padllm_settings):
    response = padllm.for_user("ada").chat(ASKED, logprobs=True, top_logprobs=2)
    raw = response.raw
    assert (raw["model"], raw["pad"]["user"], raw["pad"]["beta"]) == (padllm_settings["model"], "ada", 2.0)
    assert raw["finish_reason"] in ("stop", "length")
    usage = raw["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"]
    assert len(response.logprobs) == usage["completion_tokens"]
    assert {len(weighed) for weighed in response.logprobs} == {3}
    assert all(one.logprob <= 0 for weighed in response.logprobs for one in weighed)
    assert padllm.chat(ASKED).logprobs is None


def test_llama_indexs_own_token_counter_reads_the_usage(padllm_settings):
    counter = TokenCountingHandler()
    counted = PADLLM(**padllm_settings, callback_manager=CallbackManager([counter]))
    usage = counted.chat(ASKED).raw["usage"]
    event = counter.llm_token_counts[-1]
    assert (event.prompt_token_count, event.completion_token_count) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )


def test_metadata(padllm, padllm_settings):
    card = padllm.metadata
    assert (card.context_window, card.num_output, card.model_name) == (16384, 12, padllm_settings["model"])
    assert card.is_chat_model
    assert card.is_function_calling_model
    assert padllm.model_copy(update={"context_window": 99}).metadata.context_window == 99
    assert padllm.get_token_ids("hello") == ChatPAD(**padllm_settings).get_token_ids("hello")
    assert not {"memory", "embedder"} & padllm.to_dict().keys()
    assert PADLLM.from_dict(padllm.to_dict()).max_tokens == 12


# ---- batching, cancelling


async def test_concurrent_users_share_their_forwards(padllm, shared_engine, chat_texts):
    await padllm.achat(ASKED)
    users = ["ada", "bob"] * 4
    before = shared_engine.steps
    with paused(shared_engine, until=8):
        answers = await asyncio.gather(*(padllm.for_user(user).achat(ASKED) for user in users))
    assert [answer.message.content for answer in answers] == [chat_texts[user] for user in users]
    assert shared_engine.steps - before == 11, "answers of 12 tokens, the first of them from the prefill"


async def test_leaving_or_cancelling_frees_the_row(padllm, shared_engine):
    endless = padllm.model_copy(update={"max_tokens": 4096})
    stream = endless.stream_chat(ASKED)
    next(stream)
    stream.close()
    astream = await endless.astream_chat(ASKED)
    assert isinstance(await anext(astream), ChatResponse)
    await astream.aclose()
    del stream, astream
    task = asyncio.create_task(endless.achat(ASKED, temperature=1.0, seed=3))
    await auntil(lambda: shared_engine.running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await auntil(lambda: not shared_engine.running)


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
def test_bad_settings_are_refused_in_the_constructor_and_in_a_call(padllm, field, value, message):
    with pytest.raises(ValidationError, match=message):
        PADLLM(**{field: value})
    with pytest.raises(InvalidRequestError, match=message):
        padllm.chat(ASKED, **{field: value})


def test_other_bad_calls(padllm):
    with pytest.raises(InvalidRequestError, match=r"unknown keywords \['max_new_tokens'\]"):
        padllm.chat(ASKED, max_new_tokens=3)
    with pytest.raises(InvalidRequestError, match="list of messages is empty"):
        padllm.chat([])
    with pytest.raises(InvalidRequestError, match="requires a user id"):
        padllm.model_copy(update={"require_user": True}).complete(QUESTION)


@pytest.mark.slow
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


def test_no_call_is_said_or_raised(padllm):
    cut = padllm.chat_with_tools([WEATHER], QUESTION, tool_required=True, max_tokens=14)
    assert padllm.get_tool_calls_from_response(cut, error_on_no_tool_call=False) == []
    with pytest.raises(InvalidRequestError, match=r"Raise max_tokens \(now 12\)"):
        padllm.get_tool_calls_from_response(cut)
    with pytest.raises(InvalidRequestError, match="force a call with tool_required=True"):
        padllm.get_tool_calls_from_response(padllm.chat_with_tools([WEATHER], QUESTION, tool_choice="none"))
    assert padllm.chat_with_tools([], QUESTION).message.content


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
