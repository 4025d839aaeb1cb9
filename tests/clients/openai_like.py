"""LlamaIndex's OpenAILike."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import openai
import pytest
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike, OpenAILikeResponses
from pydantic import BaseModel

from asked import LONG, OFTEN, QUESTION, SHORT
from served_elsewhere import Server

ASKED = [ChatMessage(role="user", content=QUESTION)]


class City(BaseModel):
    """A city."""

    city: str


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"It is sunny in {city}."


TOOL = FunctionTool.from_defaults(weather)


def _llm(server: Server, kind: Any, who: str = "ada", short: bool = False, **more: Any) -> Any:
    chat: dict[str, Any] = {"is_chat_model": True} if kind is OpenAILike else {}
    if short:
        chat["max_tokens" if kind is OpenAILike else "max_output_tokens"] = SHORT
    return kind(
        model="pad-demo",
        api_base=server.v1,
        api_key=server.keys[who],
        temperature=0.0,
        is_function_calling_model=True,
        **{"max_retries": 0, **chat, **more},
    )


@pytest.fixture(params=[OpenAILike, OpenAILikeResponses], ids=["chat", "responses"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def llm(server: Server, kind: Any) -> Any:
    return _llm(server, kind)


def test_chat_and_usage(llm: Any, kind: Any, whole: dict[str, Any], said: str) -> None:
    found = llm.chat(ASKED)
    assert found.message.content == said
    assert found.raw.usage.total_tokens == whole["usage"]["total_tokens"]
    assert str(llm.complete(QUESTION)) == said


def test_stream(llm: Any, said: str) -> None:
    assert "".join(chunk.delta or "" for chunk in llm.stream_chat(ASKED)) == said
    assert "".join(chunk.delta or "" for chunk in llm.stream_complete(QUESTION)) == said


def test_stream_of_an_event_loop(llm: Any, said: str) -> None:
    async def streamed() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_chat(ASKED)])

    assert asyncio.run(streamed()) == said


def test_tools(llm: Any) -> None:
    found = llm.chat_with_tools([TOOL], user_msg=QUESTION, tool_required=True)
    (call,) = llm.get_tool_calls_from_response(found)
    assert call.tool_name == "weather"
    assert isinstance(call.tool_kwargs["city"], str)
    result = ChatMessage(role="tool", content="sunny", additional_kwargs={"tool_call_id": call.tool_id})
    again = llm.chat([*ASKED, found.message, result])
    assert again.message.content


def test_structured_output(llm: Any) -> None:
    assert isinstance(llm.as_structured_llm(City).complete(QUESTION).raw, City)


def test_a_form_of_the_api(server: Server) -> None:
    llm = _llm(server, OpenAILike, should_use_structured_outputs=True)
    assert isinstance(llm.as_structured_llm(City).complete(QUESTION).raw, City)


def test_errors(server: Server, kind: Any) -> None:
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5'"):
        _llm(server, kind, additional_kwargs={"model": "gpt-5"}).chat(ASKED)
    llm = _llm(server, kind)
    with pytest.raises(openai.BadRequestError, match="context is"):
        llm.chat([ChatMessage(role="user", content="lion " * 5_000)])


def test_who_leaves_a_stream_frees_its_row(server: Server) -> None:
    llm = _llm(server, OpenAILike, additional_kwargs={"response_format": LONG, "max_tokens": 2_000})

    def begin() -> Any:
        stream = llm.stream_chat(ASKED)
        next(stream)

        def leave() -> None:
            stream.close()
            gc.collect()  # this client leaves the connection to Python's garbage collector

        return leave

    server.frees_the_row(begin)


def test_a_full_queue_is_tried_again(server: Server, kind: Any) -> None:
    patient = _llm(server, kind, "dan", short=True, max_retries=OFTEN)
    server.all_get_through(lambda: patient.chat(ASKED).message.content)


def test_an_answers_id_names_it_in_feedback(server: Server, kind: Any) -> None:
    found = _llm(server, kind, "cleo", short=True).chat(ASKED)
    thumb = {"kind": "thumb", "response_id": found.raw.id, "up": True}
    assert json.loads(server.call("/v1/feedback", thumb, "cleo"))["object"] == "feedback"


def test_the_snippets_of_the_docs_run(server: Server, tmp_path: Path) -> None:
    assert server.run_snippets("OpenAILike", tmp_path) > 0
