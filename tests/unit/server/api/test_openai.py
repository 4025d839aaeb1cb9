"""Requests in OpenAI's form: what is read of them, what passes because it asks for nothing, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from pad_langchain.chat import CallOptions
from pad_langchain.server.api.openai import ChatRequest, Message, conversation, options_of
from pad_langchain.server.errors import ApiError, translate
from pad_langchain.server.settings import ServerSettings

SETTINGS = ServerSettings("pad-demo", chat_template_switches=("enable_thinking",), max_schema_bytes=2_000)
ASKED = {"model": "pad-demo", "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}


def read(**fields: Any) -> dict[str, Any]:
    """What a request with these fields says, by way of JSON."""
    said = options_of(ChatRequest(**json.loads(json.dumps({**ASKED, **fields}))), SETTINGS)
    CallOptions(**said)
    return said


def refused(**fields: Any) -> ApiError:
    """The refusal of a request with these fields."""
    with pytest.raises((ApiError, ValidationError)) as caught:
        read(**fields)
    told = translate(caught.value)
    assert told.status == 400
    assert told.param is not None
    return told


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 1),
        ("n", None),
        ("frequency_penalty", 0),
        ("presence_penalty", 0.0),
        ("logit_bias", {}),
        ("logit_bias", None),
        ("store", False),
        ("service_tier", "auto"),
        ("modalities", ["text"]),
        ("functions", []),
        ("function_call", "none"),
        ("audio", None),
        ("reasoning_effort", None),
        ("whatever_comes", None),
        ("metadata", {"a": "b"}),
        ("safety_identifier", "x"),
        ("prompt_cache_key", "x"),
    ],
)
def test_what_asks_for_nothing_passes(field: str, value: Any) -> None:
    assert read(**{field: value}) == {}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("n", True),
        ("frequency_penalty", 0.5),
        ("presence_penalty", -1),
        ("logit_bias", {"5": 1}),
        ("store", True),
        ("service_tier", "flex"),
        ("modalities", ["text", "audio"]),
        ("functions", [{"name": "f"}]),
        ("function_call", {"name": "f"}),
        ("audio", {"voice": "x"}),
        ("reasoning_effort", "high"),
        ("prediction", {"type": "content"}),
        ("web_search_options", {}),
        ("chat_template", "{{ messages }}"),
        ("min_p", 0.1),
        ("top_k", 5),
    ],
)
def test_what_is_not_supported_is_refused_by_name(field: str, value: Any) -> None:
    told = refused(**{field: value})
    assert (told.code, told.param) == ("unsupported_value", field)
    assert field in told.message


def test_a_misspelt_field_is_told_its_neighbour() -> None:
    assert "Did you mean 'temperature'?" in refused(temprature=0.5).message


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 9}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"max_tokens": -3}, "max_tokens"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "max_tokens"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ["a", ""]}, "stop"),
        ({"stop": 5}, "stop"),
        ({"stop": list("abcde")}, "stop"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"model": None}, "model"),
        ({"pad": {"bta": 1}}, "pad.bta"),
        ({"pad": {"beta": "1"}}, "pad.beta"),
        ({"pad": {"beta": float("inf")}}, "pad.beta"),
        ({"pad": {"best_of": 5}}, "pad.best_of"),
        ({"pad": {"alpha": 2}}, "pad.alpha"),
        ({"tools": [TOOL] * 129}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools.0"),
        ({"tools": [{"function": {"name": "f", "parameters": []}}]}, "tools.0.function.parameters"),
        ({"tools": [{"function": {"name": "f", "description": "\ud800"}}]}, "tools.0.function"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "sub"}}}, "tool_choice"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": schema_format(nested(40))}, "response_format.json_schema.schema"),
        ({"response_format": schema_format({"enum": list(range(1_001))})}, "response_format.json_schema.schema"),
        ({"response_format": schema_format({"title": "x" * 2_000})}, "response_format.json_schema.schema"),
        ({"chat_template_kwargs": {"enable_thinking": "yes"}}, "chat_template_kwargs.enable_thinking"),
    ],
)
def test_a_value_out_of_its_range_is_refused_by_its_place(fields: dict[str, Any], param: str) -> None:
    told = refused(**fields)
    assert (told.code, told.param) == ("invalid_value", param)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"response_format": {"type": "grammar"}}, "response_format.type"),
        ({"chat_template_kwargs": {"tools_in_user": True}}, "chat_template_kwargs.tools_in_user"),
    ],
)
def test_forms_that_are_not_known_are_refused(fields: dict[str, Any], param: str) -> None:
    told = refused(**fields)
    assert (told.code, told.param) == ("unsupported_value", param)


def test_a_schema_may_be_as_deep_and_wide_as_the_settings_say() -> None:
    form = schema_format({"allOf": [nested(28), {"enum": list(range(300))}]})
    assert read(response_format=form) == {"response_format": form}


def test_what_is_said_becomes_options() -> None:
    said = read(
        temperature=0,
        top_p=0.5,
        seed=7,
        max_completion_tokens=5,
        stop="\n",
        logprobs=True,
        top_logprobs=3,
        parallel_tool_calls=False,
        chat_template_kwargs={"enable_thinking": False},
        pad={"preference": [["be brief", 0.5], "be kind"], "beta": -1, "thread_id": "monday", "private": True},
    )
    assert said == {
        "temperature": 0,
        "top_p": 0.5,
        "seed": 7,
        "max_tokens": 5,
        "stop": "\n",
        "logprobs": True,
        "top_logprobs": 3,
        "parallel_tool_calls": False,
        "chat_template_kwargs": {"enable_thinking": False},
        "preference": [["be brief", 0.5], "be kind"],
        "beta": -1,
        "private": True,
    }
    assert read(max_tokens=5) == read(max_tokens=5, max_completion_tokens=5) == {"max_tokens": 5}


def test_a_tool_is_shown_without_what_its_client_left_empty() -> None:
    tool = {**TOOL, "function": {**TOOL["function"], "strict": None, "description": None}}
    assert read(tools=[tool]) == {"tools": [TOOL]}


# ---- messages


def dicts(*messages: dict[str, Any]) -> list[dict[str, Any]]:
    return conversation([Message(**message) for message in messages])


def test_messages_become_dicts_for_the_template() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}
    assert dicts(
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}], "name": "ada"},
        {"role": "assistant", "content": None, "tool_calls": [call], "refusal": None, "annotations": [], "audio": None},
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": "Two.", "reasoning_content": "1 and 1", "function_call": None},
    ) == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "one\ntwo", "name": "ada"},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**call, "function": {"name": "add", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "2"},
        {"role": "assistant", "content": "Two."},
    ]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        ({"role": "function", "content": "x"}, "messages.0.role"),
        ({"role": "user", "content": 5}, "messages.0.content"),
        ({"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}, "messages.0.content"),
        ({"role": "user", "content": [{"type": "text"}]}, "messages.0.content"),
        ({"role": "user", "content": ["x"]}, "messages.0.content"),
        ({"role": "user", "content": "x", "weight": 1}, "messages.0.weight"),
        ({"role": "assistant", "audio": {"id": "x"}}, "messages.0.audio"),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": '{"a": '}}]},
            "messages.0.tool_calls.0.function.arguments",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "[" * 100_000}}]},
            "messages.0.tool_calls.0.function.arguments",
        ),
        (
            {"role": "assistant", "tool_calls": [{"id": "a", "type": "custom", "custom": {}}]},
            "messages.0.tool_calls.0.type",
        ),
    ],
)
def test_messages_that_cannot_be_read_are_refused_by_their_place(message: dict[str, Any], param: str) -> None:
    with pytest.raises((ApiError, ValidationError)) as caught:
        conversation(ChatRequest(**{**ASKED, "messages": [message]}).messages)
    assert translate(caught.value).param == param


def test_a_call_without_arguments_is_one_of_an_empty_object() -> None:
    call = {"id": "c1", "function": {"name": "now", "arguments": ""}, "index": 0}
    (told,) = dicts({"role": "assistant", "tool_calls": [call]})
    assert told["tool_calls"] == [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": {}}}]
