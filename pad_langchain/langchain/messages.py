"""LangChain's messages → the dicts of a conversation."""

from __future__ import annotations

from collections.abc import Sequence

from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages

from pad_langchain.chat.messages import ChatDict, chat_dicts

__all__ = ["to_chat_dicts"]


def to_chat_dicts(messages: Sequence[BaseMessage]) -> list[ChatDict]:
    """Turn messages into chat-template dicts: `role`, `content` as one string, tool-call arguments as dicts.

    Args:
        messages: at least one message; see `chat_dicts` for blocks that are no text.

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
    # Core knows the roles and the calls; blocks it reads for OpenAI's servers, and raises at those it does not know.
    bare = convert_to_openai_messages([message.model_copy(update={"content": ""}) for message in messages])
    return chat_dicts([_with_content(dict_, message) for dict_, message in zip(bare, messages, strict=True)], cut_off)


def _with_content(converted: ChatDict, message: BaseMessage) -> ChatDict:
    role = {"developer": "system"}.get(converted["role"], converted["role"])
    audio = message.additional_kwargs.get("audio")
    return {**converted, "role": role, "content": message.content, **({} if audio is None else {"audio": audio})}
