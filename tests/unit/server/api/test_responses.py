"""`POST /v1/responses` on a tiny pair: what OpenAI's own client and types make of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from pad_langchain.chat import CallOptions
from pad_langchain.errors import EngineMemoryError
from served_app import Served
from waiting import auntil

QUESTION = "what is an element?"
ASKED = [{"role": "user", "content": QUESTION}]
WISH = "be concise and brief"
PATH = "/v1/responses"
LOGPROBS = "message.output_text.logprobs"
CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
TOOL: Any = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


class City(BaseModel):
    city: str


async def ask(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """The response, which is one of OpenAI's."""
    answer = await client.post(PATH, json={"model": "pad-demo", "input": QUESTION, **fields})
    assert answer.status_code == 200, answer.text
    Response.model_validate(answer.json(), strict=True)
    found: dict[str, Any] = answer.json()
    return found


async def stream(client: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    """The events of a stream; each is one of OpenAI's, under its name."""
    answer = await client.post(PATH, json={"model": "pad-demo", "input": QUESTION, "stream": True, **fields})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *parts, rest = answer.text.split("\n\n")
    assert rest == ""
    events = []
    for part in parts:
        name, data = part.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        EVENTS.validate_python(events[-1], strict=True)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def texts(response: dict[str, Any]) -> list[str]:
    return [part["text"] for item in response["output"] if item["type"] == "message" for part in item["content"]]


async def refused(client: httpx.AsyncClient, **fields: Any) -> tuple[int, str, str | None]:
    answer = await client.post(PATH, json={"model": "pad-demo", "input": QUESTION, **fields})
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


# ---- whole and streamed


async def test_a_response_is_the_chats_answer(served: Served, ada: httpx.AsyncClient) -> None:
    found = await ask(ada)
    turn = served.chat.submit(ASKED, CallOptions(user_id=None)).result()
    assert texts(found) == [turn.text]
    assert found["id"].startswith("resp_")
    ended = ("completed", None) if turn.finish == "stop" else ("incomplete", {"reason": "max_output_tokens"})
    assert (found["status"], found["incomplete_details"]) == ended
    assert (found["usage"]["input_tokens"], found["usage"]["output_tokens"]) == (
        turn.usage.prompt_tokens,
        turn.usage.completion_tokens,
    )
    assert found["pad"] == {**turn.pad, "user": "ada", "response_id": found["id"]}


async def test_a_stream_ends_with_the_response(ada: httpx.AsyncClient) -> None:
    whole, events = await ask(ada), await stream(ada)
    said = "".join(event["delta"] for event in events if event["type"] == "response.output_text.delta")
    last = events[-1]["response"]
    assert texts(whole) == texts(last) == [said]
    assert events[-1]["type"] == f"response.{whole['status']}"
    ids = {event["response"]["id"] for event in events if "response" in event}
    assert len(ids) == 1
    assert last["pad"] == {**whole["pad"], "response_id": last["id"]}
    assert last["usage"] == whole["usage"]


async def test_logprobs_are_those_of_the_chat_api(ada: httpx.AsyncClient) -> None:
    steered = {"top_logprobs": 2, "pad": {"preference": WISH, "beta": 2.0}}
    whole = await ask(ada, include=[LOGPROBS], **steered)
    events = await stream(ada, include=[LOGPROBS], **steered)
    chat = await ada.post(
        "/v1/chat/completions", json={"model": "pad-demo", "messages": ASKED, "logprobs": True, **steered}
    )
    (message,) = whole["output"]
    entries = message["content"][0]["logprobs"]
    expected = chat.json()["choices"][0]["logprobs"]["content"]
    assert [entry["reward"] for entry in entries] == [entry["reward"] for entry in expected]
    assert [entry["token"] for entry in entries] == [entry["token"] for entry in expected]
    assert any(entry["reward"] for entry in entries)
    deltas = [event for event in events if event["type"] == "response.output_text.delta"]
    assert [entry for event in deltas for entry in event["logprobs"]] == entries


# ---- what is asked for


async def test_a_tool_is_called_and_its_result_is_read(ada: httpx.AsyncClient) -> None:
    fields = {"tools": [TOOL], "tool_choice": "required", "max_output_tokens": 60}
    found, events = await ask(ada, **fields), await stream(ada, **fields)
    (call,) = found["output"]
    assert (found["status"], call["type"], call["name"]) == ("completed", "function_call", "weather")
    assert json.loads(call["arguments"])["city"] in ("Rome", "Oslo")
    (streamed,) = events[-1]["response"]["output"]
    assert streamed["arguments"] == call["arguments"]
    pieces = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert "".join(pieces) == call["arguments"]
    back = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    again = await ask(ada, input=[*ASKED, call, back], tools=[TOOL], tool_choice="none")
    assert texts(again) != []


async def test_forms_of_answers(ada: httpx.AsyncClient) -> None:
    form = {"format": {"type": "json_schema", "name": "city", "schema": CITY}}
    found = await ask(ada, text=form, max_output_tokens=60)
    assert json.loads(texts(found)[0])["city"] in ("Rome", "Oslo")
    assert found["text"]["format"] == form["format"]
    assert texts(await ask(ada, text={"format": {"type": "json_object"}}))[0].startswith("{")


async def test_the_sdk_reads_it(sdk: openai.AsyncOpenAI, ada: httpx.AsyncClient) -> None:
    expected = await ask(ada, max_output_tokens=400)
    assert expected["status"] == "completed"
    said = await sdk.responses.create(model="pad-demo", input=QUESTION, max_output_tokens=400)
    assert said.output_text == texts(expected)[0]
    async with sdk.responses.stream(model="pad-demo", input=QUESTION, max_output_tokens=400) as streamed:
        kinds = [event.type async for event in streamed]
        final = await streamed.get_final_response()
    assert final.output_text == said.output_text
    assert kinds[0] == "response.created"
    parsed = await sdk.responses.parse(model="pad-demo", input=QUESTION, text_format=City, max_output_tokens=400)
    assert isinstance(parsed.output_parsed, City)


async def test_feedback_by_the_responses_id(bob: httpx.AsyncClient) -> None:
    assert (await bob.post("/v1/feedback", json={"kind": "statement", "text": WISH})).status_code == 201
    found = await ask(bob)
    assert [one["text"] for one in found["pad"]["condition"]] == [WISH]
    thumb = {"kind": "thumb", "response_id": found["id"], "up": True}
    assert (await bob.post("/v1/feedback", json=thumb)).status_code == 201
    private = await ask(bob, pad={"private": True})
    assert private["pad"]["condition"] == []
    thumb = {"kind": "thumb", "response_id": private["id"], "up": True}
    assert (await bob.post("/v1/feedback", json=thumb)).status_code == 404
    await bob.delete("/v1/me")


# ---- what is refused


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "gpt-5"}, (404, "model_not_found", "model")),
        ({"store": True}, (400, "unsupported_value", "store")),
        ({"user": "bob"}, (403, "user_mismatch", "user")),
        ({"input": "x" * 3_000}, (400, "context_length_exceeded", "input")),
        ({"tools": [TOOL, TOOL]}, (400, "invalid_value", None)),
        ({"tools": [{"type": "web_search"}]}, (400, "unsupported_value", "tools.0.type")),
        ({"temperature": 9}, (400, "invalid_value", "temperature")),
        ({"input": [{"type": "function_call_output", "call_id": "x", "output": "y"}]}, (400, "invalid_value", None)),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_request_that_cannot_be_answered_has_a_status_of_its_own(
    ada: httpx.AsyncClient, fields: dict[str, Any], expected: Any, streamed: bool
) -> None:
    assert await refused(ada, **fields, stream=streamed) == expected


async def test_an_error_after_the_beginning_is_the_last_event(
    served: Served, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = served.chat.submit

    class Failing:
        def __init__(self, turn: Any) -> None:
            self.turn, self.when_begun = turn, turn.when_begun

        async def __aiter__(self) -> AsyncIterator[Any]:
            async for delta in self.turn:
                yield delta
                raise EngineMemoryError("at /secret/place")

    monkeypatch.setattr(served.chat, "submit", lambda *said, **more: Failing(submit(*said, **more)))
    events = await stream(ada)
    last = events[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert last["response"]["error"]["message"].startswith("Memory ran out")
    assert "secret" not in json.dumps(events)
    whole = await ada.post(PATH, json={"model": "pad-demo", "input": QUESTION})
    assert (whole.status_code, whole.json()["error"]["code"]) == (503, "out_of_memory")
    await auntil(lambda: served.chat.engine.running == 0)
    assert served.app.state.service.requests == 0
