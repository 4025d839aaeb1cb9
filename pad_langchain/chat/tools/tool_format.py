"""How one model's chat template writes tool calls.

tool_format(engine) → ToolFormat ── grammar(…) → Request.grammar
                                 └─ parser(…)  → AnswerParser: push(text) → Piece(text, reasoning, calls)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pad_langchain.chat.tools.answer_parser import AnswerParser, call_head
from pad_langchain.chat.tools.schemas import closed
from pad_langchain.chat.tools.template_inspection import FAMILIES, Affixes, TemplateFacts, study
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.engine.grammar import Grammar
    from pad_langchain.engine.protocol import Engine

__all__ = ["ToolFormat", "tool_format"]


@dataclass(frozen=True, eq=False)
class ToolFormat:
    """How one model writes tool calls and reasoning.

    Args:
        engine: whose tokenizer parses and compiles.
        facts: what the chat template shows.
        affixes: how a call is written; None where the calls are not JSON with a name.
        template: transformers' response template, of the tokenizer or the caller; None means one made from `facts`.
    """

    engine: Engine
    facts: TemplateFacts
    affixes: Affixes | None
    template: Mapping[str, Any] | None

    def told(self, tools: Sequence[Mapping[str, Any]]) -> str:
        """The tools in words for the model's system turn; "" where the chat template shows them."""
        if self.affixes is None or self.facts.shows_tools:
            return ""
        functions = json.dumps([tool["function"] for tool in tools], ensure_ascii=False)
        return (
            f"You can call these functions: {functions}\nTo call one, write nothing but "
            f"{self.affixes.example('function name', '{argument name: value}')}"
        )

    def retell(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The conversation with calls and results as text where the chat template knows none, else as it is."""
        if self.affixes is None or self.facts.shows_tools or self.facts.affixes is not None:
            return [dict(message) for message in messages]
        told: list[dict[str, Any]] = []
        names: dict[str, str] = {}
        for message in messages:
            calls = message.get("tool_calls") or ()
            names |= {call["id"]: call["function"]["name"] for call in calls}
            if calls:
                written = (self.affixes.example(**call["function"]) for call in calls)
                text = "\n".join((*filter(None, [message["content"]]), *written))
                told.append({"role": "assistant", "content": text})
            elif message["role"] == "tool":
                text = f"{names.get(message['tool_call_id'], 'The function')} returned: {message['content']}"
                told.append({"role": "user", "content": text})
            else:
                told.append(dict(message))
        return told

    def grammar(
        self,
        tools: Sequence[Mapping[str, Any]],
        choice: str = "auto",
        parallel: bool | None = None,
        answer_schema: Mapping[str, Any] | None = None,
    ) -> Grammar | None:
        """The grammar for an answer that may, or must, call `tools`; None where only parsing is possible.

        Args:
            choice: "auto", "required" or a tool's name. Reasoning may come before the model's own choice.
            parallel: whether several calls may follow each other; None means yes for "auto", no for a forced call.
            answer_schema: with "auto", an answer that is not a call is JSON of this schema instead of text.

        Raises:
            InvalidRequestError: a schema cannot be compiled, or the model's format cannot be enforced.
        """
        if self.affixes is None:
            if self.template is None:
                raise InvalidRequestError(
                    "The model's chat template writes tool calls in a form that is not JSON. Say how to read them with "
                    f"response_template= (transformers' response template, or one of {sorted(FAMILIES)!r})."
                )
            if choice != "auto" or answer_schema is not None:
                raise InvalidRequestError(
                    "This model does not write tool calls as JSON with a name, so a call cannot be forced "
                    f"(tool_choice {choice!r}). Use tool_choice='auto' or method='json_schema'."
                )
            return None
        if choice not in ("auto", "required"):
            tools, choice = [tool for tool in tools if tool["function"]["name"] == choice], "required"
        several = choice == "auto" if parallel is None else parallel
        thought = self.facts.thought
        if thought is not None:
            thought = ("", thought[1]) if self.facts.thinking else thought if choice == "auto" else None
        return _compiled(
            self.engine.grammars,
            self.affixes,
            json.dumps([_closed_tool(tool) for tool in tools]),
            choice,
            several,
            None if answer_schema is None else json.dumps(answer_schema),
            thought,
        )

    def visible_tokens(self, *, calls: bool = True) -> frozenset[int]:
        """Ids of the special tokens that stand around reasoning and, with `calls`, in and around calls."""
        marks: list[str] = []
        if self.template is not None:
            # The start anchor is the prompt's. Patterns name a token as it is, or with its signs escaped.
            written = list(_strings({key: value for key, value in self.template.items() if key != "start_anchor"}))
            marks += [*written, *(re.sub(r"\\(.)", r"\1", text) for text in written)]
        elif calls and self.affixes is not None:
            marks += [self.affixes.begin, self.affixes.separator or "", self.affixes.end, *(self.affixes.between or ())]
        if self.template is None:
            marks += self.facts.thought or ()
        added = self.engine.tokenizer.added_tokens_decoder
        special = {index: token.content for index, token in added.items() if token.special}
        return frozenset(index for index, text in special.items() if text and any(text in mark for mark in marks))

    def parser(
        self, prompt_ids: Sequence[int], tools: Sequence[Mapping[str, Any]] = (), *, calls: bool = True
    ) -> AnswerParser:
        """A parser for one answer to this prompt; without `calls` it reads none, only reasoning and text."""
        prefix = self.engine.tokenizer.decode(list(prompt_ids))
        if self.template is None:
            affixes = self.affixes if calls else None
            template, head = self.facts.template(affixes), affixes.head if affixes else None
        else:
            template, head = _bare_bodies(self.template)
        parser = self.engine.tokenizer.get_response_parser(template, prefix=prefix, tools=list(tools) or None)
        return AnswerParser(parser, head)


def _strings(value: Any) -> Iterator[str]:
    """Every string in nested dicts and lists, keys not counted."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(item)


@lru_cache(maxsize=128)
def _compiled(
    grammars: Any,
    affixes: Affixes,
    tools: str,
    choice: str,
    parallel: bool,
    answer_schema: str | None,
    thought: tuple[str, str] | None,
) -> Grammar:
    """Agents ask with the same tools again and again."""
    return grammars.tool_calls(
        json.loads(tools),
        choice=choice,
        parallel=parallel and affixes.separator is not None,
        begin=affixes.begin,
        end=affixes.end,
        separator=affixes.separator or "",
        name_key=affixes.name_key,
        arguments_key=affixes.arguments_key,
        between=affixes.between,
        thought=thought,
        otherwise=None if answer_schema is None else json.loads(answer_schema),
    )


def _closed_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    function = tool["function"]
    # Further arguments, which JSON Schema allows unless told, are noise that no function takes.
    parameters = function.get("parameters") or {}
    return {
        "function": {**function, "parameters": parameters if function.get("strict") is False else closed(parameters)}
    }


_studied: WeakKeyDictionary[Engine, dict[str, TemplateFacts]] = WeakKeyDictionary()
_STUDIED_AT_MOST = 32  # ways of one template's switches that are kept


def tool_format(
    engine: Engine,
    response_template: Mapping[str, Any] | str | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
) -> ToolFormat:
    """Find out how the engine's model writes tool calls. Costs some milliseconds once for a tokenizer.

    Args:
        response_template: transformers' response template for parsing, or the name of a family that writes calls as the
            model does; None means the tokenizer's own, else what the chat template shows. A chat template without tools
            gets them in words, and calls are bare JSON objects.
        template_kwargs: the chat template's switches, with which it may write otherwise.

    Raises:
        InvalidRequestError: an unknown name, or a switch that the chat template does not have.
    """
    facts = _facts(engine, template_kwargs or {})
    if isinstance(response_template, str):
        if response_template not in FAMILIES:
            raise InvalidRequestError(
                f"response_template has to be a dict or one of {sorted(FAMILIES)!r}, but is {response_template!r}."
            )
        return ToolFormat(engine, facts, FAMILIES[response_template], None)
    template = response_template or getattr(engine.tokenizer, "response_template", None)
    affixes = facts.affixes
    if affixes is None and template is None and not facts.shows_tools:
        affixes = FAMILIES["gemma"]
    return ToolFormat(engine, facts, affixes, template)


def _facts(engine: Engine, template_kwargs: Mapping[str, Any]) -> TemplateFacts:
    known = _studied.setdefault(engine, {})
    key = json.dumps(dict(template_kwargs), sort_keys=True)
    if key not in known:
        engine.prompts.check_switches(template_kwargs)
        if len(known) >= _STUDIED_AT_MOST:
            known.clear()
        known[key] = study(engine, template_kwargs)
    return known[key]


def _bare_bodies(template: Mapping[str, Any]) -> tuple[dict[str, Any], re.Pattern[str] | None]:
    """The template with the calls' JSON objects left as text and their head's pattern, where they are such objects.

    transformers parses them when they end and raises on half a call; read here, they stream.
    """
    fields = dict(template.get("fields", {}))
    calls = dict(fields.get("tool_calls", {}))
    plain = calls.get("transform") == {"type": "function", "function": "{content}"}
    if calls.get("content") != "json" or not plain or calls.get("content_args"):
        return dict(template), None
    fields["tool_calls"] = {**calls, "content": "text"}
    del fields["tool_calls"]["transform"]
    return {**template, "fields": fields}, call_head("name", "arguments")
