"""`ChatPAD` on a tiny pair with random weights: plumbing, users, settings, batching, caching."""

from __future__ import annotations

import asyncio
import math
import re

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import ValidationError

from fakes import QUESTION, WISHES
from pad_langchain import ChatPAD, ContextLengthError, IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.chat import Chat
from pad_langchain.chat.engines import shared_pair
from pad_langchain.testing import HashEmbedder, paused, tiny_pair
from pad_memory import PreferenceMemory, Statement
from waiting import Heartbeat, auntil


def engine_behind(llm):
    return Chat.of(llm.model_name, llm).engine


def configured(user):
    return {"configurable": {"user_id": user}}


# ---- the user id


@pytest.mark.parametrize("user", WISHES)
def test_user_id_reaches_every_way_to_call(llm, expected, user):
    config = configured(user)
    assert llm.invoke(QUESTION, config).text == expected[user]
    assert llm.invoke(QUESTION, user_id=user).text == expected[user]
    assert llm.bind(user_id=user).invoke(QUESTION).text == expected[user]
    assert llm.with_config(config).invoke(QUESTION).text == expected[user]
    assert "".join(chunk.text for chunk in llm.stream(QUESTION, config)) == expected[user]
    assert [answer.text for answer in llm.batch([QUESTION, QUESTION], config)] == [expected[user]] * 2
    assert llm.model_copy(update={"user_id": user}).invoke(QUESTION).text == expected[user]


@pytest.mark.parametrize("user", WISHES)
async def test_user_id_reaches_every_async_way_to_call(llm, expected, user):
    config = configured(user)
    assert (await llm.ainvoke(QUESTION, config)).text == expected[user]
    assert "".join([chunk.text async for chunk in llm.astream(QUESTION, config)]) == expected[user]
    assert [answer.text for answer in await llm.abatch([QUESTION], config)] == [expected[user]]
    events = [event async for event in llm.astream_events(QUESTION, config, version="v2")]
    assert events[-1]["data"]["output"].text == expected[user]


def test_user_id_reaches_chains_and_parallel_branches(llm, expected):
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | llm | StrOutputParser()
    both = RunnableParallel(left=chain, right=RunnableLambda(lambda value: chain.invoke(value)))
    for user in WISHES:
        assert chain.invoke({"question": QUESTION}, configured(user)) == expected[user]
        assert both.invoke({"question": QUESTION}, configured(user)) == {
            "left": expected[user],
            "right": expected[user],
        }
    users = ["ada", "bob", "ada"]
    answers = chain.batch([{"question": QUESTION}] * 3, [configured(user) for user in users])
    assert answers == [expected[user] for user in users]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
def test_user_id_reaches_stream_events_v3(llm, expected):
    stream = llm.stream_events(QUESTION, configured("bob"), version="v3")
    assert stream.output.text == expected["bob"]


async def test_user_id_reaches_a_langgraph_node_that_does_not_pass_the_config_on(llm, expected):
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [llm.invoke(state["messages"])]})
    graph.add_edge(START, "answer")
    compiled = graph.compile()
    for user in WISHES:
        state = {"messages": [HumanMessage(QUESTION)]}
        assert compiled.invoke(state, configured(user))["messages"][-1].text == expected[user]
        assert (await compiled.ainvoke(state, configured(user)))["messages"][-1].text == expected[user]


@pytest.mark.filterwarnings("ignore::langchain_core._api.LangChainBetaWarning")
async def test_user_id_reaches_async_stream_events_v3(llm, expected):
    stream = await llm.astream_events(QUESTION, configured("bob"), version="v3")
    assert (await stream.output).text == expected["bob"]


def test_precedence_is_keyword_then_config_then_field(llm, expected):
    with_field = llm.model_copy(update={"user_id": "ada"})
    assert with_field.invoke(QUESTION).text == expected["ada"]
    assert with_field.invoke(QUESTION, configured("bob")).text == expected["bob"]
    assert with_field.invoke(QUESTION, configured("bob"), user_id="ada").text == expected["ada"]
    assert with_field.invoke(QUESTION, user_id=None).text == expected[None]


