"""LlamaIndex's messages, tools and answers ↔ LangChain's, which `ChatPAD` speaks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
)
from langchain_core.outputs import ChatGenerationChunk
from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import BaseTool

from pad_langchain.chat.tools.schemas import unsaid
from pad_langchain.errors import InvalidRequestError

__all__ = ["arguments", "to_langchain", "to_response", "to_schema"]

_ROLES: Mapping[MessageRole, type[BaseMessage]] = {
    MessageRole.SYSTEM: SystemMessage,
    MessageRole.DEVELOPER: SystemMessage,
    MessageRole.USER: HumanMessage,
}
_RESULTS = (MessageRole.TOOL, MessageRole.FUNCTION)


def to_langchain(messages: Sequence[ChatMessage]) -> list[BaseMessage]:
    """Turn LlamaIndex messages into LangChain's, tool calls and tool results included.

    Raises:
        InvalidRequestError: a block that is not text, or a tool result that does not say which call it answers.

    >>> to_langchain([ChatMessage("hello")])
    [HumanMessage(content='hello', additional_kwargs={}, response_metadata={})]
    """
    return [_message(message) for message in messages]


def _message(message: ChatMessage) -> BaseMessage:
    text = "\n".join(part for block in message.blocks for part in _texts(block, message.role))
    if message.role in _ROLES:
        return _ROLES[message.role](content=text)
    if message.role in _RESULTS:
        call_id = message.additional_kwargs.get("tool_call_id")
        if not isinstance(call_id, str):
            raise InvalidRequestError(
                f"A tool result has to name its call: additional_kwargs['tool_call_id'] is {call_id!r}. "
                "Pass the tool_call_id of the assistant's ToolCallBlock."
            )
        return ToolMessage(content=text, tool_call_id=call_id)
    calls = [
        {"name": block.tool_name, "args": arguments(block), "id": block.tool_call_id}
        for block in message.blocks
        if isinstance(block, ToolCallBlock)
    ]
    return AIMessage(content=text, tool_calls=calls)


def _texts(block: Any, role: MessageRole) -> list[str]:
    if isinstance(block, TextBlock):
        return [block.text]
    if isinstance(block, CitableBlock | CitationBlock):
        return [text for nested in block.nested_blocks for text in _texts(nested, role)]
    # A tool call is handled apart, reasoning is not shown again, and there is no provider's cache.
    if isinstance(block, ToolCallBlock | ThinkingBlock | CachePoint):
        return []
    raise InvalidRequestError(
        f"A {role.value} message has a block of type {block.block_type!r}, but this model reads text only. "
        "Leave the block out or describe it in words."
    )


def arguments(block: ToolCallBlock) -> dict[str, Any]:
    """Return a call's arguments as the decoded object.

    Raises:
        InvalidRequestError: they are text that is not a JSON object.
    """
    if isinstance(block.tool_kwargs, dict):
        return block.tool_kwargs
    decoded = _object(block.tool_kwargs)
    if decoded is None:
        raise InvalidRequestError(
            f"The arguments of the call of {block.tool_name!r} have to be a JSON object, but are "
            f"{block.tool_kwargs!r}. Leave a call that was cut off out of the conversation."
        )
    return decoded


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def to_schema(tool: BaseTool) -> dict[str, Any]:
    """Describe a tool as OpenAI's API does, under the very name that LlamaIndex looks it up by."""
    schema = tool.metadata.to_openai_tool(skip_length_check=True)
    function = {**schema["function"], "name": tool.metadata.get_name()}
    if tool.metadata.fn_schema is not None and (said := unsaid(tool.metadata.fn_schema)) is not None:
        function["parameters"] = {key: said[key] for key in ("type", "properties", "required", "$defs") if key in said}
    return {**schema, "function": function}


def to_response(generation: ChatGenerationChunk, delta: str | None = None) -> ChatResponse:
    """Turn an answer, finished or as far as it has come, into LlamaIndex's form.

    Args:
        generation: the chunks so far, added up; the last one brought a finish reason.
        delta: the text that is new, for a stream.

    Returns:
        The answer. `raw` has model, finish_reason, usage (tokens) and pad (what steered) once it is finished. Tool
        calls are blocks; while they are being written their arguments are those that can be read so far, and one that
        never became valid JSON is no call but an entry of `additional_kwargs["invalid_tool_calls"]`.
    """
    message = cast(AIMessageChunk, generation.message)
    info = generation.generation_info or {}
    finished = "finish_reason" in info
    blocks: list[Any] = [TextBlock(text=message.text)] if message.text or not message.tool_calls else []
    blocks += [
        ToolCallBlock(tool_call_id=call["id"], tool_name=call["name"], tool_kwargs=call["args"])
        for call in message.tool_calls
    ]
    extra: dict[str, Any] = {}
    if message.tool_calls:  # LlamaIndex's streaming programs look for them here
        extra["tool_calls"] = [_openai(call) for call in message.tool_calls]
    if finished and message.invalid_tool_calls:
        extra["invalid_tool_calls"] = [
            {"id": call["id"], "name": call["name"], "arguments": call["args"]} for call in message.invalid_tool_calls
        ]
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=extra),
        delta=delta,
        raw=_raw(info, message) if finished else None,
        logprobs=_logprobs(info["logprobs"]["content"]) if "logprobs" in info else None,
    )


def _openai(call: ToolCall) -> dict[str, Any]:
    written = json.dumps(call["args"], ensure_ascii=False)
    return {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": written}}


def _raw(info: Mapping[str, Any], message: AIMessageChunk) -> dict[str, Any]:
    usage = message.usage_metadata
    assert usage is not None  # the chunk with the finish reason brings it
    return {
        "model": info["model_name"],
        "finish_reason": info["finish_reason"],
        "usage": {
            "prompt_tokens": usage["input_tokens"],
            "completion_tokens": usage["output_tokens"],
            "total_tokens": usage["total_tokens"],
        },
        "pad": info["pad"],
    }


def _logprobs(entries: Sequence[Mapping[str, Any]]) -> list[list[LogProb]]:
    """One list a token: the token chosen, then the candidates that were weighed, best first."""
    return [
        [
            LogProb(token=one["token"], logprob=one["logprob"], bytes=one["bytes"] or [])
            for one in (entry, *entry["top_logprobs"])
        ]
        for entry in entries
    ]
