"""Deltas as the events of a response, written out by hand; each is one of OpenAI's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from pad_langchain.chat import Delta, Usage
from pad_langchain.chat.tools.answer_parser import CallDelta
from pad_langchain.server.api.responses_answer import ResponseAnswer
from pad_langchain.server.errors import ApiError

END = "<|im_end|>"
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
ASKED = {
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
    "text": {"format": {"type": "text"}, "verbosity": "medium"},
}


class Told:
    """A turn of deltas that are known."""

    def __init__(self, *deltas: Delta) -> None:
        self.deltas = deltas

    async def __aiter__(self) -> AsyncIterator[Delta]:
        for delta in self.deltas:
            yield delta


def answer(logprobs: bool = False) -> ResponseAnswer:
    return ResponseAnswer("resp_1", "tiny", ASKED, "ada", logprobs, {END}, created=5)


def entry(token: str, **more: Any) -> dict[str, Any]:
    return {"token": token, "logprob": -0.5, "reward": 0.25, "bytes": list(token.encode()), "top_logprobs": [], **more}


def last(**said: Any) -> Delta:
    pad = {"user": "acme/ada", "response_id": "resp_1"}
    return Delta(**{"finish": "stop", "usage": Usage(3, 2), "pad": pad, **said})


def events(*deltas: Delta, logprobs: bool = False) -> list[dict[str, Any]]:
    """The events of a stream, all of OpenAI's kinds and numbered."""
    stream = answer(logprobs)
    found = [*stream.begin(), *(each for delta in deltas for each in stream.events(delta))]
    for each in found:
        EVENTS.validate_python(each, strict=True)
    assert [each["sequence_number"] for each in found] == list(range(len(found)))
    return found


def kinds(found: list[dict[str, Any]]) -> list[str]:
    return [each["type"].removeprefix("response.") for each in found]


def test_a_text_streams_as_one_message() -> None:
    found = events(Delta(text="Hi "), Delta(text="you"), last())
    assert kinds(found) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    created, _, added, part, one, two, said, part_done, done, completed = found
    assert (created["response"]["status"], created["response"]["output"]) == ("in_progress", [])
    assert added["item"] == {
        "id": "msg_10",
        "type": "message",
        "status": "in_progress",
        "role": "assistant",
        "content": [],
    }
    empty = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    place = {"item_id": "msg_10", "output_index": 0, "content_index": 0}
    assert part == {"type": "response.content_part.added", "sequence_number": 3, **place, "part": empty}
    assert one == {
        "type": "response.output_text.delta",
        "sequence_number": 4,
        **place,
        "delta": "Hi ",
        "logprobs": [],
    }
    assert (two["delta"], said["text"]) == ("you", "Hi you")
    assert part_done["part"] == {**empty, "text": "Hi you"}
    message = {**added["item"], "status": "completed", "content": [{**empty, "text": "Hi you"}]}
    assert done["item"] == message
    response = completed["response"]
    assert (response["status"], response["output"], response["error"]) == ("completed", [message], None)
    assert response["usage"] == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 5,
    }
    assert response["pad"] == {"user": "ada", "response_id": "resp_1"}
    assert (response["id"], response["created_at"], response["model"]) == ("resp_1", 5, "tiny")


STREAMS = {
    "text": [Delta(text="Hi "), last(text="you")],
    "nothing": [last()],
    "thought": [Delta(reasoning="2 and "), Delta(reasoning="2"), Delta(text="4"), last()],
    "all at once": [last(reasoning="2 and 2", text="4", calls=(CallDelta(0, "a", "add", "{}"),), finish="tool_calls")],
    "two calls": [
        Delta(text="Let me see."),
        Delta(calls=(CallDelta(0, "a", "add", '{"x"'),)),
        Delta(calls=(CallDelta(0, None, None, ": 1}"), CallDelta(1, "b", "sub", "{}"))),
        last(finish="tool_calls"),
    ],
    "text after a call": [
        Delta(calls=(CallDelta(0, "a", "add", "{"),)),
        Delta(calls=(CallDelta(0, None, None, "}"),), text="Done."),
        last(finish="tool_calls"),
    ],
    "a call without arguments": [Delta(calls=(CallDelta(0, "a", "add", ""),)), last(finish="tool_calls")],
    "cut off": [Delta(calls=(CallDelta(0, "a", "add", '{"x'),)), last(finish="length")],
}


@pytest.mark.parametrize("name", STREAMS)
async def test_a_whole_response_is_what_its_stream_ends_with(name: str) -> None:
    deltas = STREAMS[name]
    found, ended = await answer().whole(Told(*deltas))  # type: ignore[arg-type]
    Response.model_validate(found, strict=True)
    end = events(*deltas)[-1]
    found["completed_at"] = end["response"]["completed_at"] = None
    assert (end["response"], ended) == (found, deltas[-1])


