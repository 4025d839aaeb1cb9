"""The user id through everything LangChain and LangGraph put between an app and `ChatPAD`, on a tiny random pair."""

from __future__ import annotations

import asyncio
import warnings
from dataclasses import dataclass

import pytest
from langchain_core._api import LangChainBetaWarning
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableBranch, RunnableLambda, RunnableParallel, RunnablePassthrough
from langgraph.checkpoint.memory import MemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import Send

from fakes import QUESTION, WISHES
from pad_memory import Critique, Thumb
from pad_memory.errors import UnknownResponseError

USERS = ["ada", "bob", None, "bob", "ada"]


@pytest.fixture
def broken(llm):
    return llm.model_copy(update={"model_name": "/no/such/model"})


def configured(user):
    return {"configurable": {} if user is None else {"user_id": user}}


# ---- runnables


def test_batches_with_a_different_user_each(llm, expected):
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | llm | StrOutputParser()
    configs = [configured(user) for user in USERS]
    texts = [expected[user] for user in USERS]
    assert [answer.text for answer in llm.batch([QUESTION] * 5, configs)] == texts
    assert chain.batch([{"question": QUESTION}] * 5, configs) == texts
    done = dict(llm.batch_as_completed([QUESTION] * 5, configs))
    assert [done[index].text for index in range(5)] == texts


async def test_async_batches_with_a_different_user_each(llm, expected):
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | llm | StrOutputParser()
    configs = [configured(user) for user in USERS]
    texts = [expected[user] for user in USERS]
    assert [answer.text for answer in await llm.abatch([QUESTION] * 5, configs)] == texts
    assert await chain.abatch([{"question": QUESTION}] * 5, configs) == texts
    done = {index: answer.text async for index, answer in llm.abatch_as_completed([QUESTION] * 5, configs)}
    assert [done[index] for index in range(5)] == texts


async def test_chains_of_every_shape(llm, expected):
    text = llm | StrOutputParser()
    shapes = {
        "parallel": RunnableParallel(a=text, b=text) | (lambda both: both["a"] if both["a"] == both["b"] else both),
        "assign": RunnablePassthrough.assign(a=lambda state: text.invoke(state["question"])) | (lambda s: s["a"]),
        "branch": RunnableBranch((lambda _: True, text), text),
        "nested": RunnableLambda(lambda question: RunnableLambda(lambda inner: text.invoke(inner)).invoke(question)),
        "map": RunnableLambda(lambda question: [question]) | text.map() | (lambda texts: texts[0]),
        "bound": llm.bind(stop=["zzzz"]) | StrOutputParser(),
    }  # fmt: skip
    for name, chain in shapes.items():
        question = {"question": QUESTION} if name == "assign" else QUESTION
        for user in WISHES:
            assert chain.invoke(question, configured(user)) == expected[user], name
            assert await chain.ainvoke(question, configured(user)) == expected[user], name


async def test_streams_of_chains(llm, expected):
    chain = ChatPromptTemplate.from_messages([("human", "{question}")]) | llm | StrOutputParser()
    for user in WISHES:
        assert "".join(chain.stream({"question": QUESTION}, configured(user))) == expected[user]
        chunks = [chunk async for chunk in chain.astream({"question": QUESTION}, configured(user))]
        assert "".join(chunks) == expected[user]
        events = [event async for event in chain.astream_events({"question": QUESTION}, configured(user), version="v2")]
        ended = [event for event in events if event["event"] == "on_chat_model_end"]
        assert [event["data"]["output"].text for event in ended] == [expected[user]]


async def test_retries(llm, expected):
    failures = []

    def once(message):
        failures.append(message)
        if len(failures) % 2:
            raise ConnectionError("try again")
        return message

    chain = (llm | RunnableLambda(once)).with_retry(wait_exponential_jitter=False, stop_after_attempt=2)
    for user in WISHES:
        assert chain.invoke(QUESTION, configured(user)).text == expected[user]
        assert (await chain.ainvoke(QUESTION, configured(user))).text == expected[user]
    assert len(failures) == 8
    assert llm.with_retry().invoke(QUESTION, configured("ada")).text == expected["ada"]


