"""Conversations as the dicts a chat template takes: checked, in an order it accepts, with wishes told in words."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pad_langchain.chat.blocks import Content, read_content
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.prompts import in_place

if TYPE_CHECKING:
    from pad_langchain.models.prompts import Prompts

__all__ = [
    "ChatDict",
    "chat_dicts",
    "fit_template",
    "last_user_text",
    "merge_runs",
    "user_texts",
    "with_preferences",
    "with_preferences_at_end",
    "with_system",
]

ChatDict = dict[str, Any]

_SEVERAL = re.compile(r"[.!?:;]\s+\S")  # sentences
_QUOTES = re.compile('[“”„"]')


def chat_dicts(messages: Sequence[Mapping[str, Any]], cut_off: Collection[str | None] = ()) -> list[ChatDict]:
    """Turn OpenAI-style messages into chat-template dicts: `content` as one string, arguments of calls decoded.

    What another provider's model said beside its words is left out with a debug log: thoughts, tools that ran at the
    provider, citations, pictures. Refusals are words, and tool calls and results in blocks become calls and turns.

    Args:
        messages: at least one message with `role`, one of `system`, `user`, `assistant`, `tool`.
        cut_off: ids of calls that were made but are not shown, because their arguments are no JSON.

    Raises:
        InvalidRequestError: no message, an image or other non-text block that no assistant has answered yet, text that
            is not valid Unicode, or a tool result whose call is not in the conversation.

    >>> chat_dicts([{"role": "user", "content": [{"type": "text", "text": "hello"}]}])
    [{'role': 'user', 'content': 'hello'}]
    """
    if not messages:
        raise InvalidRequestError("There is nothing to answer: the list of messages is empty. Pass at least one.")
    last = max((place for place, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    dicts: list[ChatDict] = []
    cut = list(cut_off)
    for place, message in enumerate(messages):
        past = place <= last and message["role"] != "system"
        content = read_content(message.get("content") or "", message["role"], past=past)
        cut += content.cut_off
        dicts += _chat_dicts(message, content)
    _check_results(dicts, cut)
    return dicts


def _check_results(messages: Sequence[Mapping[str, Any]], cut_off: Collection[str | None]) -> None:
    called = set(cut_off)
    for message in messages:
        called |= {call.get("id") for call in message.get("tool_calls") or ()}
        if message["role"] == "tool" and message.get("tool_call_id") not in called:
            raise InvalidRequestError(
                f"A tool result answers the call {message.get('tool_call_id')!r}, but no assistant message before it "
                f"made that call (calls so far: {sorted(str(each) for each in called)!r}). Keep the assistant message "
                "with its tool_calls in the history when you trim it."
            )


def _chat_dicts(message: Mapping[str, Any], content: Content) -> list[ChatDict]:
    """One message; the results of calls in its blocks are turns of their own in front of it."""
    role = message["role"]
    results = [{**result, "content": _valid("tool", result["content"])} for result in content.results]
    text = _valid(role, content.text or _spoken(message))
    if results and not text:
        return results
    copy = {**message, "content": text}
    for said in ("refusal", "audio"):
        copy.pop(said, None)
    calls = [_decoded(call) for call in message.get("tool_calls") or ()]
    known = {call.get("id") for call in calls}
    if role == "assistant":
        calls += [call for call in content.calls if call["id"] not in known]
    if calls or "tool_calls" in message:
        copy["tool_calls"] = calls
    return [*results, copy]


def _spoken(message: Mapping[str, Any]) -> str:
    """The words of a message without content: OpenAI keeps a refusal and what was said aloud beside it."""
    audio = message.get("audio")
    return str(message.get("refusal") or (audio.get("transcript") if isinstance(audio, Mapping) else "") or "")


def _decoded(call: Mapping[str, Any]) -> dict[str, Any]:
    """A call with its arguments as an object: chat templates render them themselves."""
    arguments = call["function"]["arguments"]
    decoded = json.loads(arguments) if isinstance(arguments, str) else arguments
    return {**call, "function": {**call["function"], "arguments": decoded}}


def _valid(role: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequestError(
            f"A {role} message is not valid Unicode at character {error.start}: "
            f"{text[error.start : error.end]!r}. Decode the text with errors='replace' first."
        ) from error
    return text


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
    prompts: Prompts,
    messages: Sequence[ChatDict],
    tools: Sequence[Mapping[str, Any]] | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
) -> tuple[list[ChatDict], list[int]]:
    """Render `messages` as they are if the model's chat template takes them, else merged by `merge_runs`.

    Returns:
        The messages in the form that was taken, and the prompt's token ids.

    Raises:
        InvalidRequestError: the tokenizer has no chat template, or the template refuses both forms or a switch.
    """
    try:
        return list(messages), prompts.render(messages, tools, template_kwargs)
    except InvalidRequestError:
        merged = merge_runs(messages)
        if merged == list(messages):
            raise
    return merged, prompts.render(merged, tools, template_kwargs)


def last_user_text(messages: Sequence[Mapping[str, Any]]) -> str:
    """Return the text of the last user turn, what the memory chooses preferences for; "" when there is none."""
    return next((str(message["content"]) for message in reversed(messages) if message["role"] == "user"), "")


def user_texts(messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the texts of the user's turns, the oldest first."""
    return [str(message["content"]) for message in messages if message["role"] == "user"]


