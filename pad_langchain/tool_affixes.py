"""What a chat template writes around a tool call, found by rendering one, and response templates for some families."""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.engine.engine import Engine

__all__ = ["RESPONSE_TEMPLATES", "Affixes", "find_affixes"]

_JSON_CALL = {"repeats": True, "content": "json", "transform": {"type": "function", "function": "{content}"}}

# For tokenizers that bring none and whose chat template does not give the format away.
RESPONSE_TEMPLATES: dict[str, dict[str, Any]] = {
    # {"name": …, "parameters": {…}} and nothing around it
    "llama-3": {
        "defaults": {"role": "assistant"},
        "start_anchor": "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "fields": {
            "tool_calls": {"open_pattern": r'\A(?:<\|python_tag\|>)?\s*(?=\{\s*"name"\s*:)', **_JSON_CALL},
            "content": {"close_pattern": r"<\|(?:eot|eom)_id\|>", "content": "text"},
        },
    },
    # [TOOL_CALLS]name[ARGS]{…}
    "mistral": {
        "defaults": {"role": "assistant"},
        "start_anchor": ["[/INST]", "[/TOOL_RESULTS]"],
        "fields": {
            "tool_calls": {
                "open_pattern": r"\[TOOL_CALLS\](?P<name>[\w.-]+)(?:\[CALL_ID\]\w+)?\[ARGS\]\s*",
                "close_pattern": r"(?=\[TOOL_CALLS\])|</s>",
                "repeats": True,
                "content": "json",
                "transform": {"type": "function", "function": {"name": "{name}", "arguments": "{content}"}},
            },
            "content": {"close": "</s>", "content": "text"},
        },
    },
}


@dataclass(frozen=True)
class Affixes:
    """What stands around the JSON object of a call: `{begin}{"name": …, "arguments": …}{end}`.

    Args:
        begin, end: text before and after; either may be empty.
        separator: text between two calls; None: the template does not repeat begin and end for each.
        name_key, arguments_key: the object's keys.
        anchor: what the template writes before an answer.
    """

    begin: str
    end: str
    separator: str | None
    name_key: str
    arguments_key: str
    anchor: str

    def template(self) -> dict[str, Any]:
        """A response template for transformers' parser."""
        if self.begin.strip():
            # Blanks before a call are the separator, not the answer's text.
            opens = r"\s*" + re.escape(self.begin.lstrip())
        else:
            opens = rf'\A\s*(?=\{{\s*"{re.escape(self.name_key)}"\s*:)'
        call: dict[str, Any] = {"open_pattern": opens, **_JSON_CALL}
        if self.end:
            call["close"] = self.end
        return {
            "defaults": {"role": "assistant"},
            "start_anchor": self.anchor,
            "fields": {"tool_calls": call, "content": {"content": "text"}},
        }


_ASKED, _NAME, _KEY, _VALUE = "sentinelquestion", "sentinelname", "sentinelkey", "sentinelvalue"
_TOOL = {
    "type": "function",
    "function": {
        "name": _NAME,
        "description": "d",
        "parameters": {"type": "object", "properties": {_KEY: {"type": "string"}}, "required": [_KEY]},
    },
}


def find_affixes(engine: Engine) -> Affixes | None:
    """Render a call through the chat template and cut around it; None where it is no JSON object with a name."""
    asked = [{"role": "user", "content": _ASKED}]
    try:
        before = _render(engine, asked)
        one = _answer(before, _render(engine, [*asked, *_turns(1)]))
        objects = _objects(one)
    except InvalidRequestError:  # the template knows no tools
        return None
    if not objects:
        return None
    start, stop, (name_key, arguments_key) = objects[0]
    begin, end = one[:start], _until_end(one[stop:], engine)
    return Affixes(begin, end, _separator(engine, asked, before, begin, end), name_key, arguments_key, _anchor(before))


def _separator(engine: Engine, asked: list[dict[str, Any]], before: str, begin: str, end: str) -> str | None:
    try:
        two = _answer(before, _render(engine, [*asked, *_turns(2)]))
    except InvalidRequestError:  # such as Llama's: one call at a time
        return None
    objects = _objects(two)
    if len(objects) < 2:
        return None
    between = two[objects[0][1] : objects[1][0]]
    if len(between) < len(begin) + len(end) or not between.startswith(end) or not between.endswith(begin):
        return None
    separator = between[len(end) : len(between) - len(begin)]
    return separator if begin and not re.search(r"[^\s,;]", separator) else None


def _turns(count: int) -> list[dict[str, Any]]:
    # Nine letters and digits: the strictest rule of a template, Mistral's.
    ids = [f"sentinel{number}" for number in range(count)]
    function = {"name": _NAME, "arguments": {_KEY: _VALUE}}
    calls = [{"type": "function", "id": call_id, "function": function} for call_id in ids]
    results = [{"role": "tool", "tool_call_id": call_id, "name": _NAME, "content": "result"} for call_id in ids]
    return [{"role": "assistant", "content": "", "tool_calls": calls}, *results]


def _render(engine: Engine, messages: Sequence[Mapping[str, Any]]) -> str:
    return engine.tokenizer.decode(engine.prompts.render(messages, [_TOOL]))


def _answer(before: str, whole: str) -> str:
    """The part of `whole` that the model would have written after the prompt `before`."""
    if whole.startswith(before):
        return whole[len(before) :]
    # The prompt prefills something that history leaves out: go back to where a line or a token ends.
    common = os.path.commonprefix([before, whole])  # noqa: RUF071
    return whole[max(common.rfind("\n"), common.rfind(">"), common.rfind("]")) + 1 :]


def _objects(text: str) -> list[tuple[int, int, tuple[str, str]]]:
    """Start, end and (name key, arguments key) of every JSON object that is the sentinel call."""
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
            found.append((start, stop, (names[0], arguments[0])))
            position = stop
    return found


def _until_end(text: str, engine: Engine) -> str:
    """`text` up to the token that ends a turn."""
    ends = [engine.tokenizer.decode([token]) for token in engine._eos]
    places = [text.find(end) for end in ends if end and end in text]
    return text[: min(places)] if places else text.split("\n", 1)[0]


def _anchor(before: str) -> str:
    """What the template writes between the question and the answer."""
    return before.rpartition(_ASKED)[2] or "\n"
