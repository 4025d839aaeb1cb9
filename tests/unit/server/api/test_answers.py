"""Deltas as OpenAI's objects, written out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pad_langchain.chat import Delta, Usage
from pad_langchain.chat.tools.answer_parser import CallDelta
from pad_langchain.server.api.answers import Completion, new_id
from pad_langchain.server.api.delivery import event

END = "<|im_end|>"


def entry(token: str) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "reward": 0.25, "bytes": list(token.encode()), "top_logprobs": []}


def answer(**said: Any) -> Completion:
    fields = {"id": "chatcmpl-1", "model": "tiny", "user": "ada", "logprobs": False, "usage": False, "ends": {END}}
    return Completion(**{**fields, **said}, created=5)


def last(**said: Any) -> Delta:
    pad = {"user": "acme/ada", "response_id": "chatcmpl-1"}
    return Delta(**{"finish": "stop", "usage": Usage(3, 2), "pad": pad, **said})


def test_ids_are_new_and_events_are_lines() -> None:
    assert new_id() != new_id()
    assert new_id("resp_").startswith("resp_")
    assert event({"a": "é\n"}) == 'data: {"a":"é\\n"}\n\n'.encode()
    assert event({"type": "error"}) == b'event: error\ndata: {"type":"error"}\n\n'


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
def test_the_end_token_is_no_entry(finish: Any) -> None:
    delta = last(text="hi", finish=finish, logprobs=(entry("hi"), entry(END)))
    whole = answer(logprobs=True).object(delta)
    assert whole["choices"][0]["logprobs"] == {"content": [entry("hi")], "refusal": None}
    text, end = answer(logprobs=True).events(delta)
    assert text["choices"][0]["logprobs"] == {"content": [entry("hi")], "refusal": None}
    assert end["choices"] == [{"index": 0, "delta": {}, "logprobs": None, "finish_reason": finish}]


def test_an_answer_that_was_cut_off_keeps_its_last_token() -> None:
    whole = answer(logprobs=True).object(last(finish="length", logprobs=(entry(END),)))
    assert whole["choices"][0]["logprobs"]["content"] == [entry(END)]


def test_tokens_without_text_yet_come_in_a_chunk_of_their_own() -> None:
    (chunk,) = answer(logprobs=True).events(Delta(logprobs=(entry("h"),)))
    assert chunk["choices"][0]["delta"] == {}
    assert chunk["choices"][0]["logprobs"]["content"] == [entry("h")]
    assert list(answer().events(Delta(logprobs=(entry("h"),)))) == []


def test_reasoning_stands_beside_the_answer() -> None:
    delta = last(text="4", reasoning="2 and 2")
    assert answer().object(delta)["choices"][0]["message"] == {
        "role": "assistant",
        "content": "4",
        "refusal": None,
        "reasoning_content": "2 and 2",
    }
    first = next(answer().events(delta))
    assert first["choices"][0]["delta"] == {"reasoning_content": "2 and 2", "content": "4"}


def test_a_stream_of_two_calls_names_each_once() -> None:
    stream = answer(usage=True)
    deltas = [
        Delta(calls=(CallDelta(0, "a", "add", '{"x"'),)),
        Delta(calls=(CallDelta(0, None, None, ": 1}"), CallDelta(1, "b", "sub", "{}"))),
        last(finish="tool_calls"),
    ]
    one, two, end, usage = (chunk for delta in deltas for chunk in stream.events(delta))
    assert one["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x"'}}
    ]
    assert two["choices"][0]["delta"]["tool_calls"] == [
        {"index": 0, "function": {"arguments": ": 1}"}},
        {"index": 1, "id": "b", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
    ]
    assert (end["choices"][0]["finish_reason"], end["usage"]) == ("tool_calls", None)
    assert end["pad"] == {"user": "ada", "response_id": "chatcmpl-1"}
    assert usage == {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "tiny",
        "choices": [],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }


def test_words_before_a_call_stay() -> None:
    found = answer().object(last(text="Let me see.", calls=(CallDelta(0, "a", "add", "{}"),)))
    message = found["choices"][0]["message"]
    assert message["content"] == "Let me see."
    assert message["tool_calls"] == [{"id": "a", "type": "function", "function": {"name": "add", "arguments": "{}"}}]