def with_preferences(messages: Sequence[ChatDict], preferences: Sequence[tuple[str, float]]) -> list[ChatDict]:
    """Tell the model the preferences in words: a system turn, or an addition to the one that opens the conversation.

    Args:
        messages: the conversation.
        preferences: (text, weight) pairs. A negative weight is worded as something to avoid; 0 is left out.
    """
    return with_system(messages, _in_words(preferences))


def with_preferences_at_end(
    messages: Sequence[ChatDict], preferences: Sequence[tuple[str, float]], quoted: str = ""
) -> list[ChatDict]:
    """Tell the model the preferences at the end of the last user turn; nothing where there is no user turn.

    Wishes stand in brackets, as a human adds them: "What is rain? (Be brief.)". A small model does what is written so
    more often than what "The user prefers: …" says, and does not repeat it in its answer. What is quoted comes after
    them, as a paragraph of its own.

    Args:
        messages: the conversation before it is fitted to a template, so that a user turn is what a human said.
        preferences: (text, weight) pairs. A negative weight is worded as something to avoid; 0 is left out.
        quoted: data about the user (see `routes.quoted`); "" is none.
    """
    told = _in_brackets(preferences)
    last = max((place for place, message in enumerate(messages) if message["role"] == "user"), default=None)
    if last is None or not (told or quoted):
        return list(messages)
    said = messages[last]["content"]
    if told:
        said = ("\n\n" if "\n" in said else " ").join((said, told))
    asked = {**messages[last], "content": "\n\n".join(filter(None, (said, quoted)))}
    return [*messages[:last], asked, *messages[last + 1 :]]


def _in_words(preferences: Sequence[tuple[str, float]]) -> str:
    told = [(_as_words(text), weight) for text, weight in preferences if weight]
    return " ".join(
        f"The user {'prefers' if weight > 0 else 'does not want'}: {text}." for text, weight in told if text
    )


def _as_words(text: str) -> str:
    """A wish for the system turn; one of several sentences in quotes, so that none of them reads as the operator's."""
    wish = in_place(text)
    if not _SEVERAL.search(wish):
        return wish
    inner = _QUOTES.sub("'", wish)
    return f"“{inner}”"


def _in_brackets(preferences: Sequence[tuple[str, float]]) -> str:
    told = [(in_place(text), weight) for text, weight in preferences if weight]
    wishes = [f"{'' if weight > 0 else 'Not wanted: '}{text}" for text, weight in told if text]
    sentences = [wish[:1].upper() + wish[1:] + ("" if wish.endswith((".", "!", "?")) else ".") for wish in wishes]
    return f"({' '.join(sentences)})" if sentences else ""


def with_system(messages: Sequence[ChatDict], told: str) -> list[ChatDict]:
    """Tell the model something in a system turn, or in the one that opens the conversation; "" changes nothing."""
    if not told:
        return list(messages)
    if messages and messages[0]["role"] == "system":
        return [{**messages[0], "content": "\n\n".join((messages[0]["content"], told))}, *messages[1:]]
    return [{"role": "system", "content": told}, *messages]
