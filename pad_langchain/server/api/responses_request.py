"""The body of `POST /v1/responses`: read, checked, and turned into the chat request that asks for the same.

What both APIs have is checked there; `named_here` gives a refusal the names that this one has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pad_langchain.server.api.openai import (
    NOTES,
    STRICT,
    CallArguments,
    ChatRequest,
    Message,
    PadOptions,
    Whole,
    refuse_others,
)
from pad_langchain.server.errors import ApiError, translate

__all__ = ["LOGPROBS", "ResponsesRequest", "chat_request", "echo", "named_here"]

M = TypeVar("M", bound=BaseModel)

LOGPROBS = "message.output_text.logprobs"
# OpenAI's fields that we lack, with the values that ask for nothing. null asks for nothing anywhere.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "context_management": ([],),
    "max_tool_calls": (),
    "moderation": (),
    "prompt": (),
    "reasoning": ({}, {"effort": None}, {"effort": None, "summary": None}),
    "service_tier": ("auto", "default"),
    "truncation": ("disabled",),
}
_KEPT = ("conversation", "previous_response_id", "store")
_NOTES = (*NOTES, "prompt_cache_options")
_TEXT_PARTS = {"input_text": "text", "output_text": "text", "refusal": "refusal"}  # type → where its words are


class _StreamOptions(BaseModel):
    model_config = ConfigDict(**STRICT, extra="forbid")

    include_obfuscation: Literal[False] | None = None


class _Text(BaseModel):
    model_config = ConfigDict(**STRICT, extra="forbid")

    format: dict[str, Any] | None = None
    verbosity: Literal["medium"] | None = None


class ResponsesRequest(BaseModel):
    """The body of `POST /v1/responses`."""

    model_config = ConfigDict(**STRICT, extra="allow")

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    include: list[str] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_output_tokens: Whole | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: _Text | None = None
    chat_template_kwargs: dict[str, bool] | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    pad: PadOptions | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _items(cls, input: Any) -> Any:
        items = [input] if isinstance(input, str) else input
        if not isinstance(items, list) or not items or not all(isinstance(each, str | dict) for each in items):
            raise ValueError("input has to be a text, or a list of one item or more, each an object.")
        return input

    @property
    def logprobs(self) -> bool:
        """Whether the answer's tokens are asked for."""
        return LOGPROBS in (self.include or ())


class _Spoken(BaseModel):
    model_config = ConfigDict(**STRICT, extra="allow")

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[dict[str, Any]]
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None
    phase: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _readable(cls, content: Any) -> Any:
        return _texts(content)


class _Called(BaseModel):
    model_config = ConfigDict(**STRICT, extra="allow")

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: CallArguments
    id: str | None = None
    status: str | None = None


class _Returned(BaseModel):
    model_config = ConfigDict(**STRICT, extra="allow")

    type: Literal["function_call_output"]
    call_id: str
    output: str | list[dict[str, Any]]
    id: str | None = None
    status: str | None = None

    @field_validator("output", mode="before")
    @classmethod
    def _readable(cls, output: Any) -> Any:
        return _texts(output)


class _Tool(BaseModel):
    model_config = ConfigDict(**STRICT, extra="allow")

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Format(BaseModel):
    model_config = ConfigDict(**STRICT, extra="allow")

    type: Literal["text", "json_object", "json_schema"]


class _SchemaFormat(BaseModel):
    model_config = ConfigDict(**STRICT, extra="allow")

    type: Literal["json_schema"]
    name: str
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    description: str | None = None
    strict: bool | None = None


def chat_request(body: ResponsesRequest) -> ChatRequest:
    """Return the chat request that asks for the same.

    Raises:
        ApiError: an item, a tool or a form is not known, or a field asks for what is not there.
    """
    _refuse_what_is_not_here(body)
    messages = [] if body.instructions is None else [Message(role="system", content=body.instructions)]
    messages += _messages(body.input)
    if not messages:
        raise ApiError(400, "invalid_value", "input has nothing to answer but thoughts of a model.", param="input")
    return ChatRequest(
        model=body.model,
        messages=messages,
        stream=body.stream,
        max_completion_tokens=body.max_output_tokens,
        temperature=body.temperature,
        top_p=body.top_p,
        logprobs=body.logprobs or None,
        top_logprobs=body.top_logprobs,
        tools=None if body.tools is None else [_tool(tool, f"tools.{n}") for n, tool in enumerate(body.tools)],
        tool_choice=_choice(body.tool_choice),
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=_response_format(body.text),
        chat_template_kwargs=body.chat_template_kwargs,
        user=body.user,
        pad=body.pad,
    )


def echo(body: ResponsesRequest) -> dict[str, Any]:
    """Return what a response repeats of its request, in OpenAI's names; what the request left out is null or empty."""
    form = body.text.format if body.text is not None else None
    return {
        "background": False,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "store": False,
        "temperature": body.temperature,
        "text": {"format": form or {"type": "text"}, "verbosity": "medium"},
        "tool_choice": body.tool_choice or "auto",
        "tools": body.tools or [],
        "top_logprobs": body.top_logprobs or 0,
        "top_p": body.top_p,
        "truncation": "disabled",
        "user": body.user,
    }


