"""LangChain's ChatOpenAI over both of OpenAI's APIs, and agents over it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import openai
import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from asked import CITIES, CITY, LONG, OFTEN, QUESTION, SHORT, TOOL
from served_elsewhere import Server


class City(BaseModel):
    """A city."""

    city: str


@pytest.fixture(params=[False, True], ids=["chat", "responses"])
def responses(request: pytest.FixtureRequest) -> bool:
    """Whether the Responses API is used."""
    return bool(request.param)


@pytest.fixture
def llm(server: Server, responses: bool) -> ChatOpenAI:
    return _llm(server, responses)


def _place(server: Server, who: str = "ada") -> dict[str, Any]:
    return {"model": "pad-demo", "base_url": server.v1, "api_key": server.keys[who], "max_retries": 0}


def _llm(server: Server, responses: bool, who: str = "ada", **more: Any) -> ChatOpenAI:
    return ChatOpenAI(**{**_place(server, who), **more}, use_responses_api=responses, stream_usage=True)


def test_chat_and_usage(llm: ChatOpenAI, responses: bool, whole: dict[str, Any], said: str) -> None:
    found = llm.invoke(QUESTION)
    assert found.text == said
    assert found.response_metadata["id"].startswith("resp_" if responses else "chatcmpl-")
    assert found.usage_metadata is not None
    assert found.usage_metadata["input_tokens"] == whole["usage"]["prompt_tokens"]
    assert found.usage_metadata["output_tokens"] == whole["usage"]["completion_tokens"]


def test_stream(llm: ChatOpenAI, whole: dict[str, Any], said: str) -> None:
    chunks = list(llm.stream(QUESTION))
    assert "".join(chunk.text for chunk in chunks) == said
    joined = chunks[0]
    for chunk in chunks[1:]:
        joined += chunk
    assert joined.text == said
    assert joined.usage_metadata is not None
    assert joined.usage_metadata["total_tokens"] == whole["usage"]["total_tokens"]


def test_streams_of_an_event_loop(server: Server, said: str) -> None:
    async def streamed(llm: ChatOpenAI) -> str:
        return "".join([chunk.text async for chunk in llm.astream(QUESTION)])

    async def both() -> list[str]:  # in one loop: ChatOpenAI shares its connections among its instances
        return await asyncio.gather(*(streamed(_llm(server, responses)) for responses in (False, True)))

    assert asyncio.run(both()) == [said, said]


def test_a_conversation_goes_on_with_what_the_client_kept(llm: ChatOpenAI) -> None:
    first = llm.invoke(QUESTION)
    asked = [HumanMessage(QUESTION), first, HumanMessage("And what does it eat?")]
    assert llm.bind(max_tokens=SHORT).invoke(asked).text


def test_tools(llm: ChatOpenAI) -> None:
    bound = llm.bind_tools([TOOL], tool_choice="required")
    found = bound.invoke(QUESTION)
    (call,) = found.tool_calls
    assert call["name"] == "weather"
    assert call["args"]["city"] in CITIES
    joined: Any = None
    for chunk in bound.stream(QUESTION):
        joined = chunk if joined is None else joined + chunk
    assert [each["args"] for each in joined.tool_calls] == [call["args"]]
    named = llm.bind_tools([TOOL], tool_choice="weather").invoke(QUESTION)
    assert named.tool_calls[0]["args"]["city"] in CITIES


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(llm: ChatOpenAI, method: Any) -> None:
    assert isinstance(llm.with_structured_output(City, method=method).invoke(QUESTION), City)
    found: Any = llm.with_structured_output(CITY, method=method).invoke(QUESTION)
    assert found["city"] in CITIES


def test_json_mode(llm: ChatOpenAI) -> None:
    found = llm.bind(response_format={"type": "json_object"}).invoke(f"{QUESTION} Answer in JSON.")
    assert isinstance(json.loads(found.text), dict)


def test_an_agent_calls_its_tools(server: Server, responses: bool) -> None:
    asked = []

    @tool
    def weather(city: str) -> str:
        """Tell the weather of a city."""
        asked.append(city)
        return f"It is sunny in {city}."

    class Once(ChatOpenAI):
        """A small model seldom calls by itself: here it has to, until it has."""

        def bind_tools(self, tools: Any, **more: Any) -> Any:
            return super().bind_tools(tools, **{**more, "tool_choice": "none" if asked else "required"})

    once = Once(**_place(server), use_responses_api=responses, max_tokens=60)
    done = create_agent(once, [weather]).invoke({"messages": [("human", "What is the weather in Rome?")]})
    kinds = [message.type for message in done["messages"]]
    assert kinds == ["human", "ai", "tool", "ai"]
    assert len(asked) == 1
    assert isinstance(done["messages"][-1], AIMessage)
    assert done["messages"][-1].text


def test_an_agent_streams_and_answers_in_a_schema(llm: ChatOpenAI) -> None:
    agent = create_agent(llm, [], response_format=City)
    *_, last = agent.stream({"messages": [("human", QUESTION)]}, stream_mode="values")
    assert isinstance(last["structured_response"], City)


def test_errors(server: Server, llm: ChatOpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5'"):
        llm.bind(model="gpt-5").invoke(QUESTION)
    with pytest.raises(openai.BadRequestError, match="context is"):
        llm.invoke("lion " * 5_000)
    with pytest.raises(openai.AuthenticationError, match="missing, unknown or revoked"):
        ChatOpenAI(**{**_place(server), "api_key": "pad-x"}).invoke(QUESTION)


def test_what_is_not_kept_is_refused_by_name(server: Server) -> None:
    with pytest.raises(openai.BadRequestError, match="store is not supported"):
        _llm(server, True, store=True).invoke(QUESTION)
    with pytest.raises(openai.BadRequestError, match="reasoning has to be"):
        _llm(server, True, reasoning={"effort": "low"}).invoke(QUESTION)


def test_store_false_and_the_older_output_version_pass(server: Server, said: str) -> None:
    llm = _llm(server, True, store=False, output_version="v0")
    first = llm.invoke(QUESTION)
    assert first.text == said
    asked = [HumanMessage(QUESTION), first, HumanMessage("And what does it eat?")]
    assert llm.bind(max_tokens=SHORT).invoke(asked).text


def test_logprobs_and_rewards(server: Server) -> None:
    steered = {"extra_body": {"pad": {"preference": "be concise and brief", "beta": 2.0}}}
    found = _llm(server, False, logprobs=True, **steered).invoke(QUESTION)
    assert any(entry["reward"] for entry in found.response_metadata["logprobs"]["content"])


def test_who_leaves_a_stream_frees_its_row(server: Server, llm: ChatOpenAI) -> None:
    def begin() -> Any:
        stream: Any = llm.bind(response_format=LONG, max_tokens=2_000).stream(QUESTION)
        next(stream)
        return stream.close

    server.frees_the_row(begin)


def test_a_full_queue_is_tried_again(server: Server, responses: bool) -> None:
    patient = _llm(server, responses, "dan", max_retries=OFTEN, max_tokens=SHORT)
    server.all_get_through(lambda: patient.invoke(QUESTION).text)


def test_a_messages_id_names_it_in_feedback(server: Server, responses: bool) -> None:
    found = _llm(server, responses, "cleo", max_tokens=SHORT).invoke(QUESTION)
    thumb = {"kind": "thumb", "response_id": found.response_metadata["id"], "up": True}
    assert json.loads(server.call("/v1/feedback", thumb, "cleo"))["object"] == "feedback"


def test_the_snippets_of_the_docs_run(server: Server, tmp_path: Path) -> None:
    assert server.run_snippets("langchain_openai", tmp_path) > 0
