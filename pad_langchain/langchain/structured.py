"""`with_structured_output`: a schema in any of LangChain's forms → a bound model and a parser for its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.tools import BaseTool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from pad_langchain.chat.tools.schemas import model_schema, unsaid
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

__all__ = ["METHODS", "json_schema_of", "openai_tool", "structured_output"]

METHODS = ("json_schema", "function_calling", "json_mode")


def structured_output(
    llm: BaseChatModel,
    schema: Any,
    *,
    method: str = "json_schema",
    include_raw: bool = False,
    strict: bool | None = None,
    **kwargs: Any,
) -> Runnable[Any, Any]:
    """Bind `schema` to a chat model and parse what it answers.

    Args:
        schema: a pydantic model (v2 or v1), a TypedDict, a JSON schema or an OpenAI function; None with "json_mode" is
            any object.
        method: "json_schema" tells the model the schema, "function_calling" shows it as a tool, "json_mode" tells it
            nothing (say in the prompt what you want). The answer is bound to the schema in all three.
        include_raw: return `{"raw": message, "parsed": …, "parsing_error": …}` instead of raising.
        strict: False allows keys that the schema does not name; else objects are closed.
        kwargs: settings for each call (`temperature`, …).

    Raises:
        InvalidRequestError: unknown method, or no schema.
    """
    if method not in METHODS:
        raise InvalidRequestError(f"method has to be one of {METHODS!r}, but is {method!r}.")
    if schema is None and method != "json_mode":
        raise InvalidRequestError(f"method {method!r} needs a schema. Pass one, or method='json_mode' for any object.")
    pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    parser: Runnable[Any, Any]
    if method == "function_calling":
        tool = openai_tool(_titled(schema), strict)
        name = tool["function"]["name"]
        bound = llm.bind_tools(
            [tool], tool_choice=name, parallel_tool_calls=False, ls_structured_output_format=traced, **kwargs
        )
        if pydantic:
            parser = _PydanticCall(tools=[schema], first_tool_only=True)
        else:
            parser = _JsonCall(key_name=name, first_tool_only=True)
    else:
        form = json_schema_of(schema) if schema is not None else None
        if method == "json_mode":
            response_format: dict[str, Any] = {"type": "json_object", **({"schema": form} if form else {})}
        else:
            inner = {"name": (form or {}).get("title", "answer"), "schema": form, "strict": strict}
            response_format = {"type": "json_schema", "json_schema": inner}
        bound = llm.bind(response_format=response_format, ls_structured_output_format=traced, **kwargs)
        parser = _PydanticText(pydantic_object=schema) if pydantic else _JsonText()
    if not include_raw:
        return bound | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")


def json_schema_of(schema: Any) -> dict[str, Any]:
    """The JSON schema of a pydantic model, a TypedDict, an OpenAI function or a JSON schema itself."""
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return model_schema(schema)  # with its $defs, so that recursive models work
    if isinstance(schema, Mapping) and not _is_function(schema):
        return dict(schema)
    return convert_to_json_schema(schema)


def openai_tool(tool: Any, strict: bool | None = None) -> dict[str, Any]:
    """A tool in any of LangChain's forms as OpenAI writes it.

    Where a pydantic model checks more than it says, see `model_schema`, the parameters say it.
    """
    converted = convert_to_openai_tool(tool, strict=strict)
    if isinstance(tool, Mapping) or "function" not in converted:
        return converted
    model = tool.tool_call_schema if isinstance(tool, BaseTool) else tool
    if not isinstance(tool, type | BaseTool):
        model = create_schema_from_function(
            converted["function"]["name"],
            tool,
            parse_docstring=True,
            error_on_invalid_docstring=False,
            filter_args=(),
            include_injected=False,
        )
    schema = unsaid(model)
    if schema is None:
        return converted
    function = converted["function"]
    named = {"title": function["name"], "description": function.get("description", "")}
    return convert_to_openai_tool({**schema, **named}, strict=strict)


def _is_function(schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == "function" or {"name", "parameters"} <= schema.keys()


def _titled(schema: Any) -> Any:
    """A function needs a name, which LangChain takes from the title."""
    plain = isinstance(schema, Mapping) and not _is_function(schema) and "title" not in schema
    return {"title": "answer", **schema} if plain else schema


class _Complete:
    """Refuses an answer that was cut off, where LangChain's parsers would complete its JSON and go on."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        if not partial:
            _check_complete(result[0])
        return super().parse_result(result, partial=partial)  # type: ignore[misc]


class _JsonText(_Complete, JsonOutputParser):
    pass


class _PydanticText(_Complete, PydanticOutputParser):
    pass


class _JsonCall(_Complete, JsonOutputKeyToolsParser):
    pass


class _PydanticCall(_Complete, PydanticToolsParser):
    pass


def _check_complete(generation: Generation) -> None:
    message = generation.message if isinstance(generation, ChatGeneration) else None
    if isinstance(message, AIMessage) and message.tool_calls and not message.invalid_tool_calls:
        return
    if isinstance(message, AIMessage) and message.invalid_tool_calls:
        text = str(message.invalid_tool_calls[0]["args"])
    else:
        text = generation.text
        try:
            json.loads(text)
            return
        except ValueError:
            pass
    reason = message.response_metadata.get("finish_reason") if message is not None else None
    raise OutputParserException(
        f"The answer is not complete JSON (finish_reason {reason!r}): {text!r}. Raise max_tokens, or set maxLength and "
        "maxItems in the schema.",
        llm_output=text,
    )
