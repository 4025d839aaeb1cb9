"""LangChain messages → the dicts a chat template takes, checked and in an order the template accepts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, BaseMessage, ToolMessage, convert_to_openai_messages

from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.models.prompts import Prompts

__all__ = [
    "ChatDict",
    "fit_template",
    "last_user_text",
    "merge_runs",
    "to_chat_dicts",
    "with_preferences",
    "with_system",
]

ChatDict = dict[str, Any]

# Blocks that carry no text of their own: a tool call is in `tool_calls` already, reasoning is not shown again.
_SILENT_BLOCKS = frozenset({"tool_use", "tool_call", "function_call", "reasoning", "thinking"})


def to_chat_dicts(messages: Sequence[BaseMessage]) -> list[ChatDict]:
    """Turn messages into chat-template dicts: `role`, `content` as one string, tool-call arguments as dicts.

    Args:
        messages: at least one message; text only.

    Returns:
        One dict a message, roles `system`, `user`, `assistant`, `tool`.

    Raises:
        InvalidRequestError: no message, an image or other non-text block, text that is not valid Unicode, or a tool
            result whose call is not in the conversation.

    >>> from langchain_core.messages import HumanMessage
    >>> to_chat_dicts([HumanMessage("hello")])
    [{'role': 'user', 'content': 'hello'}]
    """
    if not messages:
        raise InvalidRequestError("There is nothing to answer: the list of messages is empty. Pass at least one.")
    _check_results(messages)
    dicts = convert_to_openai_messages(list(messages), text_format="string")
    for message in dicts:
        message["content"] = _text(message)
        for call in message.get("tool_calls", ()):
            arguments = call["function"]["arguments"]
            # Chat templates render arguments themselves and want the decoded object.
            call["function"]["arguments"] = json.loads(arguments) if isinstance(arguments, str) else arguments
    return dicts


def _check_results(messages: Sequence[BaseMessage]) -> None:
    called: set[str | None] = set()
    for message in messages:
        if isinstance(message, AIMessage):
            called |= {call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)}
        elif isinstance(message, ToolMessage) and message.tool_call_id not in called:
            raise InvalidRequestError(
                f"A tool result answers the call {message.tool_call_id!r}, but no assistant message before it made "
                f"that call (calls so far: {sorted(str(each) for each in called)!r}). Keep the assistant message with "
                "its tool_calls in the history when you trim it."
            )


def _text(message: ChatDict) -> str:
    content = message.get("content") or ""
    if not isinstance(content, str):
        parts = []
        for block in content:
            kind = "text" if isinstance(block, str) else block.get("type", "")
            if kind == "text":
                parts.append(block if isinstance(block, str) else block["text"])
            elif kind not in _SILENT_BLOCKS:
                raise InvalidRequestError(
                    f"A {message['role']} message has a block of type {kind!r}, but this model reads text only. "
                    "Leave the block out or describe it in words."
                )
        content = "\n".join(parts)
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"A {message['role']} message is not valid Unicode at character {error.start}: "
            f"{content[error.start : error.end]!r}. Decode the text with errors='replace' first."
        ) from error
    return content


def merge_runs(messages: Sequence[Mapping[str, Any]]) -> list[ChatDict]:
    """Rewrite a conversation for strict templates: no system turn, and no two turns of one role in a row.

    System texts go in front of the first user turn, neighbours of one role are joined by a blank line. Turns with tool
    calls and tool results are kept apart, because joining them would lose which result belongs to which call.
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    merged: list[ChatDict] = []
    for message in messages:
        if message["role"] == "system":
            continue
        last = merged[-1] if merged else None
        joinable = message["role"] in ("user", "assistant") and not message.get("tool_calls")
        if last is not None and joinable and last["role"] == message["role"] and not last.get("tool_calls"):
            last["content"] = "\n\n".join((last["content"], message["content"]))
        else:
            merged.append(dict(message))
    if not system:
        return merged
    if merged and merged[0]["role"] == "user":
        merged[0]["content"] = "\n\n".join((*system, merged[0]["content"]))
        return merged
    return [{"role": "user", "content": "\n\n".join(system)}, *merged]


def fit_template(
    prompts: Prompts, messages: Sequence[ChatDict], tools: Sequence[Mapping[str, Any]] | None = None
) -> tuple[list[ChatDict], list[int]]:
    """Render `messages` as they are if the model's chat template takes them, else merged by `merge_runs`.

    Returns:
        The messages in the form that was taken, and the prompt's token ids.

    Raises:
        InvalidRequestError: the tokenizer has no chat template, or the template refuses both forms.
    """
    try:
        return list(messages), prompts.render(messages, tools)
    except InvalidRequestError:
        merged = merge_runs(messages)
        if merged == list(messages):
            raise
    return merged, prompts.render(merged, tools)


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user turn, what the memory chooses preferences for; "" when there is none."""
    return next((str(message["content"]) for message in reversed(messages) if message["role"] == "user"), "")


def with_preferences(messages: Sequence[ChatDict], preferences: Sequence[tuple[str, float]]) -> list[ChatDict]:
    """Tell the model the preferences in words: a system turn, or an addition to the one that opens the conversation.

    Args:
        messages: the conversation.
        preferences: (text, weight) pairs. A negative weight is worded as something to avoid; 0 is left out.
    """
    told = " ".join(
        f"The user {'prefers' if weight > 0 else 'does not want'}: {text}." for text, weight in preferences if weight
    )
    return with_system(messages, told)


def with_system(messages: Sequence[ChatDict], told: str) -> list[ChatDict]:
    """Tell the model something in a system turn, or in the one that opens the conversation; "" changes nothing."""
    if not told:
        return list(messages)
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": "\n\n".join((messages[0]["content"], told))}, *messages[1:]]
    return [{"role": "system", "content": told}, *messages]
