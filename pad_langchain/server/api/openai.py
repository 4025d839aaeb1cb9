"""OpenAI's chat request: read, checked, and turned into a conversation and `CallOptions`. What is unknown is refused.

A field that this server does not have passes where it says what is so anyway (`n: 1`, `store: false`, null), because
clients send many of them. With any other value it is refused by its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from pad_langchain.chat.messages import ChatDict, chat_dicts
from pad_langchain.chat.names import hint
from pad_langchain.server.api.schema_limits import check_schema
from pad_langchain.server.errors import ApiError
from pad_langchain.server.settings import ServerSettings

__all__ = [
    "NOTES",
    "STRICT",
    "CallArguments",
    "ChatRequest",
    "Message",
    "PadOptions",
    "Whole",
    "conversation",
    "options_of",
    "refuse_others",
]

# OpenAI's fields that we lack, with the values that ask for nothing. null asks for nothing anywhere.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "frequency_penalty": (0,),
    "function_call": ("auto", "none"),
    "functions": ([],),
    "logit_bias": ({},),
    "modalities": (["text"],),
    "n": (1,),
    "prediction": (),
    "presence_penalty": (0,),
    "reasoning_effort": (),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "verbosity": ("medium",),
    "web_search_options": (),
}
# Notes for the operator of a server. They change no answer, anywhere.
NOTES = ("metadata", "prompt_cache_key", "prompt_cache_retention", "safety_identifier")
# What clients send back of an answer beside its words.
_NEUTRAL_IN_MESSAGE: dict[str, tuple[Any, ...]] = {"annotations": ([],), "audio": (), "function_call": ()}

STRICT = ConfigDict(strict=True, allow_inf_nan=False)
Whole = Annotated[int, Field(ge=1)]


def _object(arguments: str) -> str:
    try:
        decoded = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        decoded = None
    if not isinstance(decoded, dict):
        raise ValueError("the arguments of a call have to be a JSON object. Leave a call that was cut off out.")
    return arguments or "{}"


CallArguments = Annotated[str, AfterValidator(_object)]


class _Function(BaseModel):
    model_config = ConfigDict(**STRICT, extra="forbid")

    name: str
    arguments: CallArguments


class _ToolCall(BaseModel):
    model_config = ConfigDict(**STRICT, extra="forbid")

    id: str
    type: Literal["function"] = "function"
    function: _Function
    index: int | None = None


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(**STRICT, extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_ToolCall] | None = None
    tool_call_id: str | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _texts(cls, content: Any) -> Any:
        """Let texts and lists of text parts through."""
        if content is None or isinstance(content, str):
            return content
        if not isinstance(content, list):
            raise ValueError("content has to be a text or a list of text parts.")
        for part in content:
            kind = part.get("type") if isinstance(part, dict) else None
            if kind not in ("text", "refusal") or not isinstance(part.get(kind), str):
                raise ValueError(
                    f'a part of content has to be {{"type": "text", "text": …}}, but its type is {kind!r}. '
                    "This model reads text only."
                )
        return content

    def to_dict(self) -> ChatDict:
        """Return the message as `chat_dicts` takes it. What a model thought is not shown to it again."""
        said = self.model_dump(include={"content", "name", "refusal", "tool_call_id"}, exclude_none=True)
        if self.tool_calls:
            said["tool_calls"] = [call.model_dump(exclude={"index"}) for call in self.tool_calls]
        return {**said, "role": "system" if self.role == "developer" else self.role}


class _StreamOptions(BaseModel):
    model_config = ConfigDict(**STRICT, extra="forbid")

    include_usage: bool | None = None
    include_obfuscation: Literal[False] | None = None


class PadOptions(BaseModel):
    """How preferences steer this answer: the fields of `CallOptions` of the same names, and what is kept of it."""

    model_config = ConfigDict(**STRICT, extra="forbid")

    preference: str | list[str | Annotated[list[str | float], Field(min_length=2, max_length=2)]] | None = None
    beta: float | None = None
    alpha: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Whole | None = None
    clip: Annotated[float, Field(gt=0)] | None = None
    best_of: Whole | None = None
    combine: Literal["sum", "max"] | None = None
    condition_base: Literal["auto"] | bool | None = None
    wish_place: Literal["system", "user", "both"] | None = None
    wish_tokens: Annotated[int, Field(ge=0)] | None = None
    selective: bool | None = None
    style_arguments: bool | None = None
    thread_id: str | None = None
    private: bool | Literal["steered"] | None = None


class ChatRequest(BaseModel):
    """The body of `POST /v1/chat/completions`."""

    model_config = ConfigDict(**STRICT, extra="allow")

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    max_completion_tokens: Whole | None = None
    max_tokens: Whole | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: str | list[str] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Literal["none", "auto", "required"] | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    chat_template_kwargs: dict[str, bool] | None = None
    user: str | None = None
    pad: PadOptions | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _stops(cls, stop: Any) -> Any:
        texts = [stop] if isinstance(stop, str) else stop
        if texts is not None and not (
            isinstance(texts, list) and all(isinstance(each, str) and each for each in texts)
        ):
            raise ValueError("stop has to be a text or a list of texts that are not empty.")
        return stop

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with the number of its tokens."""
        return self.stream_options is not None and bool(self.stream_options.include_usage)