def test_nobody_gets_the_plain_base(llm, expected, settings):
    assert llm.invoke(QUESTION).text == expected[None]
    assert llm.invoke(QUESTION, user_id="somebody new").text == expected[None]
    assert llm.invoke(QUESTION, user_id="ada", beta=0).text == expected[None]


@pytest.mark.parametrize("user", ["", "  ", 7])
def test_bad_user_ids_are_refused(llm, user):
    with pytest.raises(InvalidRequestError, match="user_id has to be a string that is not blank"):
        llm.invoke(QUESTION, user_id=user)


def test_require_user(llm, expected):
    strict = llm.model_copy(update={"require_user": True})
    with pytest.raises(InvalidRequestError, match=re.escape('config={"configurable": {"user_id"')):
        strict.invoke(QUESTION)
    assert strict.invoke(QUESTION, configured("ada")).text == expected["ada"]


# ---- preferences


def test_an_explicit_preference_replaces_the_memory_for_the_call(llm, expected):
    explicit = llm.invoke(QUESTION, user_id="ada", preference="use a formal tone")
    assert explicit.response_metadata["pad"]["condition"] == [
        {"text": "use a formal tone", "weight": 1.0, "source": "call", "route": "guide"}
    ]
    assert explicit.response_metadata["pad"]["user"] == "ada"
    assert llm.invoke(QUESTION, user_id="ada", preference=[]).text == expected[None]
    assert llm.invoke(QUESTION, user_id="ada").text == expected["ada"]


def test_weights_matter(llm):
    wish = "be concise and brief"
    liked, disliked = (llm.invoke(QUESTION, preference=[(wish, weight)]).text for weight in (1.0, -1.0))
    assert liked != disliked
    assert llm.invoke(QUESTION, preference=[(wish, 0.0)]).text == llm.invoke(QUESTION).text


@pytest.mark.parametrize("preference", [3, [("a",)], [("a", "b")], [("a", True)], " ", [("a", math.inf)], {"a": 1.0}])
def test_unreadable_preferences_are_refused(llm, preference):
    with pytest.raises(InvalidRequestError):
        llm.invoke(QUESTION, preference=preference)


def test_condition_base_tells_the_base_and_so_does_a_model_without_persrm(settings, expected):
    wish = "be concise and brief"
    guided = ChatPAD(**settings).invoke(QUESTION, preference=wish)
    told = ChatPAD(**settings).invoke(QUESTION, preference=wish, condition_base=True)
    assert told.usage_metadata["input_tokens"] > guided.usage_metadata["input_tokens"]
    prompted = ChatPAD(**{**settings, "reward_model": None}).invoke(QUESTION, preference=wish)
    assert prompted.usage_metadata["input_tokens"] == told.usage_metadata["input_tokens"]
    assert prompted.text == ChatPAD(**settings).invoke(QUESTION, preference=wish, condition_base=True, beta=0).text
    assert prompted.response_metadata["pad"]["mean_reward"] == 0.0


def test_a_base_can_guide_itself(settings, expected):
    llm = ChatPAD(**{**settings, "reward_model": "self"})
    assert llm.invoke(QUESTION).text == expected[None]
    guided = llm.invoke(QUESTION, preference="be concise and brief")
    assert guided.text != expected[None]
    assert guided.response_metadata["pad"]["mean_reward"] != 0.0


def test_the_memory_gets_the_persrm_as_its_scorer(settings):
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        llm = ChatPAD(**settings, memory=memory)
        assert memory.scorer is None
        llm.invoke(QUESTION, user_id="ada")
        rewards = memory.scorer(QUESTION, "an answer", ["be brief", "be formal"])
        assert rewards.shape == (2,)


# ---- what an answer carries


