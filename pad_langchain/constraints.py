"""What a call binds an answer to: tools it may or must call, a JSON schema, and how its text is read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pad_langchain.answer_parser import AnswerParser
from pad_langchain.errors import InvalidRequestError
from pad_langchain.schemas import answer_schema, schema_told
from pad_langchain.tool_calls import ToolFormat, check_tools, tool_choice_of, tool_format

if TYPE_CHECKING:
    from pad_langchain.engine.engine import Engine
    from pad_langchain.engine.grammar import Grammar

__all__ = ["Constraint", "constrain"]


@dataclass(frozen=True, eq=False)
class Constraint:
    """How one answer is bound.

    Args:
        tools: what the chat template shows the model; empty: nothing.
        grammar: masks illegal tokens; None: free text.
        told: what the model is told in the system turn; "": nothing.
        format: how the answer's text is split into text and calls; None: all of it is text.
    """

    tools: list[dict[str, Any]]
    grammar: Grammar | None
    told: str
    format: ToolFormat | None

    def parser(self, prompt_ids: Sequence[int]) -> AnswerParser | None:
        """A parser for the answer to this prompt; None where nothing has to be parsed."""
        return None if self.format is None else self.format.parser(prompt_ids, self.tools)


def constrain(
    engine: Engine,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    tool_choice: Any = None,
    parallel_tool_calls: bool | None = None,
    response_format: Mapping[str, Any] | None = None,
    response_template: Mapping[str, Any] | str | None = None,
) -> Constraint:
    """Turn OpenAI-style call settings into a constraint for one engine.

    Args:
        tools: function tools, see `check_tools`.
        tool_choice: see `tool_choice_of`; "none" hides the tools.
        parallel_tool_calls: whether several calls may follow each other; None: only where no call is forced.
        response_format: JSON instead of text, see `answer_schema`; next to tools it binds answers that call none.
        response_template: how answers are parsed, see `tool_format`.

    Raises:
        InvalidRequestError: a setting is out of range or a schema cannot be compiled.
    """
    shown = check_tools(tools or ())
    names = [tool["function"]["name"] for tool in shown]
    choice = tool_choice_of(tool_choice, names)
    if choice == "required" and not shown:
        raise InvalidRequestError(f"tool_choice is {tool_choice!r}, but there are no tools. Pass some to bind_tools.")
    schema = answer_schema(response_format)
    told = schema_told(response_format)
    if shown and choice != "none":
        how = tool_format(engine, response_template)
        return Constraint(shown, how.grammar(shown, choice, parallel_tool_calls, schema), told, how)
    if schema is not None:
        return Constraint([], _compiled(engine.grammars, json.dumps(schema)), told, None)
    templated = response_template or getattr(engine.tokenizer, "response_template", None)
    return Constraint([], None, told, tool_format(engine, response_template) if templated else None)


@lru_cache(maxsize=128)
def _compiled(grammars: Any, schema: str) -> Grammar:
    return grammars.json_schema(json.loads(schema))