def named_here(error: ApiError) -> ApiError:
    """Return a refusal of the chat request under the names that its parts have in the Responses API."""
    if error.code == "context_length_exceeded":
        error.param = "input"
    elif error.param is not None:
        for theirs, here in _NAMES:
            error.param = theirs.sub(here, error.param)
    return error


_NAMES = (
    (re.compile(r"^(tools\.\d+)\.function\b"), r"\1"),
    (re.compile(r"^response_format\.json_schema\b"), "text.format"),
)


def _refuse_what_is_not_here(body: ResponsesRequest) -> None:
    extra = {name: value for name, value in (body.model_extra or {}).items() if name not in _NOTES}
    for name in _KEPT:
        value = extra.pop(name, None)
        if value is not None and value is not False:
            message = f"{name} is not supported: this server keeps no responses. Send the whole conversation in input."
            raise ApiError(400, "unsupported_value", message, param=name)
    refuse_others(extra, _NEUTRAL, ResponsesRequest)
    for name in body.include or ():
        if name != LOGPROBS:
            message = f"include may name {LOGPROBS!r} only, but names {name[:100]!r}."
            raise ApiError(400, "unsupported_value", message, param="include")
    if body.top_logprobs and not body.logprobs:
        message = f'top_logprobs needs include: ["{LOGPROBS}"].'
        raise ApiError(400, "invalid_value", message, param="top_logprobs")
    if body.stream_options is not None and not body.stream:
        raise ApiError(400, "invalid_value", "stream_options needs stream: true.", param="stream_options")


def _messages(input: str | Sequence[Mapping[str, Any]]) -> list[Message]:
    """The items of a conversation as messages. A call joins the assistant's message before it."""
    if isinstance(input, str):
        return [Message(role="user", content=input)]
    messages: list[Message] = []
    for place, item in enumerate(input):
        param = f"input.{place}"
        match item.get("type", "message"):
            case "message":
                said = _read(_Spoken, item, param)
                messages.append(Message(role=said.role, content=said.content))
            case "function_call":
                _add_call(messages, _read(_Called, item, param))
            case "function_call_output":
                back = _read(_Returned, item, param)
                messages.append(Message(role="tool", content=back.output, tool_call_id=back.call_id))
            case "reasoning":
                pass  # what a model thought is not shown to it again
            case other:
                message = (
                    "An item of input has to be a message, function_call, function_call_output or reasoning, but its "
                    f"type is {str(other)[:100]!r}."
                )
                raise ApiError(400, "unsupported_value", message, param=f"{param}.type")
    return messages


def _add_call(messages: list[Message], call: _Called) -> None:
    made = {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
    before = messages.pop() if messages and messages[-1].role == "assistant" else Message(role="assistant", content="")
    calls = [each.model_dump() for each in before.tool_calls or ()]
    said = {"role": "assistant", "content": before.content, "tool_calls": [*calls, made]}
    messages.append(Message.model_validate(said))


def _texts(content: Any) -> Any:
    """Text parts as the chat API has them; texts pass."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError("it has to be a text or a list of text parts.")
    parts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        words = _TEXT_PARTS.get(kind) if isinstance(kind, str) else None
        if words is None or not isinstance(part.get(words), str):
            raise ValueError(
                f'a part has to be {{"type": "input_text", "text": …}} or output_text, but its type is {kind!r}. '
                "This model reads text only."
            )
        parts.append({"type": words, words: part[words]})
    return parts


def _tool(tool: Mapping[str, Any], param: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        message = f"A tool has to be of type 'function', but is {str(tool.get('type'))[:100]!r}."
        raise ApiError(400, "unsupported_value", message, param=f"{param}.type")
    read = _read(_Tool, tool, param, {"defer_loading": (False,), "allowed_callers": (["direct"],)})
    return {"type": "function", "function": read.model_dump(include={"name", "description", "parameters", "strict"})}


def _choice(choice: str | Mapping[str, Any] | None) -> Any:
    if choice is None or isinstance(choice, str):
        return choice
    if choice.get("type") != "function" or not isinstance(choice.get("name"), str):
        message = 'tool_choice has to be "none", "auto", "required" or {"type": "function", "name": …}.'
        raise ApiError(400, "unsupported_value", message, param="tool_choice")
    return {"type": "function", "function": {"name": choice["name"]}}


def _response_format(text: _Text | None) -> dict[str, Any] | None:
    if text is None or text.format is None:
        return None
    if text.format.get("type") != "json_schema":
        return {"type": _read(_Format, text.format, "text.format").type}
    read = _read(_SchemaFormat, text.format, "text.format")
    said = read.model_dump(by_alias=True, include={"name", "description", "schema_", "strict"}, exclude_none=True)
    return {"type": "json_schema", "json_schema": said}


def _read(model: type[M], data: Mapping[str, Any], param: str, neutral: Mapping[str, tuple[Any, ...]] = {}) -> M:
    """Read a part of the request; what is wrong is told at its place."""
    try:
        read = model.model_validate(data)
    except ValidationError as error:
        told = translate(error)
        place = param if told.param is None else f"{param}.{told.param}"
        message = told.message.removeprefix(f"{told.param}: ")
        raise ApiError(400, told.code, f"{place}: {message}", param=place) from None
    refuse_others(read.model_extra or {}, neutral, model, f"{param}.")
    return read