def test_metadata_and_usage(llm, expected):
    answer = llm.invoke(QUESTION, user_id="ada")
    assert answer.response_metadata["model_name"] == llm.model_name
    assert answer.response_metadata["finish_reason"] in ("stop", "length")
    pad = answer.response_metadata["pad"]
    assert pad["user"] == "ada"
    assert [wish["text"] for wish in pad["condition"]] == [item.text for item in llm.memory.condition("ada")]
    assert (pad["beta"], pad["top_k"]) == (2.0, 10)
    assert pad["mean_reward"] != 0.0
    assert pad["response_id"] != llm.invoke(QUESTION, user_id="ada").response_metadata["pad"]["response_id"]
    usage = answer.usage_metadata
    assert usage["input_tokens"] == llm.get_num_tokens_from_messages([HumanMessage(QUESTION)])
    assert 1 <= usage["output_tokens"] <= 12
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert "logprobs" not in answer.response_metadata


def test_logprobs_and_rewards(llm):
    answer = llm.invoke(QUESTION, user_id="ada", logprobs=True, top_logprobs=3)
    entries = answer.response_metadata["logprobs"]["content"]
    assert len(entries) == answer.usage_metadata["output_tokens"]
    mean = sum(entry["reward"] for entry in entries) / len(entries)
    assert answer.response_metadata["pad"]["mean_reward"] == pytest.approx(mean)
    for entry in entries:
        assert set(entry) == {"token", "logprob", "reward", "bytes", "top_logprobs"}
        assert entry["logprob"] <= 0.0
        assert len(entry["top_logprobs"]) == 3
        assert entry["bytes"] is None or bytes(entry["bytes"]).decode() == entry["token"]
    streamed = list(llm.stream(QUESTION, user_id="ada", logprobs=True, top_logprobs=3))
    total = sum(streamed[1:], streamed[0])
    assert total.response_metadata["logprobs"]["content"] == entries


def test_stream_is_invoke(llm):
    chunks = list(llm.stream(QUESTION, user_id="bob"))
    total = sum(chunks[1:], chunks[0])
    answer = llm.invoke(QUESTION, user_id="bob")
    assert total.text == answer.text
    assert total.usage_metadata == answer.usage_metadata
    assert len(chunks) > 1
    assert [chunk.chunk_position for chunk in chunks].count("last") == 1
    assert sum(bool(chunk.usage_metadata) for chunk in chunks) == 1
    changing = {"pad"}  # every answer has its own response id
    assert {k: v for k, v in total.response_metadata.items() if k not in changing} == {
        k: v for k, v in answer.response_metadata.items() if k not in changing
    }


def test_the_first_chunk_comes_early(llm, folders):
    engine = shared_pair(folders[0], folders[1], embedder=HashEmbedder()).engine
    before = engine.steps
    stream = llm.stream(QUESTION, max_tokens=300)
    assert next(stream).text
    assert engine.steps - before < 100
    stream.close()


