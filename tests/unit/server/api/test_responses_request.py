"""Requests of the Responses API: the chat request that asks for the same, what passes, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from openai.types.responses import Response
from pydantic import ValidationError

from pad_langchain.server.api.openai import ChatRequest, conversation, options_of
from pad_langchain.server.api.responses_request import LOGPROBS, ResponsesRequest, chat_request, echo, named_here
from pad_langchain.server.errors import ApiError, translate
from pad_langchain.server.settings import ServerSettings

SETTINGS = ServerSettings("pad-demo", chat_template_switches=("enable_thinking",), max_schema_bytes=2_000)
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOL = {"type": "function", "name": "weather", "description": "The weather.", "parameters": SCHEMA, "strict": True}


def asked(**fields: Any) -> ResponsesRequest:
    return ResponsesRequest(**json.loads(json.dumps({"model": "pad-demo", "input": "hi", **fields})))


def read(**fields: Any) -> ChatRequest:
    return chat_request(asked(**fields))


def said(**fields: Any) -> dict[str, Any]:
    """What a request says beside its conversation."""
    return options_of(read(**fields), SETTINGS)


def told(items: Any, **fields: Any) -> list[dict[str, Any]]:
    """The conversation of a request, as a chat template takes it."""
    return conversation(read(input=items, **fields).messages)


def refused(**fields: Any) -> tuple[str, str | None]:
    """Code and place of a refusal."""
    with pytest.raises((ApiError, ValidationError)) as caught:
        said(**fields)
    error = named_here(translate(caught.value))
    assert error.status == 400
    return error.code, error.param


# ---- the conversation


def test_a_text_is_what_the_user_says_after_the_instructions() -> None:
    assert told("hi") == [{"role": "user", "content": "hi"}]
    assert told("hi", instructions="Be kind.") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hi"},
    ]


def test_items_become_turns_and_calls_join_what_was_said_before_them() -> None:
    items = [
        {"role": "developer", "content": "Be kind."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather in Rome and Oslo?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "phase": None,
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Let me see.", "annotations": [], "logprobs": []}],
        },
        {"type": "function_call", "id": "fc_1", "call_id": "a", "name": "weather", "arguments": '{"city": "Rome"}'},
        {"type": "function_call", "call_id": "b", "name": "weather", "arguments": "", "status": "completed"},
        {"type": "function_call_output", "call_id": "a", "output": "sunny"},
        {"type": "function_call_output", "call_id": "b", "output": [{"type": "input_text", "text": "snow"}]},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]},
        {"type": "function_call", "call_id": "c", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "12:00"},
        {"type": "function_call", "call_id": "d", "name": "now", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "d", "output": "13:00"},
    ]

    def call(name: str, call_id: str, arguments: Any) -> dict[str, Any]:
        return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}

    assert told(items) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Weather in Rome and Oslo?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [call("weather", "a", {"city": "Rome"}), call("weather", "b", {})],
        },
        {"role": "tool", "content": "sunny", "tool_call_id": "a"},
        {"role": "tool", "content": "snow", "tool_call_id": "b"},
        {"role": "assistant", "content": "I will not.", "tool_calls": [call("now", "c", {})]},
        {"role": "tool", "content": "12:00", "tool_call_id": "c"},
        {"role": "assistant", "content": "", "tool_calls": [call("now", "d", {})]},
        {"role": "tool", "content": "13:00", "tool_call_id": "d"},
    ]


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([], ("invalid_value", "input")),
        (7, ("invalid_value", "input")),
        (None, ("invalid_value", "input")),
        ([7], ("invalid_value", "input")),
        ([{"type": "reasoning", "summary": []}], ("invalid_value", "input")),
        ([{"type": "item_reference", "id": "msg_1"}], ("unsupported_value", "input.0.type")),
        ([{"type": "computer_call"}], ("unsupported_value", "input.0.type")),
        ([{"type": ["message"], "role": "user", "content": "x"}], ("unsupported_value", "input.0.type")),
        ([{"role": "tool", "content": "x"}], ("invalid_value", "input.0.role")),
        ([{"role": "user"}], ("invalid_value", "input.0.content")),
        ([{"role": "user", "content": "x", "colour": "red"}], ("unsupported_value", "input.0.colour")),
        ([{"role": "user", "content": [{"type": "input_image"}]}], ("invalid_value", "input.0.content")),
        ([{"role": "user", "content": [{"type": "input_text"}]}], ("invalid_value", "input.0.content")),
        ([{"type": "function_call", "call_id": "a", "name": "b"}], ("invalid_value", "input.0.arguments")),
        (
            [{"type": "function_call", "call_id": "a", "name": "b", "arguments": "[]"}],
            ("invalid_value", "input.0.arguments"),
        ),
        ([{"type": "function_call_output", "call_id": "a"}], ("invalid_value", "input.0.output")),
    ],
)
def test_what_is_no_conversation_is_refused_at_its_place(items: Any, expected: Any) -> None:
    assert refused(input=items) == expected


# ---- what is said beside it


def test_every_field_has_its_name_of_the_chat_api() -> None:
    found = said(
        max_output_tokens=7,
        temperature=0.5,
        top_p=0.9,
        include=[LOGPROBS],
        top_logprobs=2,
        tools=[TOOL],
        tool_choice={"type": "function", "name": "weather"},
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "city", "schema": SCHEMA, "strict": True}},
        pad={"beta": 2.0, "thread_id": "monday"},
        chat_template_kwargs={"enable_thinking": False},
    )
    function = {"name": "weather", "description": "The weather.", "parameters": SCHEMA, "strict": True}
    assert found == {
        "max_tokens": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "logprobs": True,
        "top_logprobs": 2,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "weather"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "city", "schema": SCHEMA, "strict": True}},
        "chat_template_kwargs": {"enable_thinking": False},
        "beta": 2.0,
    }


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_forms_without_a_schema(kind: str) -> None:
    assert said(text={"format": {"type": kind}})["response_format"] == {"type": kind}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("store", False),
        ("store", None),
        ("background", False),
        ("previous_response_id", None),
        ("conversation", None),
        ("truncation", "disabled"),
        ("service_tier", "auto"),
        ("reasoning", {}),
        ("reasoning", {"effort": None, "summary": None}),
        ("max_tool_calls", None),
        ("include", []),
        ("top_logprobs", 0),
        ("tools", []),
        ("text", {"format": None, "verbosity": "medium"}),
        ("metadata", {"a": "b"}),
        ("safety_identifier", "x"),
        ("prompt_cache_key", "x"),
        ("prompt_cache_options", {"mode": "implicit"}),
        ("whatever_comes", None),
    ],
)
def test_what_asks_for_nothing_passes(field: str, value: Any) -> None:
    assert {name: said for name, said in said(**{field: value}).items() if said not in (0, [])} == {}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"store": True}, ("unsupported_value", "store")),
        ({"previous_response_id": "resp_1"}, ("unsupported_value", "previous_response_id")),
        ({"conversation": "conv_1"}, ("unsupported_value", "conversation")),
        ({"background": True}, ("unsupported_value", "background")),
        ({"truncation": "auto"}, ("unsupported_value", "truncation")),
        ({"reasoning": {"effort": "low"}}, ("unsupported_value", "reasoning")),
        ({"max_tool_calls": 2}, ("unsupported_value", "max_tool_calls")),
        ({"prompt": {"id": "p"}}, ("unsupported_value", "prompt")),
        ({"include": ["reasoning.encrypted_content"]}, ("unsupported_value", "include")),
        ({"messages": [{"role": "user", "content": "hi"}]}, ("unsupported_value", "messages")),
        ({"max_tokens": 5}, ("unsupported_value", "max_tokens")),
        ({"stop": ["x"]}, ("unsupported_value", "stop")),
        ({"top_logprobs": 2}, ("invalid_value", "top_logprobs")),
        ({"top_logprobs": 99, "include": [LOGPROBS]}, ("invalid_value", "top_logprobs")),
        ({"stream_options": {"include_obfuscation": False}}, ("invalid_value", "stream_options")),
        ({"text": {"verbosity": "low"}}, ("invalid_value", "text.verbosity")),
        ({"text": {"format": {"type": "xml"}}}, ("invalid_value", "text.format.type")),
        ({"text": {"format": {"type": "json_object", "schema": {}}}}, ("unsupported_value", "text.format.schema")),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, ("invalid_value", "text.format.schema")),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, ("invalid_value", "text.format.name")),
        (
            {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"title": "y" * 3_000}}}},
            ("invalid_value", "text.format.schema"),
        ),
        ({"tools": [{"type": "web_search"}]}, ("unsupported_value", "tools.0.type")),
        ({"tools": [TOOL, {"type": "function"}]}, ("invalid_value", "tools.1.name")),
        ({"tools": [{**TOOL, "colour": "red"}]}, ("unsupported_value", "tools.0.colour")),
        ({"tools": [{**TOOL, "parameters": {"title": "y" * 3_000}}]}, ("invalid_value", "tools.0")),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, ("unsupported_value", "tool_choice")),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "x"}}, ("invalid_value", "tool_choice")),
        ({"pad": {"gamma": 1}}, ("invalid_value", "pad.gamma")),
        ({"temperature": 9}, ("invalid_value", "temperature")),
        ({"metadata": {"a": 1}}, ("invalid_value", "metadata.a")),
    ],
)
def test_what_is_not_supported_is_refused_by_name(fields: dict[str, Any], expected: Any) -> None:
    assert refused(**fields) == expected


def test_a_refusal_says_what_to_do_instead() -> None:
    with pytest.raises(ApiError, match="this server keeps no responses"):
        read(previous_response_id="resp_1")


# ---- what a response repeats


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {
            "instructions": "Be kind.",
            "max_output_tokens": 7,
            "temperature": 0.5,
            "top_p": 0.9,
            "include": [LOGPROBS],
            "top_logprobs": 2,
            "tools": [TOOL],
            "tool_choice": {"type": "function", "name": "weather"},
            "parallel_tool_calls": False,
            "text": {"format": {"type": "json_schema", "name": "city", "schema": SCHEMA}},
            "metadata": {"a": "b"},
            "user": "ada",
        },
    ],
)
def test_a_response_repeats_its_request(fields: dict[str, Any]) -> None:
    found = echo(asked(**fields))
    head = {"id": "resp_1", "object": "response", "created_at": 5, "model": "tiny", "output": []}
    response = Response.model_validate({**head, **found}, strict=True)
    shown = response.model_dump(by_alias=True, exclude_unset=True, include=set(fields) - {"text", "include"})
    assert shown == {name: value for name, value in fields.items() if name not in ("text", "include")}
    assert (response.store, response.background, response.truncation) == (False, False, "disabled")
