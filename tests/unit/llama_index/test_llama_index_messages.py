"""LlamaIndex's messages to a conversation's dicts, and answers back."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llama_index.core.base.llms.types import CitableBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.tools import FunctionTool
from pydantic import create_model

from pad_langchain import InvalidRequestError
from pad_langchain.chat import Delta, Usage
from pad_langchain.chat.tools.answer_parser import CallDelta
from pad_langchain.llama_index.messages import arguments, to_chat_dicts, to_response, to_schema

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
OBJECTS = st.dictionaries(
    TEXT, st.none() | st.booleans() | st.integers() | TEXT | st.lists(TEXT, max_size=3), max_size=4
)
FINISHED = {"finish": "tool_calls", "usage": Usage(1, 2), "pad": {}}


def answer(text="", calls=(), **end):
    """A whole answer; `calls` are (id, name, arguments as JSON text)."""
    return Delta(text, calls=tuple(CallDelta(n, *call) for n, call in enumerate(calls)), **end)


def test_roles_and_blocks():
    messages = [
        ChatMessage("Be kind.", role="system"),
        ChatMessage("Be short.", role="developer"),
        ChatMessage([TextBlock(text="one"), CitableBlock(title="t", source="s", content=[TextBlock(text="two")])]),
        ChatMessage([ThinkingBlock(content="hm"), TextBlock(text="Three.")], role="assistant"),
    ]
    assert to_chat_dicts(messages) == [
        {"role": "system", "content": "Be kind."},
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "one\ntwo"},
        {"role": "assistant", "content": "Three."},
    ]


def test_a_conversation_with_a_tool():
    call = ToolCallBlock(tool_call_id="c1", tool_name="add", tool_kwargs={"a": 1})
    written = ToolCallBlock(tool_call_id="c2", tool_name="add", tool_kwargs='{"a": 2}')
    messages = [
        ChatMessage([call, written], role="assistant"),
        ChatMessage("3", role="tool", additional_kwargs={"tool_call_id": "c1"}),
    ]
    asked, result = to_chat_dicts(messages)
    assert [(one["id"], one["function"]) for one in asked["tool_calls"]] == [
        ("c1", {"name": "add", "arguments": {"a": 1}}),
        ("c2", {"name": "add", "arguments": {"a": 2}}),
    ]
    assert result == {"role": "tool", "tool_call_id": "c1", "content": "3"}


def test_what_cannot_be_said_is_refused():
    with pytest.raises(InvalidRequestError, match="A user message has a block of type 'image'"):
        to_chat_dicts([ChatMessage([ImageBlock(url="http://localhost/a.png")])])
    with pytest.raises(InvalidRequestError, match=r"additional_kwargs\['tool_call_id'\] is None"):
        to_chat_dicts([ChatMessage("3", role="tool")])
    for broken in ('{"a": 1', "[1]", ""):
        with pytest.raises(InvalidRequestError, match="arguments of the call of 'add' have to be a JSON object"):
            arguments(ToolCallBlock(tool_name="add", tool_kwargs=broken))


@given(TEXT, st.lists(st.tuples(TEXT, TEXT.filter(bool), OBJECTS), max_size=3))
def test_an_answer_goes_to_llama_index_and_back(text, calls):
    written = [(id, name, json.dumps(args)) for id, name, args in calls]
    response = to_response(answer(text, written, **FINISHED), "tiny")
    (back,) = to_chat_dicts([response.message])
    assert back["content"] == text
    said = [(one["id"], one["function"]["name"], one["function"]["arguments"]) for one in back.get("tool_calls", ())]
    assert said == calls
    extra = response.message.additional_kwargs.get("tool_calls", [])
    assert [json.loads(one["function"]["arguments"]) for one in extra] == [args for _, _, args in calls]


def test_a_finished_answer_carries_what_it_cost():
    response = to_response(answer("yes", **{**FINISHED, "finish": "stop"}), "tiny")
    assert response.raw == {
        "model": "tiny",
        "finish_reason": "stop",
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        "pad": {},
    }
    assert (response.delta, response.logprobs) == (None, None)


def test_an_answer_under_way_has_no_end():
    response = to_response(answer("ye"), "tiny", "e")
    assert (response.message.content, response.delta, response.raw) == ("ye", "e", None)


def test_a_call_that_cannot_be_read_is_no_call():
    response = to_response(answer(calls=[("c1", "add", '{"a": 1]')], **FINISHED), "tiny")
    assert not [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    assert response.message.additional_kwargs == {
        "invalid_tool_calls": [{"id": "c1", "name": "add", "arguments": '{"a": 1]'}]
    }


def test_a_tool_says_all_that_its_model_checks():
    form = create_model("Form", a=(set[int], ...), b=(Decimal, ...), c=(int, 1))
    parameters = to_schema(FunctionTool.from_defaults(print, fn_schema=form))["function"]["parameters"]
    assert parameters["properties"]["a"] == {"items": {"type": "integer"}, "title": "A", "type": "array"}
    assert "pattern" in parameters["properties"]["b"]["anyOf"][1]
    assert parameters["required"] == ["a", "b"]


def test_a_tool_keeps_the_name_it_is_looked_up_by():
    def fill(a: int) -> int:
        """Fill."""
        return a

    schema = to_schema(FunctionTool.from_defaults(fill, name="Box[int]", description="Fill. " * 300))
    assert schema["type"] == "function"
    assert schema["function"]["name"] == "Box[int]"
    assert schema["function"]["parameters"]["required"] == ["a"]
    assert ToolSelection(tool_id="", tool_name="Box[int]", tool_kwargs={"a": 1})
