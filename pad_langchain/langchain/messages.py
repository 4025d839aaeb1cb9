"""LangChain's messages → the dicts of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages

from pad_langchain.chat.messages import ChatDict, chat_dicts

__all__ = ["to_chat_dicts"]


def to_chat_dicts(messages: Sequence[BaseMessage]) -> list[ChatDict]:
    """Turn messages into chat-template dicts: `role`, `content` as one string, tool-call arguments as dicts.

    Args:
        messages: at least one message; text only.

    Returns:
        One dict per message, roles `system`, `user`, `assistant`, `tool`.

    Raises:
        InvalidRequestError: see `chat_dicts`.

    >>> from langchain_core.messages import HumanMessage
    >>> to_chat_dicts([HumanMessage("hello")])
    [{'role': 'user', 'content': 'hello'}]
    """
    cut_off = [
        call["id"] for message in messages if isinstance(message, AIMessage) for call in message.invalid_tool_calls
    ]
    return chat_dicts(convert_to_openai_messages(list(messages), text_format="string"), cut_off)