def test_max_tokens_and_stop(llm, expected):
    assert llm.invoke(QUESTION, max_tokens=3).response_metadata["finish_reason"] == "length"
    assert llm.invoke(QUESTION, max_tokens=3).usage_metadata["output_tokens"] == 3
    text = expected[None]
    stop = text[len(text) // 2 : len(text) // 2 + 2]
    cut = llm.invoke(QUESTION, stop=[stop])
    assert cut.text == text[: text.index(stop)]
    assert cut.response_metadata["finish_reason"] == "stop"
    assert llm.model_copy(update={"stop": [stop]}).invoke(QUESTION).text == cut.text
    assert "".join(chunk.text for chunk in llm.stream(QUESTION, stop=[stop])) == cut.text


def test_seeds(llm):
    settings = {"temperature": 1.0, "seed": 7, "user_id": "ada"}
    alone = llm.invoke(QUESTION, **settings).text
    crowd = llm.batch([QUESTION, "how do you make tea?", QUESTION], **settings)
    assert crowd[0].text == crowd[2].text == alone
    assert len({llm.invoke(QUESTION, temperature=1.0, seed=seed).text for seed in range(4)}) > 1


def test_model_keyword_answers_with_another_model(llm, tmp_path):
    other, _ = tiny_pair(seed=5).save(tmp_path)
    answer = llm.model_copy(update={"reward_model": None}).invoke(QUESTION, model=str(other))
    assert answer.response_metadata["model_name"] == str(other)
    assert answer.text == ChatPAD(model=str(other), reward_model=None, max_tokens=12).invoke(QUESTION).text


def test_calls_may_clip_be_lazy_and_take_the_best_of_several(llm):
    wish = {"preference": WISHES["ada"]}
    free = llm.invoke(QUESTION, **wish)
    assert llm.invoke(QUESTION, clip=100.0, lazy=True, **wish).text == free.text
    assert llm.invoke(QUESTION, clip=1e-6, **wish).text == llm.invoke(QUESTION).text
    hot = {"temperature": 1.0, "seed": 3, **wish}

    def total(answer):
        return answer.response_metadata["pad"]["mean_reward"] * answer.usage_metadata["output_tokens"]

    one, best = llm.invoke(QUESTION, **hot), llm.invoke(QUESTION, best_of=6, **hot)
    assert total(best) >= total(one) - 1e-3  # the same answer, in company, may differ by a rounding
    assert "".join(chunk.text for chunk in llm.stream(QUESTION, best_of=6, **hot)) == best.text
    with pytest.raises(InvalidRequestError, match="best_of"):
        llm.invoke(QUESTION, best_of=2, **wish)


# ---- batching, async, cancelling


def test_a_batch_rides_together(llm, folders):
    engine = shared_pair(folders[0], folders[1], embedder=HashEmbedder()).engine
    users = ["ada", "bob", None, "ada"] * 4
    llm.invoke(QUESTION)
    before = engine.steps
    with paused(engine, until=16):
        answers = llm.batch([QUESTION] * 16, [configured(user) for user in users])
    assert engine.steps - before == 11, "answers of 12 tokens, the first of them from the prefill"
    alone = {user: llm.invoke(QUESTION, user_id=user).text for user in set(users)}
    assert [answer.text for answer in answers] == [alone[user] for user in users]


def test_batch_respects_a_limit(llm):
    assert len(llm.batch([QUESTION] * 3, {"max_concurrency": 1})) == 3
    assert llm.batch([]) == []
    assert sorted(index for index, _ in llm.batch_as_completed([QUESTION] * 3)) == [0, 1, 2]


async def test_the_event_loop_never_stalls(llm):
    long = llm.model_copy(update={"max_tokens": 200})
    async with Heartbeat() as heartbeat:
        await asyncio.gather(*(long.ainvoke(QUESTION, user_id="ada") for _ in range(4)))
    assert len(heartbeat.late) > 5
    assert sorted(heartbeat.busy)[-2] < 0.05, heartbeat.busy
    # By the clock only on the whole: on a busy machine the thread may have to wait for its turn.
    assert sorted(heartbeat.late)[len(heartbeat.late) // 2] < 0.05, heartbeat.late


async def test_cancelling_ainvoke_frees_the_row(llm, folders):
    engine = shared_pair(folders[0], folders[1], embedder=HashEmbedder()).engine
    endless = llm.model_copy(update={"max_tokens": 480})
    task = asyncio.create_task(endless.ainvoke(QUESTION, user_id="ada"))
    await auntil(lambda: engine.running)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await auntil(lambda: not engine.running)


async def test_leaving_a_stream_frees_the_row(llm, folders):
    engine = shared_pair(folders[0], folders[1], embedder=HashEmbedder()).engine
    endless = llm.model_copy(update={"max_tokens": 480})
    stream = endless.astream(QUESTION)
    assert isinstance(await anext(stream), AIMessageChunk)
    await stream.aclose()
    of_a_chain = (endless | StrOutputParser()).astream(QUESTION)
    assert await anext(of_a_chain)
    await of_a_chain.aclose()
    sync_stream = endless.stream(QUESTION)
    next(sync_stream)
    sync_stream.close()
    await auntil(lambda: not engine.running)


def test_copies_and_new_instances_share_one_engine(llm, settings):
    assert engine_behind(llm.model_copy(update={"user_id": "bob"})) is engine_behind(llm)
    assert engine_behind(ChatPAD(**settings)) is engine_behind(llm)
    without_embedder = ChatPAD(**{**settings, "embedder": None})
    assert engine_behind(without_embedder) is engine_behind(llm)


def test_a_memory_with_another_embedder_is_refused(settings):
    with PreferenceMemory(embedder=HashEmbedder(8)) as memory:
        llm = ChatPAD(**{**settings, "embedder": None}, memory=memory)
        with pytest.raises(IncompatibleModelError, match=r"embeddings of 'hash-16', but the embedder is 'hash-8'"):
            llm.invoke(QUESTION, user_id="ada")


# ---- the cache


def test_the_cache_is_kept_apart_by_user_and_outdated_by_feedback(settings, expected):
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        memory.record("ada", Statement(WISHES["ada"]))
        memory.record("bob", Statement(WISHES["bob"]))
        llm = ChatPAD(**settings, memory=memory, cache=InMemoryCache())
        first = llm.invoke(QUESTION, configured("ada"))
        assert first.text == expected["ada"]
        assert llm.invoke(QUESTION, configured("bob")).text == expected["bob"]
        assert llm.invoke(QUESTION).text == expected[None]
        again = llm.invoke(QUESTION, user_id="ada")
        same_id = [answer.response_metadata["pad"]["response_id"] for answer in (first, again)]
        assert same_id[0] == same_id[1], "the second answer comes from the cache"
        memory.record("ada", Statement(WISHES["bob"]))
        after = llm.invoke(QUESTION, user_id="ada")
        assert after.response_metadata["pad"]["response_id"] != same_id[0]
        assert llm.invoke(QUESTION, user_id="ada", beta=0.0).text == expected[None]


# ---- bad input


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("temperature", -1.0, "temperature has to be"),
        ("beta", math.nan, "beta has to be a finite number"),
        ("alpha", 1.5, r"alpha has to be a number in \[0, 1\]"),
        ("top_k", 0, "top_k has to be an integer of at least 1"),
        ("top_p", 0.0, r"top_p has to be a number in \(0, 1\]"),
        ("max_tokens", 0, "max_tokens has to be an integer of at least 1"),
        ("stop", [""], "stop has to be"),
    ],
)
def test_bad_settings_are_refused_in_the_constructor_and_in_a_call(llm, field, value, message):
    with pytest.raises(ValidationError, match=message):
        ChatPAD(**{field: value})
    with pytest.raises(InvalidRequestError, match=message):
        llm.invoke(QUESTION, **{field: value})


