"""`POST /v1/chat/completions` on a tiny pair: what OpenAI's own client and types make of it, and who left."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from pad_langchain.chat import CallOptions
from pad_langchain.errors import EngineMemoryError
from served_app import Served, serving, tiny_chat
from waiting import auntil

QUESTION = [{"role": "user", "content": "what is an element?"}]
WISH = "be concise and brief"
PATH = "/v1/chat/completions"
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", "Oslo"]}},
            "required": ["city"],
        },
    },
}


async def ask(client: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    """The completion, which is one of OpenAI's."""
    answer = await client.post(PATH, json={"model": "pad-demo", "messages": QUESTION, **fields})
    assert answer.status_code == 200, answer.text
    ChatCompletion.model_validate(answer.json(), strict=True)
    found: dict[str, Any] = answer.json()
    return found


async def stream(client: httpx.AsyncClient, **fields: Any) -> list[dict[str, Any]]:
    """The chunks of a stream that ends well; each is one of OpenAI's."""
    body = {"model": "pad-demo", "messages": QUESTION, "stream": True, **fields}
    answer = await client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    return chunks


async def refused(client: httpx.AsyncClient, **fields: Any) -> tuple[int, str, str | None]:
    answer = await client.post(PATH, json={"model": "pad-demo", "messages": QUESTION, **fields})
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    return answer.status_code, error["code"], error["param"]


def text_of(chunks: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])


# ---- whole and streamed


async def test_a_completion_is_the_chats_answer(served: Served, ada: httpx.AsyncClient) -> None:
    found = await ask(ada)
    turn = served.chat.submit(QUESTION, CallOptions(user_id=None)).result()
    (choice,) = found["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": turn.text, "refusal": None},
        "logprobs": None,
        "finish_reason": turn.finish,
    }
    assert found["id"].startswith("chatcmpl-")
    assert (found["object"], found["model"]) == ("chat.completion", "pad-demo")
    assert found["usage"] == {
        "prompt_tokens": turn.usage.prompt_tokens,
        "completion_tokens": turn.usage.completion_tokens,
        "total_tokens": turn.usage.total_tokens,
    }
    assert found["pad"] == {**turn.pad, "user": "ada", "response_id": found["id"]}


async def test_a_stream_joins_to_the_completion(ada: httpx.AsyncClient) -> None:
    whole, chunks = await ask(ada), await stream(ada)
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": "", "refusal": None}
    assert all("role" not in chunk["choices"][0]["delta"] for chunk in chunks[1:])
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None] * (len(chunks) - 1) + [
        whole["choices"][0]["finish_reason"]
    ]
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks}) == 1
    assert not any("usage" in chunk for chunk in chunks)
    assert chunks[-1]["pad"] == {**whole["pad"], "response_id": chunks[0]["id"]}
    assert not any("pad" in chunk for chunk in chunks[:-1])


async def test_usage_comes_last_and_only_where_it_was_asked_for(ada: httpx.AsyncClient) -> None:
    *chunks, last = await stream(ada, stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in chunks)
    assert last["choices"] == []
    assert last["usage"] == (await ask(ada))["usage"]


async def test_logprobs_have_rewards_and_no_end_token(served: Served, ada: httpx.AsyncClient) -> None:
    fields = {"logprobs": True, "top_logprobs": 2, "pad": {"preference": WISH, "beta": 2.0}}
    whole, chunks = await ask(ada, **fields), await stream(ada, **fields)
    entries = whole["choices"][0]["logprobs"]["content"]
    options = CallOptions(user_id=None, logprobs=True, top_logprobs=2, preference=WISH, beta=2.0)
    turn = served.chat.submit(QUESTION, options).result()
    ended = turn.finish == "stop"
    assert entries == json.loads(json.dumps(list(turn.logprobs[:-1] if ended else turn.logprobs)))
    assert any(entry["reward"] for entry in entries)
    assert all(len(entry["top_logprobs"]) == 2 for entry in entries)
    assert all("reward" in other for entry in entries for other in entry["top_logprobs"])
    assert [e for c in chunks for o in c["choices"] if o["logprobs"] for e in o["logprobs"]["content"]] == entries


