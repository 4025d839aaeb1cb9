"""Deltas of a turn → LangChain's chunks."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from pad_langchain.chat.turn import Delta

__all__ = ["chunk_of"]


def chunk_of(delta: Delta, model_name: str) -> ChatGenerationChunk:
    """Turn one delta into a chunk; only the last one carries usage, finish reason, model and what steered.

    Args:
        model_name: reported in the last chunk.
    """
    info: dict[str, Any] = {}
    if delta.logprobs:
        info["logprobs"] = {"content": list(delta.logprobs)}
    if delta.usage is None:
        return ChatGenerationChunk(message=_message(delta), generation_info=info or None)
    # Only the last chunk has these: chunks are added up, and added strings would be joined.
    info |= {"finish_reason": delta.finish, "model_name": model_name, "pad": delta.pad}
    usage = UsageMetadata(
        input_tokens=delta.usage.prompt_tokens,
        output_tokens=delta.usage.completion_tokens,
        total_tokens=delta.usage.total_tokens,
    )
    message = _message(delta, usage_metadata=usage, chunk_position="last")
    return ChatGenerationChunk(message=message, generation_info=info)


def _message(delta: Delta, **fields: Any) -> AIMessageChunk:
    return AIMessageChunk(
        content=delta.text,
        additional_kwargs={"reasoning_content": delta.reasoning} if delta.reasoning else {},
        tool_call_chunks=[
            tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index) for call in delta.calls
        ],
        **fields,
    )