def test_other_bad_calls(llm):
    with pytest.raises(InvalidRequestError, match=r"unknown keywords \['max_new_tokens'\]. Allowed"):
        llm.invoke(QUESTION, max_new_tokens=3)
    with pytest.raises(InvalidRequestError, match="list of messages is empty"):
        llm.invoke([])
    with pytest.raises(
        InvalidRequestError, match=r"top_k has to be from 1 to the vocabulary's \d+ tokens, but is 100000"
    ):
        llm.invoke(QUESTION, top_k=100_000)
    with pytest.raises(ContextLengthError, match=r"has \d+ tokens, but the model's context is 512"):
        llm.invoke("word " * 2000)
    with pytest.raises(ModelLoadError, match="/no/such/model"):
        ChatPAD(model="/no/such/model").invoke(QUESTION)


async def test_errors_reach_async_callers(llm):
    with pytest.raises(ContextLengthError):
        await llm.ainvoke("word " * 2000)


def test_constructor_tolerates_what_apps_pass():
    llm = ChatPAD(api_key="secret", timeout=3, max_retries=2, streaming=True, model_name="x")
    assert llm.model_name == "x"
    assert "secret" not in repr(llm)


def test_profile_and_identity(llm, folders):
    assert llm.profile["max_input_tokens"] == 512
    assert llm.profile["image_inputs"] is False
    seen = {}

    class Watch(BaseCallbackHandler):
        def on_chat_model_start(self, serialized, messages, *, metadata, invocation_params, **kwargs):
            seen.update(metadata, **invocation_params)

    llm.invoke(QUESTION, {"callbacks": [Watch()]}, temperature=0.3, max_tokens=1)
    assert (seen["ls_provider"], seen["ls_model_name"], seen["ls_temperature"]) == ("pad", folders[0], 0.3)
    assert seen["_type"] == "pad"
    assert llm.metadata["lc_versions"]["pad-langchain"] == "0.1.0"
    assert llm.get_num_tokens("hello") == len(llm.get_token_ids("hello")) > 0
