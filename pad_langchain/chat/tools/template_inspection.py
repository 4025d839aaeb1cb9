"""How a chat template writes tool calls and reasoning, found by rendering it, and how some families do."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from pad_langchain.chat.tools.answer_parser import call_head
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.engine.protocol import Engine

__all__ = ["FAMILIES", "Affixes", "TemplateFacts", "study"]

_BARE_CALL = {"repeats": True, "content": "text"}


@dataclass(frozen=True)
class Affixes:
    """How a call is written: `{begin}{"name": …, "arguments": …}{end}`, or `{begin}name{between}{arguments}{end}`.

    Args:
        begin, end: text before and after; either may be empty.
        separator: text between two calls; None means the template does not repeat begin and end for each.
        name_key, arguments_key: the object's keys.
        between: what stands between the name and the arguments where they are not in one object; two texts have the
            call's id between them.
    """

    begin: str
    end: str
    separator: str | None
    name_key: str = "name"
    arguments_key: str = "arguments"
    between: tuple[str, ...] | None = None

    @cached_property
    def head(self) -> re.Pattern[str]:
        """Matches a call without `begin`, up to where its arguments begin; the group `name` is JSON or plain text."""
        if self.between is None:
            return call_head(self.name_key, self.arguments_key)
        return re.compile(r"\s*(?P<name>[^\s{]+?)" + r"\w+".join(map(re.escape, self.between)) + r"\s*(?=\{)")

    def field(self) -> dict[str, Any]:
        """The field `tool_calls` of a response template for transformers' parser; a call is given as text."""
        if self.begin.strip():
            # Blanks before a call are the separator, not the answer's text.
            opens = r"\s*" + re.escape(self.begin.lstrip())
        else:
            opens = rf'\A\s*(?=\{{\s*"{re.escape(self.name_key)}"\s*:)'
        if self.end:
            return {"open_pattern": opens, "close": self.end, **_BARE_CALL}
        if self.begin.strip():
            return {"open_pattern": opens, "close_pattern": rf"(?={re.escape(self.begin.strip())})", **_BARE_CALL}
        return {"open_pattern": opens, **_BARE_CALL}

    def example(self, name: str, arguments: Any) -> str:
        """A call as the model is to write it."""
        written = json.dumps(arguments, ensure_ascii=False) if isinstance(arguments, Mapping) else str(arguments)
        if self.between is None:
            body = f'{{"{self.name_key}": {json.dumps(name)}, "{self.arguments_key}": {written}}}'
        else:
            body = name + self.between[0] + written
        return self.begin + body + self.end


# For models whose chat template does not give the format away.
FAMILIES: dict[str, Affixes] = {
    "gemma": Affixes("", "", None, arguments_key="parameters"),
    "llama-3": Affixes("", "", None, arguments_key="parameters"),
    "mistral": Affixes("[TOOL_CALLS]", "", "", between=("[ARGS]",)),
    "qwen": Affixes("<tool_call>\n", "\n</tool_call>", "\n"),
}


@dataclass(frozen=True)
class TemplateFacts:
    """What rendering a chat template shows.

    Args:
        affixes: how it writes calls; None where they are not JSON with a name before or in it.
        shows_tools: whether it tells the model which tools there are.
        anchor: what it writes between a question and the answer.
        thought: what stands around reasoning; None where the template knows none.
        thinking: whether the prompt ends within reasoning, which the answer has to end first.
    """

    affixes: Affixes | None
    shows_tools: bool
    anchor: str
    thought: tuple[str, str] | None
    thinking: bool

    def template(self, affixes: Affixes | None) -> dict[str, Any]:
        """A response template for transformers' parser, with calls if `affixes` says how they are written."""
        fields: dict[str, Any] = {"content": {"content": "text"}}
        if affixes is not None:
            fields["tool_calls"] = affixes.field()
        if self.thought is not None:
            opens, closes = (re.escape(tag) for tag in self.thought)
            fields["reasoning_content"] = {
                "open_pattern": rf"\s*{opens}\s*",
                "close_pattern": rf"\s*{closes}\s*",
                "content": "text",
            }
        return {"defaults": {"role": "assistant"}, "start_anchor": self.anchor, "fields": fields}


_ASKED, _NAME, _KEY, _VALUE = "sentinelquestion", "sentinelname", "sentinelkey", "sentinelvalue"
_ID = "sentinel"  # with a digit nine letters and digits: the strictest rule of a template, Mistral's
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "d",
        "parameters": {"type": "object", "properties": {_KEY: {"type": "string"}}, "required": [_KEY]},
    },
}


_Render = Callable[[Sequence[Mapping[str, Any]]], str]

# The tags of every open-weights family that reasons in the answer's text.
_THOUGHT = ("<think>", "</think>")