async def test_fallbacks(llm, broken, expected):
    for chain in (broken.with_fallbacks([llm]), (broken | StrOutputParser()).with_fallbacks([llm | StrOutputParser()])):
        for user in WISHES:
            answer = chain.invoke(QUESTION, configured(user))
            assert getattr(answer, "text", answer) == expected[user]
            answer = await chain.ainvoke(QUESTION, configured(user))
            assert getattr(answer, "text", answer) == expected[user]
    by_keyword = broken.bind(user_id="bob").with_fallbacks([llm.bind(user_id="bob")])
    assert by_keyword.invoke(QUESTION).text == expected["bob"]


def test_falling_back_to_another_model_and_to_it(llm, broken, expected):
    other = GenericFakeChatModel(messages=iter([AIMessage("another model")]))
    assert broken.with_fallbacks([other]).invoke(QUESTION, configured("ada")).text == "another model"
    empty = GenericFakeChatModel(messages=iter([]))
    assert (
        empty.with_fallbacks([llm], exceptions_to_handle=(Exception,)).invoke(QUESTION, configured("ada")).text
        == (expected["ada"])
    )


# ---- graphs


def compiled(node, **options):
    graph = StateGraph(MessagesState, **options)
    graph.add_node("answer", node)
    graph.add_edge(START, "answer")
    return graph


async def test_subgraphs_and_sync_and_async_nodes(llm, expected):
    async def node(state: MessagesState) -> dict:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    inner = compiled(node).compile()
    sync_inner = compiled(lambda state: {"messages": [llm.invoke(state["messages"])]}).compile()
    called_inside = compiled(lambda state: {"messages": sync_inner.invoke(state)["messages"][-1:]}).compile()
    for user in WISHES:
        state = {"messages": [HumanMessage(QUESTION)]}
        for graph in (compiled(inner), compiled(sync_inner), compiled(compiled(inner).compile())):
            answers = await graph.compile().ainvoke(state, configured(user))
            assert answers["messages"][-1].text == expected[user]
        assert called_inside.invoke(state, configured(user))["messages"][-1].text == expected[user]


async def test_graphs_stream_each_users_tokens(llm, expected):
    graph = compiled(lambda state: {"messages": [llm.invoke(state["messages"])]}).compile()
    state = {"messages": [HumanMessage(QUESTION)]}

    async def streamed(user):
        chunks = [chunk async for chunk, _ in graph.astream(state, configured(user), stream_mode="messages")]
        assert len(chunks) > 1
        return "".join(chunk.text for chunk in chunks)

    assert await asyncio.gather(*(streamed(user) for user in USERS)) == [expected[user] for user in USERS]


async def test_stream_events_of_graphs_v2_and_v3(llm, expected):
    async def node(state: MessagesState) -> dict:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    graph = compiled(compiled(node).compile()).compile()  # a subgraph within
    sync_graph = compiled(lambda state: {"messages": [llm.invoke(state["messages"])]}).compile()
    for user in WISHES:
        state, config = {"messages": [HumanMessage(QUESTION)]}, configured(user)
        events = [event async for event in graph.astream_events(state, config, version="v2")]
        streamed = [event["data"]["chunk"].text for event in events if event["event"] == "on_chat_model_stream"]
        assert "".join(streamed) == expected[user]
        ended = [event["data"]["output"].text for event in events if event["event"] == "on_chat_model_end"]
        assert ended == [expected[user]]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LangChainBetaWarning)
            run = await graph.astream_events(state, config, version="v3")
            assert (await run.output())["messages"][-1].text == expected[user]
            assert sync_graph.stream_events(state, config, version="v3").output["messages"][-1].text == expected[user]


async def test_stream_events_of_the_model_v3_come_in_parts(llm, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LangChainBetaWarning)
        for user in USERS[:3]:
            parts = list(llm.stream_events(QUESTION, configured(user), version="v3").text)
            assert len(parts) > 1
            assert "".join(parts) == expected[user]