async def test_the_tokens_of_json_are_its_text(ada: httpx.AsyncClient) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "city", "schema": TOOL["function"]["parameters"]}}
    (choice,) = (await ask(ada, response_format=form, logprobs=True, max_tokens=60))["choices"]
    assert choice["finish_reason"] == "stop"
    assert json.loads(choice["message"]["content"])["city"] in ("Rome", "Oslo")
    assert "".join(entry["token"] for entry in choice["logprobs"]["content"]) == choice["message"]["content"]


# ---- what is asked for


async def test_a_tool_is_called(ada: httpx.AsyncClient) -> None:
    fields = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}
    found, chunks = await ask(ada, **fields), await stream(ada, **fields)
    (choice,) = found["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    (call,) = choice["message"]["tool_calls"]
    assert call.keys() == {"id", "type", "function"}
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert json.loads(call["function"]["arguments"])["city"] in ("Rome", "Oslo")
    pieces = [
        piece for chunk in chunks for choice in chunk["choices"] for piece in choice["delta"].get("tool_calls", ())
    ]
    first, *rest = pieces
    assert first["id"]
    assert (first["type"], first["index"], first["function"]["name"]) == ("function", 0, "weather")
    assert all(piece.keys() == {"index", "function"} and piece["function"].keys() == {"arguments"} for piece in rest)
    assert "".join(piece["function"]["arguments"] for piece in pieces) == call["function"]["arguments"]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_the_call_and_its_result_are_read_again(ada: httpx.AsyncClient) -> None:
    asked = {"tools": [TOOL], "tool_choice": "required", "max_tokens": 60}
    message = (await ask(ada, **asked))["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "sunny"}
    found = await ask(ada, messages=[*QUESTION, message, result], tools=[TOOL], tool_choice="none")
    assert found["choices"][0]["message"]["content"] is not None


async def test_a_call_that_is_cut_off_says_so(ada: httpx.AsyncClient) -> None:
    found = await ask(ada, tools=[TOOL], tool_choice="required", max_tokens=12)
    assert found["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("form", [{"type": "json_object"}, {"type": "text"}])
async def test_forms_of_answers(ada: httpx.AsyncClient, form: dict[str, str]) -> None:
    found = await ask(ada, response_format=form, max_tokens=40)
    text = found["choices"][0]["message"]["content"]
    assert text.startswith("{") == (form["type"] == "json_object")


async def test_stop_seed_and_length(ada: httpx.AsyncClient) -> None:
    said = (await ask(ada))["choices"][0]["message"]["content"]
    found = (await ask(ada, stop=[said[3:6]]))["choices"][0]
    assert (found["message"]["content"], found["finish_reason"]) == (said[: said.index(said[3:6])], "stop")
    short = await ask(ada, max_completion_tokens=3)
    assert (short["choices"][0]["finish_reason"], short["usage"]["completion_tokens"]) == ("length", 3)
    drawn = [(await ask(ada, temperature=1.5, seed=seed))["choices"][0]["message"]["content"] for seed in (1, 1, 2, 3)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


async def test_the_sdk_reads_it(sdk: openai.AsyncOpenAI) -> None:
    said = await sdk.chat.completions.create(model="pad-demo", messages=QUESTION, extra_body={"pad": {"beta": 2.0}})
    parts = []
    async for chunk in await sdk.chat.completions.create(
        model="pad-demo", messages=QUESTION, stream=True, extra_body={"pad": {"beta": 2.0}}
    ):
        parts.append(chunk.choices[0].delta.content or "")
    assert "".join(parts) == said.choices[0].message.content
    assert said.pad["beta"] == 2.0
    assert [model.id async for model in await sdk.models.list()] == ["pad-demo"]


# ---- who asks, and what is kept


async def test_a_users_wishes_steer_and_their_answer_is_kept(bob: httpx.AsyncClient) -> None:
    told = await bob.post("/v1/feedback", json={"kind": "statement", "text": WISH})
    assert told.status_code == 201
    found = await ask(bob)
    assert [one["text"] for one in found["pad"]["condition"]] == [WISH]
    assert (found["pad"]["user"], found["pad"]["response_id"]) == ("bob", found["id"])
    thumb = await bob.post("/v1/feedback", json={"kind": "thumb", "response_id": found["id"], "up": True})
    assert thumb.status_code == 201
    assert (await bob.delete("/v1/me")).status_code == 200
    assert (await ask(bob))["pad"]["condition"] == []


async def test_a_private_answer_is_neither_steered_nor_kept(bob: httpx.AsyncClient) -> None:
    await bob.post("/v1/feedback", json={"kind": "statement", "text": WISH})
    found = await ask(bob, pad={"private": True})
    assert (found["pad"]["condition"], found["pad"]["user"]) == ([], None)
    thumb = await bob.post("/v1/feedback", json={"kind": "thumb", "response_id": found["id"], "up": True})
    assert thumb.status_code == 404
    await bob.delete("/v1/me")


async def test_work_the_user_did_not_ask_for_is_neither_steered_nor_kept(tmp_path: Path) -> None:
    settings = {"task_header": "X-PAD-Task", "thread_header": "X-Thread"}
    with serving(tmp_path, tiny_chat(), **settings) as served:
        async with served.client("ada") as ada:
            wish = {"kind": "statement", "text": f"In this conversation, {WISH}", "thread": "monday"}
            assert (await ada.post("/v1/feedback", json=wish)).status_code == 201
            asked = {"model": "pad-demo", "messages": QUESTION, "max_tokens": 2}
            monday, title = {"X-Thread": "monday"}, {"X-Thread": "monday", "X-PAD-Task": "title_generation"}
            steered = (await ada.post(PATH, json=asked, headers=monday)).json()["pad"]
            assert [one["text"] for one in steered["condition"]] == [WISH]
            assert (await ada.post(PATH, json=asked)).json()["pad"]["condition"] == []
            by_body = (await ada.post(PATH, json={**asked, "pad": {"thread_id": "monday"}})).json()["pad"]
            assert by_body["condition"] == steered["condition"]
            task = (await ada.post(PATH, json=asked, headers=title)).json()
            assert (task["pad"]["condition"], task["pad"]["user"]) == ([], None)
            thumb = {"kind": "thumb", "response_id": task["id"], "up": True}
            assert (await ada.post("/v1/feedback", json=thumb)).status_code == 404


async def test_prompts_of_tenants_share_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    salts = []
    submit = served.chat.engine.submit

    def watched(request: Any) -> Any:
        salts.append(request.salt)
        return submit(request)

    monkeypatch.setattr(served.chat.engine, "submit", watched)
    for user in ("ada", "bob", "eve"):
        async with served.client(user) as client:
            await ask(client, max_tokens=1)
    assert salts[0] == salts[1] != salts[2]


# ---- what is refused


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model": "gpt-5"}, (404, "model_not_found", "model")),
        ({"n": 2}, (400, "unsupported_value", "n")),
        ({"temperature": 9}, (400, "invalid_value", "temperature")),
        ({"messages": [{"role": "user", "content": "x" * 3_000}]}, (400, "context_length_exceeded", "messages")),
        ({"tools": [TOOL, TOOL]}, (400, "invalid_value", None)),
        ({"pad": {"best_of": 2}}, (400, "invalid_value", None)),
        ({"messages": [{"role": "tool", "tool_call_id": "x", "content": "y"}]}, (400, "invalid_value", None)),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_request_that_cannot_be_answered_has_a_status_of_its_own(
    ada: httpx.AsyncClient, fields: dict[str, Any], expected: Any, streamed: bool
) -> None:
    assert await refused(ada, **fields, stream=streamed) == expected


@pytest.mark.parametrize("content", [b"{", b"[]", b"", b'"x"', b"\xff", b"[" * 10_000])
async def test_a_body_that_is_no_request_is_refused(ada: httpx.AsyncClient, content: bytes) -> None:
    answer = await ada.post(PATH, content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


async def test_an_error_after_the_beginning_is_the_last_line(
    served: Served, ada: httpx.AsyncClient, sdk: openai.AsyncOpenAI, monkeypatch: pytest.MonkeyPatch
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
    answer = await ada.post(PATH, json={"model": "pad-demo", "messages": QUESTION, "stream": True})
    assert answer.status_code == 200
    *_, last, rest = answer.text.split("\n\n")
    assert rest == ""
    assert json.loads(last.removeprefix("data: "))["error"]["code"] == "out_of_memory"
    assert "[DONE]" not in answer.text
    assert "secret" not in answer.text
    with pytest.raises(openai.APIError, match="Memory ran out"):
        async for _ in await sdk.chat.completions.create(model="pad-demo", messages=QUESTION, stream=True):
            pass
    await auntil(lambda: served.chat.engine.running == 0)
    assert served.app.state.service.requests == 0
