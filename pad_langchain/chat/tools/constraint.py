"""What a call binds an answer to: tools it may or must call, a JSON schema, and how its text is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pad_langchain.chat.messages import ChatDict, fit_template, with_system
from pad_langchain.chat.tools.answer_parser import AnswerParser
from pad_langchain.chat.tools.schemas import answer_schema, schema_told, written
from pad_langchain.chat.tools.tool_format import ToolFormat, tool_format
from pad_langchain.chat.tools.tools import check_tools, tool_choice_of
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.engine.grammar import Grammar
    from pad_langchain.engine.protocol import Engine

__all__ = ["Constraint", "constrain"]


@dataclass(frozen=True, eq=False)
class Constraint:
    """How one answer is bound.

    Args:
        tools: what the model may call; empty: nothing.
        grammar: masks illegal tokens; None means free text.
        told: what the model is told in the system turn; "": nothing.
        format: how the model's chat template writes calls and reasoning.
        parsed: whether the answer's text is split into text, reasoning and calls; else all of it is text.
        template_kwargs: the chat template's switches.
    """

    tools: list[dict[str, Any]]
    grammar: Grammar | None
    told: str
    format: ToolFormat
    parsed: bool
    template_kwargs: Mapping[str, Any]

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The tools for the chat template; where it shows none, they are in `told`."""
        return self.tools if self.format.facts.shows_tools else []

    @property
    def calls_begin(self) -> str | None:
        """What the model writes before a call, "" where it writes nothing; None where the answer is no call."""
        return None if not self.tools or self.format.affixes is None else self.format.affixes.begin

    def render(self, messages: Sequence[ChatDict]) -> tuple[list[ChatDict], list[int]]:
        """The conversation in the form the model's chat template takes, and the prompt's token ids.

        Raises:
            InvalidRequestError: the template refuses the conversation.
        """
        return self.fit(with_system(self.format.retell(messages), self.told))

    def fit(self, messages: Sequence[ChatDict]) -> tuple[list[ChatDict], list[int]]:
        """The same for a conversation that has been told all."""
        return fit_template(self.format.engine.prompts, messages, self.shown, self.template_kwargs)

    def visible_tokens(self) -> frozenset[int]:
        """The special tokens that the parser reads, for `Request.visible`; none where nothing has to be parsed."""
        return self.format.visible_tokens(calls=bool(self.tools)) if self.parsed else frozenset()

    def parser(self, prompt_ids: Sequence[int]) -> AnswerParser | None:
        """A parser for the answer to this prompt; None where nothing has to be parsed."""
        return self.format.parser(prompt_ids, self.tools, calls=bool(self.tools)) if self.parsed else None


def constrain(
    engine: Engine,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    tool_choice: Any = None,
    parallel_tool_calls: bool | None = None,
    response_format: Mapping[str, Any] | None = None,
    response_template: Mapping[str, Any] | str | None = None,
    template_kwargs: Mapping[str, Any] | None = None,
) -> Constraint:
    """Turn OpenAI-style call settings into a constraint for one engine.

    Args:
        tools: function tools, see `check_tools`.
        tool_choice: see `tool_choice_of`; "none" hides the tools.
        parallel_tool_calls: whether several calls may follow each other; None means only where no call is forced.
        response_format: JSON instead of text, see `answer_schema`; next to tools it binds answers that call none.
        response_template: how answers are parsed, see `tool_format`.
        template_kwargs: the chat template's switches, such as `enable_thinking`.

    Raises:
        InvalidRequestError: a setting is out of range or a schema cannot be compiled.
    """
    shown = check_tools(tools or ())
    names = [tool["function"]["name"] for tool in shown]
    choice = tool_choice_of(tool_choice, names)
    if choice == "required" and not shown:
        raise InvalidRequestError(f"tool_choice is {tool_choice!r}, but there are no tools. Pass some to bind_tools.")
    schema = answer_schema(response_format)
    text = None if schema is None else written(schema, "the answer")
    told = schema_told(response_format)
    switches = dict(template_kwargs or {})
    how = tool_format(engine, response_template, switches)
    if shown and choice != "none":
        grammar = how.grammar(shown, choice, parallel_tool_calls, schema)
        words = "\n\n".join(filter(None, (how.told(shown), told)))
        return Constraint(shown, grammar, words, how, True, switches)
    if text is not None:
        return Constraint([], _compiled(engine.grammars, text), told, how, False, switches)
    return Constraint([], None, told, how, bool(how.template or how.facts.thought), switches)


@lru_cache(maxsize=128)
def _compiled(grammars: Any, schema: str) -> Grammar:
    return grammars.json_schema(json.loads(schema))