def conversation(messages: Sequence[Message]) -> list[ChatDict]:
    """Return the messages as a chat template takes them.

    Raises:
        ApiError: a message has a field that is not read.
        InvalidRequestError: a tool result answers no call, or a text is not valid Unicode.
    """
    for place, message in enumerate(messages):
        refuse_others(message.model_extra or {}, _NEUTRAL_IN_MESSAGE, Message, f"messages.{place}.")
    return chat_dicts([message.to_dict() for message in messages])


def options_of(body: ChatRequest, settings: ServerSettings) -> dict[str, Any]:
    """Return what a request says beside its messages, as keywords of `CallOptions`; who asks is not among them.

    Raises:
        ApiError: a field is not known, not supported, or over the settings' limits.
    """
    extra = {name: value for name, value in (body.model_extra or {}).items() if name not in NOTES}
    refuse_others(extra, _NEUTRAL, ChatRequest)
    _check_together(body)
    _check_limits(body, settings)
    pad = (body.pad or PadOptions()).model_dump(exclude_none=True, exclude={"thread_id"})
    said = {
        "temperature": body.temperature,
        "top_p": body.top_p,
        "seed": body.seed,
        "max_tokens": body.max_completion_tokens or body.max_tokens,
        "stop": body.stop,
        "logprobs": body.logprobs,
        "top_logprobs": body.top_logprobs,
        "tools": [_plain(tool) for tool in body.tools or ()] or None,
        "tool_choice": body.tool_choice,
        "parallel_tool_calls": body.parallel_tool_calls,
        "response_format": body.response_format,
        "chat_template_kwargs": body.chat_template_kwargs,
    }
    return {**{name: value for name, value in said.items() if value is not None}, **pad}


def refuse_others(
    got: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]], model: type[BaseModel], place: str = ""
) -> None:
    """Refuse fields that ask for what is not there.

    Args:
        got: fields that the model does not declare.
        neutral: OpenAI's fields that are not supported, with the values that ask for nothing.
        model: whose fields are suggested where a name is not known.
        place: where the fields are, to stand before their names.

    Raises:
        ApiError: a field has another value, or a name that is not known; null passes anywhere.
    """
    for name, value in got.items():
        if value is None or any(_same(value, known) for known in neutral.get(name, ())):
            continue
        if name in neutral:
            allowed = " or ".join(json.dumps(known) for known in neutral[name]) or "null"
            message = f"{name} has to be {allowed} or left out: this server does not support it."
        else:
            message = f"There is no field {name[:100]!r}.{hint(name[:100], [*model.model_fields, *neutral])}"
        raise ApiError(400, "unsupported_value", message, param=f"{place}{name[:100]}")


def _same(value: Any, known: Any) -> bool:
    return bool(value == known) and isinstance(value, bool) == isinstance(known, bool)


