"""JSON schemas as an answer's form: read from what callers pass, closed, and told to the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pad_langchain.errors import InvalidRequestError

__all__ = ["answer_schema", "closed", "schema_told"]


def closed(schema: Any) -> Any:
    """A copy in which objects allow only the properties they name, unless they say otherwise themselves.

    JSON Schema allows any further property; a model would have to fill it with something. Inside `allOf` nothing is
    closed, because there the parts add up.

    >>> closed({"type": "object", "properties": {"a": {"type": "string"}}})["additionalProperties"]
    False
    """
    if isinstance(schema, list | tuple):
        return [closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    copy = dict(schema)
    for key in copy.keys() & {"properties", "patternProperties", "$defs", "definitions"}:
        copy[key] = {name: closed(part) for name, part in copy[key].items()}
    for key in copy.keys() & {"items", "prefixItems", "additionalProperties", "anyOf", "oneOf"}:
        copy[key] = closed(copy[key])
    if "properties" in copy and not copy.keys() & {"additionalProperties", "allOf", "$ref"}:
        copy["additionalProperties"] = False
    return copy


def answer_schema(response_format: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The JSON schema that a `response_format` asks for; None for plain text.

    Takes OpenAI's `{"type": "text" | "json_object"}` and `{"type": "json_schema", "json_schema": {"schema": …}}`; a
    `json_object` may bring a `schema`, too.

    Raises:
        InvalidRequestError: it has another form.
    """
    if response_format is None:
        return None
    kind = response_format.get("type") if isinstance(response_format, Mapping) else None
    if kind == "text":
        return None
    if kind == "json_object":
        return closed(response_format.get("schema") or {"type": "object"})
    inner = response_format.get("json_schema") if kind == "json_schema" else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("schema"), Mapping):
        raise InvalidRequestError(
            'response_format has to be {"type": "json_schema", "json_schema": {"name": …, "schema": {…}}}, '
            f'{{"type": "json_object"}} or {{"type": "text"}}, but is {response_format!r}.'
        )
    schema = inner["schema"]
    return dict(schema) if inner.get("strict") is False else closed(schema)


def schema_told(response_format: Mapping[str, Any] | None) -> str:
    """The schema in words for the model's system turn; "" where there is none to tell."""
    if not response_format or response_format.get("type") != "json_schema":
        return ""
    schema = response_format["json_schema"]["schema"]
    return (
        "Answer with one JSON object that follows this JSON schema, and with nothing else: "
        f"{json.dumps(schema, ensure_ascii=False)}"
    )
