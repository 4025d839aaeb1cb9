"""What callers say about tools: which there are, and whether one has to be called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pad_langchain.chat.tools.schemas import written
from pad_langchain.errors import InvalidRequestError

__all__ = ["check_tools", "tool_choice_of"]


def check_tools(tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Check OpenAI-style function tools and return them as dicts.

    Raises:
        InvalidRequestError: a tool is not a function with a name, two share a name, or parameters are no JSON schema.
    """
    names: list[str] = []
    for tool in tools:
        function = tool.get("function") if isinstance(tool, Mapping) else None
        if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
            raise InvalidRequestError(
                'A tool has to be {"type": "function", "function": {"name": …, "parameters": …}}, but is '
                f"{tool!r}. Tools that a provider runs, like web search, do not exist on a local model."
            )
        if not isinstance(function.get("parameters") or {}, Mapping):
            raise InvalidRequestError(
                f"The parameters of tool {function['name']!r} have to be a JSON schema, a dict, but are "
                f"{function['parameters']!r}."
            )
        written(function.get("parameters") or {}, f"tool {function['name']!r}")
        names.append(function["name"])
    if double := sorted({name for name in names if names.count(name) > 1}):
        raise InvalidRequestError(f"Tools need different names, but {double!r} occur more than once. Rename one.")
    return [dict(tool) for tool in tools]


def tool_choice_of(choice: Any, names: Sequence[str]) -> str:
    """Read any of LangChain's and OpenAI's forms of `tool_choice`.

    Returns:
        "auto", "required", "none" or one of `names`.

    Raises:
        InvalidRequestError: none of these.

    >>> tool_choice_of({"type": "function", "function": {"name": "add"}}, ["add"])
    'add'
    """
    asked = choice
    if isinstance(choice, Mapping):
        inner = choice.get("function", choice)
        asked = inner.get("name") or inner.get("type")
    if asked is None or asked is False:
        return "auto"
    if asked is True:
        return "required"
    if isinstance(asked, str):
        asked = {"any": "required"}.get(asked, asked) if asked not in names else asked
        if asked in ("auto", "required", "none") or asked in names:
            return asked
    raise InvalidRequestError(
        f"tool_choice has to be 'auto', 'any', 'required', 'none' or the name of a tool ({list(names)!r}), but is "
        f"{choice!r}."
    )