def _check_together(body: ChatRequest) -> None:
    """Refuse fields that contradict each other."""
    if body.stream_options is not None and not body.stream:
        raise _invalid("stream_options", "stream_options needs stream: true.")
    if body.top_logprobs and not body.logprobs:
        raise _invalid("top_logprobs", "top_logprobs needs logprobs: true.")
    if None not in (body.max_tokens, body.max_completion_tokens) and body.max_tokens != body.max_completion_tokens:
        raise _invalid("max_tokens", "max_tokens is the old name of max_completion_tokens: send one of them.")


def _check_limits(body: ChatRequest, settings: ServerSettings) -> None:
    """Refuse more than the settings allow, and forms of tools and answers that are not known."""
    stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
    _at_most("stop", len(stops), settings.max_stops, "strings")
    _at_most("top_logprobs", body.top_logprobs or 0, settings.max_top_logprobs, "candidates")
    _at_most("pad.best_of", (body.pad and body.pad.best_of) or 1, settings.max_best_of, "answers")
    _at_most("tools", len(body.tools or ()), settings.max_tools, "tools")
    for place, tool in enumerate(body.tools or ()):
        _check_tool(tool, f"tools.{place}", settings)
    _check_choice(body.tool_choice, body.tools or ())
    _check_format(body.response_format, settings)
    for name in body.chat_template_kwargs or ():
        if name not in settings.chat_template_switches:
            allowed = ", ".join(settings.chat_template_switches) or "none"
            message = f"The switch {name[:100]!r} of the chat template may not be set by a request. Allowed: {allowed}."
            raise ApiError(400, "unsupported_value", message, param=f"chat_template_kwargs.{name[:100]}")


def _check_tool(tool: Mapping[str, Any], param: str, settings: ServerSettings) -> None:
    function = tool.get("function")
    if tool.get("type", "function") != "function":
        message = f"A tool has to be of type 'function', but is {str(tool.get('type'))[:100]!r}."
        raise ApiError(400, "unsupported_value", message, param=f"{param}.type")
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise _invalid(param, 'A tool has to be {"type": "function", "function": {"name": …, "parameters": …}}.')
    if not isinstance(function.get("parameters", {}), Mapping | None):
        raise _invalid(f"{param}.function.parameters", "The parameters of a tool have to be a JSON schema, an object.")
    check_schema(function, f"{param}.function", settings)


def _check_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> None:
    if choice is None or isinstance(choice, str):
        return
    function = choice.get("function")
    if choice.get("type") != "function" or not isinstance(function, Mapping):
        message = 'tool_choice has to be "none", "auto", "required" or {"type": "function", "function": {"name": …}}.'
        raise ApiError(400, "unsupported_value", message, param="tool_choice")
    if function.get("name") not in [tool["function"]["name"] for tool in tools]:
        raise _invalid(
            "tool_choice", f"tool_choice names no tool of this request: {str(function.get('name'))[:100]!r}."
        )


def _check_format(form: Mapping[str, Any] | None, settings: ServerSettings) -> None:
    if form is None:
        return
    if form.get("type") not in ("text", "json_object", "json_schema"):
        message = "response_format.type has to be 'text', 'json_object' or 'json_schema'."
        raise ApiError(400, "unsupported_value", message, param="response_format.type")
    if form["type"] != "json_schema":
        return
    inner = form.get("json_schema")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        message = 'response_format has to be {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}.'
        raise _invalid("response_format.json_schema", message)
    check_schema(inner["schema"], "response_format.json_schema.schema", settings)


def _plain(tool: Mapping[str, Any]) -> dict[str, Any]:
    """A tool without what its client left empty: it would stand in the prompt."""
    function = {name: value for name, value in tool["function"].items() if value is not None}
    return {"type": "function", "function": function}


def _at_most(param: str, got: int, most: int, what: str) -> None:
    if got > most:
        raise _invalid(param, f"{param} may be {most} {what} at most, but is {got}.")


def _invalid(param: str, message: str) -> ApiError:
    return ApiError(400, "invalid_value", message, param=param)
