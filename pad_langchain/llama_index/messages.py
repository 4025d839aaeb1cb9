"""LlamaIndex's messages and tools → the dicts of a conversation; deltas of a turn → LlamaIndex's answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.utils.json import parse_partial_json
from llama_index.core.base.llms.types import (
    CachePoint,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    LogProb,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.tools import BaseTool

from pad_langchain.chat.blocks import log_left_out, refuse_block
from pad_langchain.chat.messages import ChatDict, chat_dicts
from pad_langchain.chat.tools.answer_parser import CallDelta
from pad_langchain.chat.tools.schemas import unsaid
from pad_langchain.chat.turn import Delta
from pad_langchain.errors import InvalidRequestError

__all__ = ["arguments", "to_chat_dicts", "to_response", "to_schema"]

_ROLES: Mapping[MessageRole, str] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def to_chat_dicts(messages: Sequence[ChatMessage]) -> list[ChatDict]:
    """Turn LlamaIndex messages into chat-template dicts, tool calls and tool results included.

    Raises:
        InvalidRequestError: a block that is not text and that no assistant has answered yet, a tool result that does
            not say which call it answers, or what `chat_dicts` refuses.

    >>> to_chat_dicts([ChatMessage("hello")])
    [{'role': 'user', 'content': 'hello'}]
    """
    last = max((place for place, message in enumerate(messages) if _role(message) == "assistant"), default=-1)
    return chat_dicts([_chat_dict(message, place <= last) for place, message in enumerate(messages)])


def _role(message: ChatMessage) -> str:
    return _ROLES.get(message.role, "assistant")


def _chat_dict(message: ChatMessage, past: bool) -> ChatDict:
    role, extra = _role(message), message.additional_kwargs
    text = "\n".join(part for block in message.blocks for part in _texts(block, role, past and role != "system"))
    if role == "tool":
        call_id = extra.get("tool_call_id")
        if not isinstance(call_id, str):
            raise InvalidRequestError(
                f"A tool result has to name its call: additional_kwargs['tool_call_id'] is {call_id!r}. "
                "Pass the tool_call_id of the assistant's ToolCallBlock."
            )
        return {"role": role, "tool_call_id": call_id, "content": text}
    if role != "assistant":
        return {"role": role, "content": text}
    refusal = extra.get("refusal")
    said = {"role": role, "content": text or (refusal if isinstance(refusal, str) else "")}
    calls = [_call(block) for block in message.blocks if isinstance(block, ToolCallBlock)]
    calls = calls or [call for call in extra.get("tool_calls") or () if _is_openai(call)]
    return {**said, "tool_calls": calls} if calls else said


def _is_openai(call: Any) -> bool:
    """Whether it is a call as OpenAI writes it, which other LLMs of LlamaIndex keep beside the blocks."""
    function = call.get("function") if isinstance(call, Mapping) else None
    written = function.get("arguments") if isinstance(function, Mapping) else None
    return isinstance(written, Mapping) or (isinstance(written, str) and _object(written) is not None)


def _call(block: ToolCallBlock) -> dict[str, Any]:
    function = {"name": block.tool_name, "arguments": arguments(block)}
    return {"type": "function", "id": block.tool_call_id, "function": function}


def _texts(block: Any, role: str, past: bool) -> list[str]:
    """A block's words; without any, it is left out if the conversation went on, and refused if not."""
    if isinstance(block, TextBlock):
        return [block.text]
    if isinstance(block, CitableBlock | CitationBlock):
        return [text for nested in block.nested_blocks for text in _texts(nested, role, past)]
    if isinstance(block, DocumentBlock) and block.data and str(block.document_mimetype).startswith("text/"):
        return [block.resolve_document().read().decode(errors="replace")]
    # A tool call is handled apart, reasoning is not shown again, and there is no provider's cache.
    if past or isinstance(block, ToolCallBlock | ThinkingBlock | CachePoint):
        log_left_out(_kind(block), role)
        return []
    raise refuse_block(_kind(block), role)


def _kind(block: Any) -> str:
    return str(getattr(block, "block_type", type(block).__name__))


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


def to_response(answer: Delta, model: str, delta: str | None = None, thinking: str = "") -> ChatResponse:
    """Turn an answer, finished or as far as it has come, into LlamaIndex's form.

    Args:
        answer: the deltas so far, added up; the last one brought a finish reason.
        model: reported when it is finished.
        delta: the text that is new, for a stream.
        thinking: the reasoning that is new, for a stream.

    Returns:
        The answer. `raw` has model, finish_reason, usage (tokens) and pad (what steered) once it is finished. Tool
        calls are blocks; while they are being written their arguments are those that can be read so far, and one that
        never became valid JSON is no call but an entry of `additional_kwargs["invalid_tool_calls"]`.
    """
    readable = [(call, _readable(call.arguments)) for call in answer.calls]
    calls = [
        ToolCallBlock(tool_call_id=call.id, tool_name=call.name or "", tool_kwargs=kwargs)
        for call, kwargs in readable
        if kwargs is not None
    ]
    cut_off = [call for call, kwargs in readable if kwargs is None]
    extra: dict[str, Any] = {}
    if calls:  # LlamaIndex's streaming programs look for them here
        extra["tool_calls"] = [_openai(call) for call in calls]
    if answer.finish and cut_off:
        extra["invalid_tool_calls"] = [_as_written(call) for call in cut_off]
    thought = [ThinkingBlock(content=answer.reasoning)] if answer.reasoning else []
    text = [TextBlock(text=answer.text)] if answer.text or not calls else []
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=[*thought, *text, *calls], additional_kwargs=extra),
        delta=delta,
        additional_kwargs={"thinking_delta": thinking} if thinking else {},  # where LlamaIndex's agents look for it
        raw=_raw(answer, model),
        logprobs=_logprobs(answer.logprobs) if answer.logprobs else None,
    )


def _readable(written: str) -> dict[str, Any] | None:
    """What can be read of a call's arguments while they are written; None means nothing."""
    try:
        # LangChain's parser, which reads more of half an object than LlamaIndex's own.
        value = parse_partial_json(written) if written else {}
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _openai(call: ToolCallBlock) -> dict[str, Any]:
    written = json.dumps(call.tool_kwargs, ensure_ascii=False)
    return {"id": call.tool_call_id, "type": "function", "function": {"name": call.tool_name, "arguments": written}}


def _as_written(call: CallDelta) -> dict[str, Any]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def _raw(answer: Delta, model: str) -> dict[str, Any] | None:
    if answer.usage is None:
        return None
    return {
        "model": model,
        "finish_reason": answer.finish,
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens,
            "completion_tokens": answer.usage.completion_tokens,
            "total_tokens": answer.usage.total_tokens,
        },
        "pad": answer.pad,
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
