"""`PreferenceMiddleware` in real agents on a tiny pair with random weights: who the user is, and what is learned."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypedDict

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import ModelFallbackMiddleware, ModelRetryMiddleware
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from pydantic import BaseModel

from fakes import QUESTION, WISHES
from pad_langchain import ChatPAD, InvalidRequestError
from pad_langchain.langchain.middleware import PreferenceMiddleware
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import Statement

TOLD = "Always call me Sam."


@dataclass
class Context:
    user_id: str | None = None


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    base, persrm = (str(path) for path in tiny_pair().save(tmp_path_factory.mktemp("pair")))
    return ChatPAD(model=base, reward_model=persrm, embedder=HashEmbedder(), max_tokens=10, beta=2.0)


@pytest.fixture
def agents_llm(model, wished_anew):
    return model.model_copy(update={"memory": wished_anew})


def learned(memory, user):
    return [event.text for event in memory.events(user) if event.source == "conversation"]


def ask(agent, text=QUESTION, **run):
    messages = text if isinstance(text, list) else [HumanMessage(text)]
    return agent.invoke({"messages": messages}, **run)["messages"][-1]


def hear(middleware, messages):
    """What an agent does with the middleware before it answers ada."""
    middleware.before_agent({"messages": messages}, Runtime(context=Context("ada")))


def pad_of(answer):
    return answer.response_metadata["pad"]


def user_of(answer):
    return pad_of(answer)["user"]


# ---- the user id


class Model(BaseModel):
    user_id: str


class Typed(TypedDict):
    user_id: str


@pytest.mark.parametrize(("schema", "make"), [(Context, Context), (Model, Model), (Typed, Typed)])
def test_a_typed_context_names_the_user(agents_llm, schema, make):
    agent = create_agent(agents_llm, [], middleware=[PreferenceMiddleware()], context_schema=schema)
    for user in WISHES:
        expected = agents_llm.invoke(QUESTION, user_id=user).text
        context = {"user_id": user} if schema is Model else make(user_id=user)
        answer = ask(agent, context=context)
        assert (user_of(answer), answer.text) == (user, expected)
        answer = asyncio.run(agent.ainvoke({"messages": [HumanMessage(QUESTION)]}, context=context))["messages"][-1]
        assert (user_of(answer), answer.text) == (user, expected)


def test_context_beats_the_config_and_nobody_is_nobody(agents_llm):
    agent = create_agent(agents_llm, [], middleware=[PreferenceMiddleware()], context_schema=Context)
    config = {"configurable": {"user_id": "bob"}}
    assert user_of(ask(agent, config=config, context=Context("ada"))) == "ada"
    assert user_of(ask(agent, config=config, context=Context())) == "bob"
    assert user_of(ask(agent, config=config)) == "bob"
    assert user_of(ask(agent, context=Context())) is None


def test_an_agent_without_the_middleware_takes_the_config(agents_llm):
    agent = create_agent(agents_llm, [], system_prompt="You are kind.")
    assert user_of(ask(agent, config={"configurable": {"user_id": "ada"}})) == "ada"
    assert user_of(ask(agent)) is None


def test_another_field(agents_llm):
    @dataclass
    class Account:
        account: str

    agent = create_agent(
        agents_llm, [], middleware=[PreferenceMiddleware(user_field="account")], context_schema=Account
    )
    assert user_of(ask(agent, context=Account("ada"))) == "ada"
    wrong = create_agent(agents_llm, [], middleware=[PreferenceMiddleware()], context_schema=Account)
    with pytest.raises(InvalidRequestError, match=r"The context Account has no 'user_id'.*user_field=…"):
        ask(wrong, context=Account("ada"))


async def test_many_users_at_once(agents_llm):
    agent = create_agent(agents_llm, [], middleware=[PreferenceMiddleware()], context_schema=Context)
    users = ["ada", "bob", None, "ada", "bob", None]
    states = await asyncio.gather(
        *(agent.ainvoke({"messages": [HumanMessage(QUESTION)]}, context=Context(user)) for user in users)
    )
    texts = {user: agents_llm.invoke(QUESTION, user_id=user).text for user in set(users)}
    assert [user_of(state["messages"][-1]) for state in states] == users
    assert [state["messages"][-1].text for state in states] == [texts[user] for user in users]


def test_other_models_are_called_as_they_are(agents_llm):
    class Strict(GenericFakeChatModel):
        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            assert not kwargs, "another model knows no user_id"
            return super()._generate(messages, stop, run_manager, **kwargs)

    other = Strict(messages=iter([AIMessage("from the other model")]))
    broken = agents_llm.model_copy(update={"model_name": "/no/such/model"})
    middleware = [ModelFallbackMiddleware(other), PreferenceMiddleware()]
    agent = create_agent(broken, [], middleware=middleware, context_schema=Context)
    assert ask(agent, context=Context("ada")).text == "from the other model"


def test_fallbacks_and_retries_keep_the_user(agents_llm):
    broken = agents_llm.model_copy(update={"model_name": "/no/such/model"})
    middleware = [
        ModelFallbackMiddleware(agents_llm),
        ModelRetryMiddleware(max_retries=1, initial_delay=0.0, on_failure="error"),
        PreferenceMiddleware(),
    ]
    agent = create_agent(broken, [], middleware=middleware, context_schema=Context)
    assert user_of(ask(agent, context=Context("ada"))) == "ada"


def test_an_agent_as_a_subgraph(agents_llm):
    agent = create_agent(agents_llm, [], middleware=[PreferenceMiddleware()], context_schema=Context)
    graph = StateGraph(MessagesState, context_schema=Context)
    graph.add_node("agent", agent)
    graph.add_edge(START, "agent")
    assert user_of(ask(graph.compile(), context=Context("bob"))) == "bob"


# ---- learning


@pytest.fixture
def agent(agents_llm, wished_anew):
    return create_agent(
        agents_llm,
        [],
        system_prompt="Never use emojis in your answers.",
        middleware=[PreferenceMiddleware(wished_anew, learn=True)],
        context_schema=Context,
        checkpointer=MemorySaver(),
    )


def run(user="ada", thread="t1"):
    return {"context": Context(user), "config": {"configurable": {"thread_id": thread}}}


def test_an_explicit_statement_is_learned_and_steers_at_once(agent, wished_anew):
    answer = ask(agent, f"{TOLD} {QUESTION}", **run())
    assert learned(wished_anew, "ada") == [TOLD]
    assert learned(wished_anew, "bob") == []
    (event,) = (event for event in wished_anew.events("ada") if event.source == "conversation")
    assert (event.kind, event.thread) == ("statement", "t1")
    assert TOLD in [wish["text"] for wish in answer.response_metadata["pad"]["condition"]]


def test_a_wish_for_this_conversation_steers_in_its_thread_only(agent, wished_anew):
    ask(agent, f"During this session, please keep your answers short. {QUESTION}", **run("bob", "monday"))
    assert [event.thread for event in wished_anew.events("bob") if event.source == "conversation"] == ["monday"]
    pads = {thread: pad_of(ask(agent, **run("bob", thread))) for thread in ("monday", "tuesday")}
    steered = {thread: sorted(wish["text"] for wish in pad["condition"]) for thread, pad in pads.items()}
    assert steered == {
        "monday": ["please keep your answers short", "use a formal tone"],
        "tuesday": ["use a formal tone"],
    }
    assert [pad["thread"] for pad in pads.values()] == ["monday", "tuesday"]


async def test_it_is_learned_in_async_runs_too(agent, wished_anew):
    await agent.ainvoke({"messages": [HumanMessage(TOLD)]}, **run())
    assert learned(wished_anew, "ada") == [TOLD]


def test_learning_is_opt_in_and_needs_a_memory(agents_llm, wished_anew):
    agent = create_agent(agents_llm, [], middleware=[PreferenceMiddleware(wished_anew)], context_schema=Context)
    ask(agent, TOLD, context=Context("ada"))
    assert learned(wished_anew, "ada") == []
    with pytest.raises(InvalidRequestError, match="learn=True needs a memory"):
        PreferenceMiddleware(learn=True)


def test_a_message_counts_once_and_history_is_not_learned_again(agent, wished_anew):
    ask(agent, TOLD, **run())
    for _ in range(3):
        ask(agent, QUESTION, **run())
    assert learned(wished_anew, "ada") == [TOLD]
    again = HumanMessage("Always write to me in German.", id="m1")
    for _ in range(2):  # as a client does that sends it again
        ask(agent, [again], **run(thread="t2"))
    assert learned(wished_anew, "ada") == [TOLD, "Always write to me in German."]


def test_a_history_sent_whole_each_time_is_not_learned_again(agents_llm, wished_anew):
    agent = create_agent(
        agents_llm, [], middleware=[PreferenceMiddleware(wished_anew, learn=True)], context_schema=Context
    )
    history = [HumanMessage(TOLD)]
    for _ in range(3):
        answer = ask(agent, list(history), context=Context("ada"))
        history += [answer, HumanMessage(QUESTION)]
    assert learned(wished_anew, "ada") == [TOLD]


@pytest.mark.parametrize(
    "messages",
    [
        [AIMessage(TOLD), HumanMessage("thanks")],
        [AIMessage(TOLD), HumanMessage(TOLD)],
        [SystemMessage(f"What we know: {TOLD}"), HumanMessage(TOLD)],
        [
            HumanMessage("look it up"),
            AIMessage("", tool_calls=[{"name": "find", "args": {}, "id": "1"}]),
            ToolMessage(f"From a page: {TOLD}", tool_call_id="1"),
            HumanMessage(TOLD),
        ],
        [HumanMessage(f"Here is a summary: {TOLD}", additional_kwargs={"lc_source": "summarization"})],
        [HumanMessage(TOLD, additional_kwargs={"lc_source": "summarization"}), HumanMessage(TOLD)],
        [HumanMessage(TOLD, name="researcher")],
        [HumanMessage(f"<context>\n{TOLD}\n</context>\nwhat is it?")],
        [HumanMessage(f"User preferences:\n- {TOLD}\n\nwhat is it?")],
    ],
    ids=["assistant", "repeated", "system", "tool", "summary", "of summary", "other agent", "context", "injected"],
)
def test_recalled_text_is_never_learned(agents_llm, wished_anew, messages):
    hear(PreferenceMiddleware(wished_anew, learn=True), messages)
    assert learned(wished_anew, "ada") == []


def test_what_it_learned_and_the_model_repeats_is_not_learned_again(agents_llm, wished_anew):
    """The loop that mem0 runs into: a recalled preference comes back as if the user had said it."""
    wished_anew.record("ada", Statement("call me Sam"))
    recalled = "; ".join(item.text for item in wished_anew.condition("ada"))
    messages = [
        HumanMessage("hi"),
        AIMessage(f"I remember: {recalled}. Please always call me Sam."),
        HumanMessage(TOLD),
    ]
    middleware = PreferenceMiddleware(wished_anew, learn=True)
    before = wished_anew.export("ada")["events"]
    hear(middleware, messages)
    assert wished_anew.export("ada")["events"] == before


def test_a_message_in_the_users_name_is_theirs(wished_anew):
    hear(PreferenceMiddleware(wished_anew, learn=True), [HumanMessage(TOLD, name="ada")])
    assert learned(wished_anew, "ada") == [TOLD]


def test_nothing_is_learned_about_nobody(agents_llm, wished_anew):
    agent = create_agent(
        agents_llm, [], middleware=[PreferenceMiddleware(wished_anew, learn=True)], context_schema=Context
    )
    ask(agent, TOLD, context=Context())
    assert wished_anew.users() == sorted(WISHES)
    assert [learned(wished_anew, user) for user in WISHES] == [[], []]