def test_parallel_branches_of_different_users_do_not_mix(llm, expected):
    text = llm | StrOutputParser()
    branches = RunnableParallel(
        of_the_config=text,
        bound=llm.bind(user_id="bob") | StrOutputParser(),
        inside=RunnableLambda(lambda question: text.invoke(question, configured("bob"))),
    )
    said = branches.invoke(QUESTION, configured("ada"))
    assert said == {"of_the_config": expected["ada"], "bound": expected["bob"], "inside": expected["bob"]}


def test_threads_of_a_checkpointer_do_not_mix_users(llm, expected):
    node = lambda state: {"messages": [llm.invoke(state["messages"][-1:])]}  # noqa: E731
    graph = compiled(node).compile(checkpointer=MemorySaver())
    for user in (*WISHES, *WISHES):
        config = {"configurable": {"thread_id": f"thread of {user}", "user_id": user}}
        assert graph.invoke({"messages": [HumanMessage(QUESTION)]}, config)["messages"][-1].text == expected[user]


def test_parallel_sends_and_the_functional_api(llm, expected):
    graph = StateGraph(MessagesState)
    graph.add_node("answer", lambda state: {"messages": [llm.invoke(state["messages"])]})
    graph.add_conditional_edges(START, lambda state: [Send("answer", state) for _ in range(3)], ["answer"])
    fan = graph.compile()

    @task
    def answer(question: str) -> str:
        return llm.invoke(question).text

    @entrypoint()
    def workflow(question: str) -> list[str]:
        return [future.result() for future in [answer(question) for _ in range(2)]]

    for user in WISHES:
        messages = fan.invoke({"messages": [HumanMessage(QUESTION)]}, configured(user))["messages"]
        assert [message.text for message in messages[1:]] == [expected[user]] * 3
        assert workflow.invoke(QUESTION, configured(user)) == [expected[user]] * 2


def test_a_node_may_take_the_user_from_a_typed_context(llm, expected):
    @dataclass
    class Context:
        user_id: str

    def node(state, runtime):
        return {"messages": [llm.invoke(state["messages"], user_id=runtime.context.user_id)]}

    node.__annotations__ = {"state": MessagesState, "runtime": Runtime[Context]}
    graph = compiled(node, context_schema=Context).compile()
    for user in WISHES:
        state = {"messages": [HumanMessage(QUESTION)]}
        assert graph.invoke(state, context=Context(user))["messages"][-1].text == expected[user]


# ---- the response id comes back as feedback


def test_feedback_by_response_id(llm, wished):
    answer = llm.invoke([HumanMessage("hi"), AIMessage("hello"), HumanMessage(QUESTION)], configured("ada"))
    response_id = answer.response_metadata["pad"]["response_id"]
    wished.record("ada", Thumb(response_id=response_id, up=True))
    event = wished.events("ada")[-1]
    assert (event.prompt, event.response, event.response_id) == (QUESTION, answer.text, response_id)
    with pytest.raises(UnknownResponseError):
        wished.record("bob", Thumb(response_id=response_id, up=True))


async def test_every_way_to_ask_is_logged(llm, wished):
    async def streamed():
        chunks = [chunk async for chunk in llm.astream(QUESTION, user_id="eve")]
        return sum(chunks[1:], chunks[0])

    answers = [
        llm.invoke(QUESTION, user_id="eve"),
        await llm.ainvoke(QUESTION, user_id="eve"),
        *llm.batch([QUESTION] * 2, configured("eve")),
        await streamed(),
        llm.invoke(QUESTION, user_id="eve", preference="use lists"),
    ]
    ids = [answer.response_metadata["pad"]["response_id"] for answer in answers]
    assert len(set(ids)) == len(answers)
    for answer, response_id in zip(answers, ids, strict=True):
        assert wished.responses.find("eve", response_id) == (QUESTION, answer.text)
    wished.record("eve", Critique(response_id=ids[-1], text="too long"))
    assert wished.events("eve")[-1].response == answers[-1].text


def test_answers_to_nobody_and_without_a_memory_are_not_logged(llm, wished):
    before = len(wished.responses)
    llm.invoke(QUESTION)
    llm.model_copy(update={"memory": None}).invoke(QUESTION, user_id="ada")
    assert len(wished.responses) == before