@pytest.mark.parametrize("name", STREAMS)
def test_every_item_is_added_written_and_done_once_in_its_place(name: str) -> None:
    found = events(*STREAMS[name])
    output = found[-1]["response"]["output"]
    added = [each for each in found if each["type"] == "response.output_item.added"]
    done = [each for each in found if each["type"] == "response.output_item.done"]
    assert [each["output_index"] for each in added] == [each["output_index"] for each in done] == [*range(len(output))]
    assert [each["item"] for each in done] == output
    assert [each["item"]["id"] for each in added] == [item["id"] for item in output]
    for place, item in enumerate(output):
        said = "".join(
            each["delta"] for each in found if each["type"].endswith(".delta") and each["output_index"] == place
        )
        assert said == (item["arguments"] if item["type"] == "function_call" else item["content"][0]["text"])


def test_reasoning_text_and_calls_are_items_of_their_own() -> None:
    output = events(*STREAMS["all at once"])[-1]["response"]["output"]
    thought, said, call = output
    assert thought == {
        "id": "rs_10",
        "type": "reasoning",
        "status": "completed",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": "2 and 2"}],
    }
    assert said["content"][0]["text"] == "4"
    assert call == {
        "id": "fc_12",
        "type": "function_call",
        "status": "completed",
        "arguments": "{}",
        "call_id": "a",
        "name": "add",
    }


def test_the_events_of_two_calls() -> None:
    found = events(*STREAMS["two calls"])
    calls = [each for each in found if "function_call" in each["type"]]
    assert [(each["output_index"], each.get("delta"), each.get("arguments")) for each in calls] == [
        (1, '{"x"', None),
        (1, ": 1}", None),
        (1, None, '{"x": 1}'),
        (2, "{}", None),
        (2, None, "{}"),
    ]
    assert [each["name"] for each in calls if "name" in each] == ["add", "sub"]
    assert kinds(found)[-1] == "completed"


def test_an_answer_that_was_cut_off_is_incomplete() -> None:
    end = events(Delta(text="Hi"), last(finish="length"))[-1]
    assert end["type"] == "response.incomplete"
    response = end["response"]
    assert (response["status"], response["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert response["output"][0]["status"] == "incomplete"
    assert response["usage"]["total_tokens"] == 5
    call = events(*STREAMS["cut off"])[-1]["response"]["output"][0]
    assert (call["status"], call["arguments"]) == ("incomplete", '{"x')


def test_a_stream_that_fails_says_so_with_what_was_said() -> None:
    stream = answer()
    for each in (*stream.begin(), *stream.events(Delta(text="Hi"))):
        assert each["sequence_number"] < 5
    failed = stream.failure(ApiError(503, "out_of_memory", "Memory ran out."))
    EVENTS.validate_python(failed, strict=True)
    assert (failed["type"], failed["sequence_number"]) == ("response.failed", 5)
    assert failed["response"]["error"] == {"code": "server_error", "message": "Memory ran out."}
    (item,) = failed["response"]["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "Hi")


def test_logprobs_are_the_messages_without_the_end_token_and_without_those_of_calls() -> None:
    split = {**entry("\ufffd"), "bytes": None}
    shown = {**entry("Hi"), "top_logprobs": [split]}
    found = events(
        Delta(reasoning="Hm", logprobs=(entry("Hm"),)),
        Delta(text="Hi", logprobs=(shown,)),
        Delta(logprobs=(entry(" "),)),
        Delta(calls=(CallDelta(0, "a", "add", "{}"),), logprobs=(entry("{}"),)),
        last(finish="tool_calls", logprobs=(entry(END),)),
        logprobs=True,
    )
    expected = [{**shown, "top_logprobs": [{**split, "bytes": []}]}, entry(" ")]
    deltas = [each for each in found if each["type"] == "response.output_text.delta"]
    assert [(each["delta"], each["logprobs"]) for each in deltas] == [("Hi", expected[:1]), ("", expected[1:])]
    (done,) = (each for each in found if each["type"] == "response.output_text.done")
    assert done["logprobs"] == expected
    assert found[-1]["response"]["output"][1]["content"][0]["logprobs"] == expected


def test_logprobs_that_were_not_asked_for_are_not_there() -> None:
    found = events(Delta(text="Hi", logprobs=(entry("Hi"),)), last())
    assert found[-1]["response"]["output"][0]["content"][0]["logprobs"] == []
