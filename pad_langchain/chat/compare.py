"""The two answers of a memory's question: the same prompt, answered under opposite preferences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pad_langchain.chat.condition import steering
from pad_langchain.chat.messages import ChatDict, last_user_text
from pad_langchain.chat.options import CallOptions
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.chat.chat import Chat
    from pad_memory.profile.elicitation import Question

__all__ = ["both_sides", "two_answers"]


def two_answers(chat: Chat, question: Question, prompt: str, options: CallOptions) -> tuple[str, str]:
    """Answer `prompt` under the question's first and second preferences, all else alike; see `both_sides`.

    Returns:
        The first and the second answer, for `question.choice`. They may be equal where the question's dimensions
        change nothing for this prompt: then ask another.
    """
    messages = [{"role": "user", "content": prompt}]
    turns = [chat.submit(messages, side) for side in both_sides(chat, question, messages, options)]
    first, second = (turn.result().text for turn in turns)
    return first, second


def both_sides(
    chat: Chat, question: Question, messages: Sequence[ChatDict], options: CallOptions
) -> tuple[CallOptions, CallOptions]:
    """The options of the two calls that a question compares. Blocks while the memory is read.

    Args:
        chat: is to answer both, in one batch; its memory asked the question.
        question: from `memory.next_question(user)`.
        messages: what is to be answered, as `chat_dicts` makes it.
        options: of both calls: whom it was asked, in which conversation, beta for example.

    Raises:
        InvalidRequestError: the chat has no memory, or the options name no user.
    """
    said = options.over(chat.settings)
    if chat.memory is None or said.user_id is None:
        raise InvalidRequestError(
            f"Two answers are compared for a user of a memory, but the memory is {chat.memory!r} and user_id "
            f"{said.user_id!r}. Make the chat with a memory, and name the user."
        )
    asked = last_user_text(messages)
    known = steering(replace(said, preference=None), chat.settings, asked, vectors=False)
    others = [
        (one.preference.text, one.preference.weight)
        for one in known
        if one.key is not None and one.key.partition(":")[0] not in question.dimensions
    ]
    first, second = (
        replace(options, preference=[*others, *((text, 1.0) for text in side)])
        for side in (question.first, question.second)
    )
    return first, second
