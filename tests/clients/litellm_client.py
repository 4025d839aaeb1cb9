"""litellm, over both of OpenAI's APIs."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else its import asks for a list of prices

import litellm
from pydantic import BaseModel

from asked import CITIES, FUNCTION, LONG, MESSAGES, OFTEN, QUESTION, SHORT, TOOL
from served_elsewhere import Server


class City(BaseModel):
    city: str


@pytest.fixture
def place(server: Server) -> dict[str, Any]:
    return _place(server, "ada")


def _place(server: Server, who: str) -> dict[str, Any]:
    return {"model": "openai/pad-demo", "api_base": server.v1, "api_key": server.keys[who], "max_retries": 0}


def test_chat_and_usage(place: dict[str, Any], whole: dict[str, Any], said: str) -> None:
    found: Any = litellm.completion(messages=MESSAGES, **place)
    assert found.choices[0].message.content == said
    assert found.choices[0].finish_reason == "stop"
    assert found.usage.total_tokens == whole["usage"]["total_tokens"]


def test_stream(place: dict[str, Any], whole: dict[str, Any], said: str) -> None:
    chunks: Any = list(
        litellm.completion(messages=MESSAGES, stream=True, stream_options={"include_usage": True}, **place)
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == said
    assert chunks[-1].usage.total_tokens == whole["usage"]["total_tokens"]


def test_tools(place: dict[str, Any]) -> None:
    found: Any = litellm.completion(messages=MESSAGES, tools=[TOOL], tool_choice="required", **place)
    (call,) = found.choices[0].message.tool_calls
    assert (call.function.name, found.choices[0].finish_reason) == ("weather", "tool_calls")
    assert json.loads(call.function.arguments)["city"] in CITIES
    history = [*MESSAGES, found.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    again: Any = litellm.completion(messages=history, tools=[TOOL], tool_choice="none", max_tokens=SHORT, **place)
    assert again.choices[0].message.content


def test_structured_output(place: dict[str, Any]) -> None:
    found: Any = litellm.completion(messages=MESSAGES, response_format=City, **place)
    City.model_validate_json(found.choices[0].message.content)


def test_response_and_its_stream(place: dict[str, Any], said: str) -> None:
    found: Any = litellm.responses(input=QUESTION, **place)
    assert found.output[0].content[0].text == said
    events: Any = list(litellm.responses(input=QUESTION, stream=True, **place))
    assert "".join(each.delta for each in events if each.type == "response.output_text.delta") == said
    assert events[-1].type == "response.completed"


def test_response_calls_tools(place: dict[str, Any]) -> None:
    tool: Any = {"type": "function", **FUNCTION}
    found: Any = litellm.responses(input=QUESTION, tools=[tool], tool_choice="required", **place)
    (call,) = found.output
    assert json.loads(call.arguments)["city"] in CITIES


def test_errors(server: Server, place: dict[str, Any]) -> None:
    with pytest.raises(litellm.NotFoundError, match="no model 'gpt-5'"):
        litellm.completion(messages=MESSAGES, **{**place, "model": "openai/gpt-5"})
    with pytest.raises(litellm.BadRequestError, match="n has to be 1"):
        litellm.completion(messages=MESSAGES, n=2, **place)
    with pytest.raises(litellm.BadRequestError, match="context is"):
        litellm.completion(messages=[{"role": "user", "content": "lion " * 5_000}], **place)
    with pytest.raises(litellm.AuthenticationError, match="missing, unknown or revoked"):
        litellm.completion(messages=MESSAGES, **{**place, "api_key": "pad-x"})


def test_who_leaves_a_stream_frees_its_row(server: Server, place: dict[str, Any]) -> None:
    def begin() -> Any:
        stream: Any = litellm.completion(
            messages=MESSAGES, response_format=LONG, max_tokens=2_000, stream=True, **place
        )
        next(stream)
        return stream.completion_stream.close

    server.frees_the_row(begin)


def test_a_full_queue_is_tried_again(server: Server) -> None:
    patient = {**_place(server, "dan"), "max_retries": OFTEN, "max_tokens": SHORT}

    def ask() -> Any:
        found: Any = litellm.completion(messages=MESSAGES, **patient)
        return found.choices[0].message.content

    server.all_get_through(ask)


def test_an_answers_id_names_it_in_feedback(server: Server) -> None:
    found: Any = litellm.completion(messages=MESSAGES, max_tokens=SHORT, **_place(server, "cleo"))
    thumb = {"kind": "thumb", "response_id": found.id, "up": True}
    assert json.loads(server.call("/v1/feedback", thumb, "cleo"))["object"] == "feedback"
