"""Content in blocks, as any provider writes them → words, calls, results of calls; the rest is left out or refused."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pad_langchain.errors import InvalidRequestError

__all__ = ["Content", "log_left_out", "read_content", "refuse_block"]

logger = logging.getLogger(__name__)

_WORDS = frozenset({"text", "input_text", "output_text", "text-plain"})
_CALLS = frozenset({"tool_call", "tool_use", "function_call", "custom_tool_call"})
_HALF_CALLS = frozenset({"tool_call_chunk", "invalid_tool_call", "input_json_delta"})
_RESULTS = frozenset({"tool_result", "function_call_output", "custom_tool_call_output"})
# Blocks around other blocks.
_WRAPPERS = frozenset({"citations_content", "document", "guard_content", "message", "non_standard", "search_result"})
# What no model is meant to read again, whoever's turn it is in: thoughts, sources, caches, tools that a provider ran.
_SILENT = frozenset(
    {
        *("reasoning", "reasoning_content", "thinking", "redacted_thinking", "citation", "non_standard_annotation"),
        *("cache", "cache_point", "reference", "tool_reference", "compaction", "item_reference"),
        *("server_tool_call", "server_tool_call_chunk", "server_tool_result", "server_tool_use", "mcp_tool_use"),
        *("executable_code", "code_execution_result", "mcp_list_tools"),
    }
)


@dataclass
class Content:
    """What blocks say.

    Args:
        texts: their words, one entry a block.
        calls: tool calls in OpenAI's form, with an id each.
        results: results of calls, as messages of role `tool`.
        cut_off: ids of calls that never became whole.
    """

    texts: list[str] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    cut_off: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        """All words, a line for each block."""
        return "\n".join(self.texts)


def read_content(content: Any, role: str, *, past: bool) -> Content:
    """Read a message's content: a string, or blocks of LangChain, Anthropic, OpenAI, Bedrock, Gemini or Mistral.

    Args:
        role: who speaks, for messages.
        past: whether the conversation went on after what cannot be read, such as a picture: then it is left out with a
            debug log, for an answer to it is there.

    Raises:
        InvalidRequestError: a block that cannot be read and that is to be answered now.

    >>> read_content([{"type": "redacted_thinking", "data": "…"}, {"text": "Yes."}], "assistant", past=True).text
    'Yes.'
    """
    found = Content()
    if isinstance(content, str):
        found.texts.append(content)
        return found
    if isinstance(content, Mapping) or not isinstance(content, Iterable):
        raise InvalidRequestError(
            f"The content of a {role} message has to be a string or a list of blocks, but is {content!r}."
        )
    for block in content:
        _read(block, role, past, found)
    return found


def log_left_out(kind: str, role: str) -> None:
    """Log, for whoever debugs, that a block is not shown to the model."""
    logger.debug("A %s message has a block of type %r without text to read: left out.", role, kind)


def refuse_block(kind: str, role: str) -> InvalidRequestError:
    """The error for a block that somebody wants an answer to and that the model cannot read."""
    return InvalidRequestError(
        f"A {role} message has a block of type {kind!r}, but this model reads text only. "
        "Leave the block out or describe it in words."
    )


def _read(block: Any, role: str, past: bool, found: Content) -> None:
    if isinstance(block, str):
        found.texts.append(block)
        return
    if not isinstance(block, Mapping):
        raise InvalidRequestError(
            f"A block of a {role} message has to be a string or a dict, but is {type(block).__name__}."
        )
    kind, body = _opened(block)
    if kind in _CALLS or kind in _HALF_CALLS:
        _read_call(kind, body, found)
    elif kind in _RESULTS:
        found.results.append(_result(body, past))
    elif (words := _words(kind, body, block)) is not None:
        found.texts.append(words)
    elif (inner := _inner(kind, body)) is not None:
        for each in inner:
            _read(each, role, past, found)
    elif past or _silent(kind, block):
        log_left_out(kind, role)
    else:
        raise refuse_block(kind, role)


def _opened(block: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """A block's kind, and the mapping with its fields: providers write them beside the kind or under it."""
    kind = block.get("type")
    if not isinstance(kind, str):
        # Bedrock's and Gemini's own blocks are named by their key: {"toolUse": {…}}, {"text": "…"}.
        marks = ("thought", "thought_signature", "thoughtSignature", "qualifiers")
        key = "text" if "text" in block else next((key for key in block if key not in marks), "")
        kind = re.sub(r"(?<=[a-z])[A-Z]", lambda letter: "_" + letter[0], str(key)).lower()
        if block.get("thought") is True:
            kind = "thinking"
        body = block.get(key)
    else:
        body = block.get(kind)
    return kind, body if isinstance(body, Mapping) else block


def _words(kind: str, body: Mapping[str, Any], block: Mapping[str, Any]) -> str | None:
    """A block's own words; None means it has none."""
    if kind == "refusal":
        words = body.get("refusal")
    elif kind == "json":
        words = json.dumps(body if body is not block else body.get("json"), ensure_ascii=False, default=str)
    elif kind in _WORDS or kind in ("file", "guard_content", "search_result"):
        words = body.get("text")
    elif kind == "function_response":
        words = json.dumps(body.get("response"), ensure_ascii=False, default=str)
    else:
        words = None
    return words if isinstance(words, str) and words else None


def _inner(kind: str, body: Mapping[str, Any]) -> list[Any] | None:
    """The blocks within a block; None means it has none."""
    if kind not in _WRAPPERS:
        return None
    if kind == "document":
        source = body.get("source")
        if isinstance(source, Mapping) and source.get("type") in ("text", "content", None):
            inner = next((source[key] for key in ("content", "text", "data") if key in source), None)
        else:
            inner = None
    else:
        inner = next((body[key] for key in ("value", "content", "text") if key in body), None)
    if isinstance(inner, str | Mapping):
        return [inner]
    return list(inner) if isinstance(inner, Sequence) and not isinstance(inner, bytes) else None


def _silent(kind: str, block: Mapping[str, Any]) -> bool:
    empty = kind == "refusal" or (kind in _WORDS and kind != "text-plain" and not block.get("text"))
    return empty or kind in _SILENT or kind.endswith(("_tool_result", "_call"))


def _read_call(kind: str, body: Mapping[str, Any], found: Content) -> None:
    identity = next((body[key] for key in ("call_id", "id", "toolUseId") if isinstance(body.get(key), str)), None)
    if identity is None:  # LangChain gives it one, in the message's tool_calls
        return
    arguments: Any = next((body[key] for key in ("args", "input", "arguments") if key in body), {})
    if isinstance(arguments, str) and kind != "custom_tool_call":
        try:
            arguments = json.loads(arguments or "{}")
        except ValueError:
            arguments = None
    elif isinstance(arguments, str):
        arguments = {"input": arguments}
    if kind in _HALF_CALLS or not isinstance(arguments, Mapping):
        found.cut_off.append(identity)
        return
    function = {"name": str(body.get("name")), "arguments": dict(arguments)}
    found.calls.append({"type": "function", "id": identity, "function": function})


def _result(body: Mapping[str, Any], past: bool) -> dict[str, Any]:
    identity = next((body[key] for key in ("tool_use_id", "toolUseId", "call_id") if key in body), None)
    content = next((body[key] for key in ("content", "output") if body.get(key)), "")
    return {"role": "tool", "tool_call_id": identity, "content": read_content(content, "tool", past=past).text}
