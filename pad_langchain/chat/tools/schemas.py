"""JSON schemas as an answer's form: read from what callers pass, closed, and told to the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from pad_langchain.engine.json_formats import NUMBER, decimal
from pad_langchain.errors import InvalidRequestError

__all__ = ["answer_schema", "closed", "model_schema", "schema_told", "unsaid", "written"]


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
        if isinstance(copy[key], Mapping):
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


def written(schema: Any, owner: str) -> str:
    """A schema as JSON text.

    Args:
        owner: whose schema it is, for the error.

    Raises:
        InvalidRequestError: it holds something that is no JSON.
    """
    try:
        return json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(
            f"The JSON schema of {owner} has to be JSON: dicts, lists, texts, numbers, booleans and None ({error})."
        ) from error


def model_schema(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of a pydantic model, with what pydantic checks but leaves unsaid.

    Pydantic itself says nothing of a decimal's digits, a URL's scheme or the keys of `dict[int, str]`, and a grammar
    would let through what the model then refuses. A set is a list here: pydantic drops what occurs twice.
    """
    return model.model_json_schema(schema_generator=_Said)


def unsaid(model: Any) -> dict[str, Any] | None:
    """`model_schema` where it says more than pydantic's own; None means it does not, or this is no pydantic model."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    said = model_schema(model)
    return None if said == model.model_json_schema() else said


class _Said(GenerateJsonSchema):
    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        number: JsonSchemaValue = {"type": "number"}
        limits = {
            "minimum": schema.get("ge"),
            "exclusiveMinimum": schema.get("gt"),
            "maximum": schema.get("le"),
            "exclusiveMaximum": schema.get("lt"),
            "multipleOf": schema.get("multiple_of"),
        }
        bounds = {name: float(limit) for name, limit in limits.items() if limit is not None}
        digits, places = schema.get("max_digits"), schema.get("decimal_places")
        if digits is not None:
            within = min(digits, digits // 2 if places is None else places)
            most = 10.0 ** (digits - within)
            number |= {"exclusiveMinimum": -most, "exclusiveMaximum": most}
            number["multipleOf"] = 10.0 ** -min(within, 6)
        elif places is not None:
            number["multipleOf"] = 10.0 ** -min(places, 6)
        if bounds:
            return number | bounds  # digits in a text have no size for a grammar
        text = {"type": "string", "pattern": f"^{decimal(digits, places)}$"}
        # A number may be a 0 without decimals: one digit too many where all are decimals.
        return text if digits is not None and digits <= (places or 0) else {"anyOf": [number, text]}

    def complex_schema(self, schema: core_schema.ComplexSchema) -> JsonSchemaValue:
        unsigned = NUMBER.removeprefix("-?")
        return {"type": "string", "pattern": f"^{NUMBER}[+-]{unsigned}j$"}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        said = super().datetime_schema(schema)
        local = schema.get("tz_constraint") == "naive" and said.get("format") == "date-time"
        return {**said, "format": "date-time-local"} if local else said

    def bytes_schema(self, schema: core_schema.BytesSchema) -> JsonSchemaValue:
        said = super().bytes_schema(schema)
        # Counted in bytes: one for each character of these.
        return {**said, "pattern": "^[ -~]*$"} if "maxLength" in said else said

    def url_schema(self, schema: core_schema.UrlSchema) -> JsonSchemaValue:
        return self._schemes(super().url_schema(schema), schema)

    def multi_host_url_schema(self, schema: core_schema.MultiHostUrlSchema) -> JsonSchemaValue:
        return self._schemes(super().multi_host_url_schema(schema), schema)

    def _schemes(
        self, said: JsonSchemaValue, schema: core_schema.UrlSchema | core_schema.MultiHostUrlSchema
    ) -> JsonSchemaValue:
        schemes = [scheme.replace("+", r"\+") for scheme in schema.get("allowed_schemes") or ()]
        host = "/" if schemes == ["file"] else ""  # a file has none
        return {**said, "pattern": f"^(?:{'|'.join(schemes)})://{host}"} if schemes else said

    def set_schema(self, schema: core_schema.SetSchema) -> JsonSchemaValue:
        said = super().set_schema(schema)
        said.pop("uniqueItems", None)
        return said

    def frozenset_schema(self, schema: core_schema.FrozenSetSchema) -> JsonSchemaValue:
        said = super().frozenset_schema(schema)
        said.pop("uniqueItems", None)
        return said

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        said = super().dict_schema(schema)
        keys = schema.get("keys_schema")
        if keys is not None and keys["type"] == "int" and "additionalProperties" in said:
            said["patternProperties"] = {"^(?:0|-?[1-9][0-9]{0,14})$": said["additionalProperties"]}
            said["additionalProperties"] = False
        return said
