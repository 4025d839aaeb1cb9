"""OpenAI's own client, of the version that is installed: both of its APIs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from asked import CITIES, CITY, FUNCTION, LONG, MESSAGES, OFTEN, QUESTION, SCHEMA_FORM, SHORT, TOOL
from served_elsewhere import Server

RESPONSES_TOOL: Any = {"type": "function", **FUNCTION, "strict": True}
LOGPROBS: Any = ["message.output_text.logprobs"]


class City(BaseModel):
    city: str


@pytest.fixture(scope="module")
def sdk(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.v1, api_key=server.key, max_retries=0) as client:
        yield client


# ---- chat completions


def test_chat(sdk: openai.OpenAI, whole: dict[str, Any]) -> None:
    answer = sdk.chat.completions.with_raw_response.create(model="pad-demo", messages=MESSAGES)
    ChatCompletion.model_validate_json(answer.text, strict=True)
    found = answer.parse()
    assert found.choices[0].message.content == whole["choices"][0]["message"]["content"]
    assert found.choices[0].finish_reason == "stop"
    assert found.usage is not None
    assert found.usage.total_tokens == whole["usage"]["total_tokens"]
    assert [model.id for model in sdk.models.list()] == ["pad-demo"]


def test_chat_streams(sdk: openai.OpenAI, whole: dict[str, Any], said: str) -> None:
    with sdk.chat.completions.create(
        model="pad-demo", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, last = list(stream)
    for chunk in (*chunks, last):
        ChatCompletionChunk.model_validate(chunk.to_dict(mode="json"), strict=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said
    assert len(chunks) > 3
    assert last.usage is not None
    assert last.usage.total_tokens == whole["usage"]["total_tokens"]
    with sdk.chat.completions.stream(model="pad-demo", messages=MESSAGES) as events:
        assert events.get_final_completion().choices[0].message.content == said


def test_chat_calls_tools_and_reads_their_results(sdk: openai.OpenAI) -> None:
    create = sdk.chat.completions.create
    asked = create(model="pad-demo", messages=MESSAGES, tools=[TOOL], tool_choice="required").choices[0]
    assert asked.finish_reason == "tool_calls"
    (call,) = asked.message.tool_calls or ()
    assert call.type == "function"
    assert json.loads(call.function.arguments)["city"] in CITIES
    history = [*MESSAGES, asked.message, {"role": "tool", "tool_call_id": call.id, "content": "sunny"}]
    again = create(model="pad-demo", messages=history, tools=[TOOL], tool_choice="none", max_tokens=SHORT)
    assert again.choices[0].message.content
    pieces = [
        piece
        for chunk in create(model="pad-demo", messages=MESSAGES, tools=[TOOL], tool_choice="required", stream=True)
        for piece in chunk.choices[0].delta.tool_calls or ()
    ]
    arguments = "".join(piece.function.arguments or "" for piece in pieces if piece.function)
    assert arguments == call.function.arguments


def test_chat_answers_in_a_schema(sdk: openai.OpenAI) -> None:
    found = sdk.chat.completions.create(model="pad-demo", messages=MESSAGES, response_format=SCHEMA_FORM)
    assert json.loads(found.choices[0].message.content or "")["city"] in CITIES
    parsed = sdk.chat.completions.parse(model="pad-demo", messages=MESSAGES, response_format=City)
    assert isinstance(parsed.choices[0].message.parsed, City)


def test_rewards_and_what_steered_reach_the_client(sdk: openai.OpenAI) -> None:
    found = sdk.chat.completions.create(
        model="pad-demo",
        messages=MESSAGES,
        logprobs=True,
        top_logprobs=2,
        extra_body={"pad": {"preference": "be concise and brief", "beta": 2.0}},
    )
    assert found.choices[0].logprobs is not None
    entries: Any = found.choices[0].logprobs.content
    assert any(entry.reward for entry in entries)
    assert found.pad["beta"] == 2.0  # type: ignore[attr-defined]


# ---- responses


def test_response(sdk: openai.OpenAI, whole: dict[str, Any], said: str) -> None:
    answer = sdk.responses.with_raw_response.create(model="pad-demo", input=QUESTION)
    Response.model_validate_json(answer.text, strict=True)
    found = answer.parse()
    assert (found.output_text, found.status) == (said, "completed")
    assert found.usage is not None
    assert (found.usage.input_tokens, found.usage.output_tokens) == (
        whole["usage"]["prompt_tokens"],
        whole["usage"]["completion_tokens"],
    )
    short = sdk.responses.create(model="pad-demo", input=QUESTION, max_output_tokens=3)
    assert short.status == "incomplete"
    assert short.incomplete_details is not None
    assert short.incomplete_details.reason == "max_output_tokens"


def test_response_streams(sdk: openai.OpenAI, said: str) -> None:
    events: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
    with sdk.responses.create(model="pad-demo", input=QUESTION, stream=True) as stream:
        found = list(stream)
    for each in found:
        events.validate_python(each.to_dict(mode="json"), strict=True)
    assert "".join(each.delta for each in found if each.type == "response.output_text.delta") == said
    assert [each.sequence_number for each in found] == list(range(len(found)))
    with sdk.responses.stream(model="pad-demo", input=QUESTION) as streamed:
        assert streamed.get_final_response().output_text == said


def test_response_calls_tools_and_reads_its_own_output_back(sdk: openai.OpenAI) -> None:
    create = sdk.responses.create
    found = create(model="pad-demo", input=QUESTION, tools=[RESPONSES_TOOL], tool_choice="required")
    (call,) = found.output
    assert call.type == "function_call"
    assert json.loads(call.arguments)["city"] in CITIES
    history: Any = [*MESSAGES, *found.output]
    history += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    short: Any = {"max_output_tokens": SHORT}
    again = create(model="pad-demo", input=history, tools=[RESPONSES_TOOL], tool_choice="none", **short)
    assert again.output_text
    history += [*again.output, {"role": "user", "content": "And now?"}]
    assert create(model="pad-demo", input=history, store=False, **short).output_text
    with sdk.responses.stream(
        model="pad-demo", input=QUESTION, tools=[RESPONSES_TOOL], tool_choice="required"
    ) as streamed:
        final = streamed.get_final_response()
    (streamed_call,) = final.output
    assert streamed_call.type == "function_call"
    assert streamed_call.arguments == call.arguments


def test_response_answers_in_a_schema(sdk: openai.OpenAI) -> None:
    parsed = sdk.responses.parse(model="pad-demo", input=QUESTION, text_format=City)
    assert isinstance(parsed.output_parsed, City)
    form: Any = {"format": {"type": "json_schema", "name": "city", "schema": CITY}}
    found = sdk.responses.create(model="pad-demo", input=QUESTION, text=form)
    assert json.loads(found.output_text)["city"] in CITIES


def test_response_has_logprobs_with_rewards(sdk: openai.OpenAI) -> None:
    found: Any = sdk.responses.create(
        model="pad-demo",
        input=QUESTION,
        include=LOGPROBS,
        top_logprobs=2,
        extra_body={"pad": {"preference": "be concise and brief", "beta": 2.0}},
    )
    entries = found.output[0].content[0].logprobs
    assert any(entry.reward for entry in entries)
    assert max(len(entry.top_logprobs) for entry in entries) == 2
    assert found.pad["beta"] == 2.0


# ---- what goes wrong


def test_errors(server: Server, sdk: openai.OpenAI) -> None:
    chat, respond = sdk.chat.completions.create, sdk.responses.create
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5'"):
        chat(model="gpt-5", messages=MESSAGES)
    with pytest.raises(openai.BadRequestError, match="n has to be 1") as refused:
        chat(model="pad-demo", messages=MESSAGES, n=2)
    assert (refused.value.code, refused.value.param) == ("unsupported_value", "n")
    with pytest.raises(openai.BadRequestError, match="keeps no responses") as refused:
        respond(model="pad-demo", input=QUESTION, previous_response_id="resp_1")
    assert (refused.value.code, refused.value.param) == ("unsupported_value", "previous_response_id")
    with pytest.raises(openai.BadRequestError) as refused:
        respond(model="pad-demo", input="lion " * 5_000)
    assert (refused.value.code, refused.value.param) == ("context_length_exceeded", "input")
    with (
        openai.OpenAI(base_url=server.v1, api_key="pad-x", max_retries=0) as nobody,
        pytest.raises(openai.AuthenticationError, match="missing, unknown or revoked"),
    ):
        nobody.responses.create(model="pad-demo", input=QUESTION)


def test_who_leaves_a_stream_frees_its_row(server: Server, sdk: openai.OpenAI) -> None:
    def chat() -> Any:
        stream = sdk.chat.completions.create(
            model="pad-demo", messages=MESSAGES, response_format=LONG, max_tokens=2_000, stream=True
        )
        next(iter(stream))
        return stream.close

    def respond() -> Any:
        form: Any = {"format": {"type": "json_schema", **LONG["json_schema"]}}
        stream = sdk.responses.create(model="pad-demo", input=QUESTION, text=form, max_output_tokens=2_000, stream=True)
        next(iter(stream))
        return stream.close

    server.frees_the_row(chat)
    server.frees_the_row(respond)


def test_a_full_queue_is_tried_again(server: Server) -> None:
    with openai.OpenAI(base_url=server.v1, api_key=server.keys["dan"], max_retries=OFTEN) as client:
        chat, respond = client.chat.completions.create, client.responses.create
        server.all_get_through(
            lambda: chat(model="pad-demo", messages=MESSAGES, max_tokens=SHORT).choices[0].message.content
        )
        server.all_get_through(lambda: respond(model="pad-demo", input=QUESTION, max_output_tokens=SHORT).output_text)


def test_an_answers_id_names_it_in_feedback(server: Server) -> None:
    with openai.OpenAI(base_url=server.v1, api_key=server.keys["cleo"]) as client:
        ids = [
            client.chat.completions.create(model="pad-demo", messages=MESSAGES, max_tokens=SHORT).id,
            client.responses.create(model="pad-demo", input=QUESTION, max_output_tokens=SHORT).id,
        ]
    for each in ids:
        told = server.call("/v1/feedback", {"kind": "thumb", "response_id": each, "up": True}, "cleo")
        assert json.loads(told)["object"] == "feedback"


def test_the_snippets_of_the_docs_run(server: Server, tmp_path: Path) -> None:
    assert server.run_snippets("from openai import", tmp_path) > 1