def study(engine: Engine, template_kwargs: Mapping[str, Any] | None = None) -> TemplateFacts:
    """Render a question, a tool and a call through the engine's chat template, and read what comes out.

    Args:
        template_kwargs: the template's switches; with others it may write otherwise.
    """
    render = partial(_render, engine, template_kwargs or {})
    asked = [{"role": "user", "content": _ASKED}]
    try:
        before = render(asked)
    except InvalidRequestError:  # it refuses tools, or conversations that begin like this
        before = ""
    shows_tools = _NAME in before
    affixes = _affixes(engine, render, asked, before) if before else None
    opening = before.rpartition(_ASKED)[2]
    if _THOUGHT[1] not in str(engine.tokenizer.chat_template):
        return TemplateFacts(affixes, shows_tools, opening or "\n", None, False)
    # Reasoning that the prompt begins belongs to the answer.
    anchor, opened, rest = opening.partition(_THOUGHT[0])
    return TemplateFacts(affixes, shows_tools, anchor or "\n", _THOUGHT, bool(opened) and _THOUGHT[1] not in rest)


def _affixes(engine: Engine, render: _Render, asked: list[dict[str, Any]], before: str) -> Affixes | None:
    """Cut around a call; None where it is not JSON with a name."""
    try:
        one = _answer(before, render([*asked, *_turns(1)]))
    except InvalidRequestError:  # the template takes tools, but no calls
        return None
    calls = _objects(one) or _named(one)
    if not calls:
        return None
    start, stop, form = calls[0]
    begin, end = one[:start], _until_end(one[stop:], engine)
    if "between" in form and not _marked(engine, begin):
        return None
    return Affixes(begin, end, _separator(render, asked, before, begin, end), **form)


def _marked(engine: Engine, begin: str) -> bool:
    """Whether a token of its own says that a call begins; where words do, text would have to be marked as well."""
    return any(begin.lstrip().startswith(token.content) for token in engine.tokenizer.added_tokens_decoder.values())


def _separator(render: _Render, asked: list[dict[str, Any]], before: str, begin: str, end: str) -> str | None:
    try:
        two = _answer(before, render([*asked, *_turns(2)]))
    except InvalidRequestError:  # such as Llama's: one call at a time
        return None
    calls = _objects(two) or _named(two)
    if len(calls) < 2:
        return None
    between = two[calls[0][1] : calls[1][0]]
    if len(between) < len(begin) + len(end) or not between.startswith(end) or not between.endswith(begin):
        return None
    separator = between[len(end) : len(between) - len(begin)]
    return separator if begin and not re.search(r"[^\s,;]", separator) else None


def _turns(count: int) -> list[dict[str, Any]]:
    ids = [f"{_ID}{number}" for number in range(count)]
    function = {"name": _NAME, "arguments": {_KEY: _VALUE}}
    calls = [{"type": "function", "id": call_id, "function": function} for call_id in ids]
    results = [{"role": "tool", "tool_call_id": call_id, "name": _NAME, "content": "result"} for call_id in ids]
    return [{"role": "assistant", "content": "", "tool_calls": calls}, *results]


def _render(engine: Engine, template_kwargs: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> str:
    return str(engine.tokenizer.decode(engine.prompts.render(messages, (_TOOL,), template_kwargs)))


def _answer(before: str, whole: str) -> str:
    """The part of `whole` that the model would have written after the prompt `before`."""
    if whole.startswith(before):
        return whole[len(before) :]
    # The prompt prefills something that history leaves out: go back to where a line or a token ends.
    common = os.path.commonprefix([before, whole])  # noqa: RUF071
    return whole[max(common.rfind("\n"), common.rfind(">"), common.rfind("]")) + 1 :]


def _objects(text: str) -> list[tuple[int, int, dict[str, Any]]]:
    """Start, end and keys of every JSON object that is the sentinel call."""
    found = []
    position = 0
    while (start := text.find("{", position)) >= 0:
        position = start + 1
        try:
            value, stop = json.JSONDecoder().raw_decode(text, start)
        except ValueError:
            continue
        names = [key for key, item in value.items() if item == _NAME]
        arguments = [key for key, item in value.items() if item == {_KEY: _VALUE}]
        if names and arguments:
            found.append((start, stop, {"name_key": names[0], "arguments_key": arguments[0]}))
            position = stop
    return found


def _named(text: str) -> list[tuple[int, int, dict[str, Any]]]:
    """Start, end and `between` of every sentinel call whose name stands before its arguments."""
    found = []
    for match in re.finditer(rf"{_NAME}(?P<between>[^{{]+){{[^{{}}]*}}", text):
        arguments = text[match.end("between") : match.end()]
        try:
            called = json.loads(arguments) == {_KEY: _VALUE}
        except ValueError:
            continue
        if called:
            between = tuple(re.split(rf"{_ID}\d", match["between"]))
            found.append((match.start(), match.end(), {"between": between}))
    return found


def _until_end(text: str, engine: Engine) -> str:
    """`text` up to the token that ends a turn."""
    ends = [engine.tokenizer.decode([token]) for token in engine.end_tokens]
    places = [text.find(end) for end in ends if end and end in text]
    return text[: min(places)] if places else text.split("\n", 1)[0]
