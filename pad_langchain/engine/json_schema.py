"""JSON schemas as a grammar takes them: every value has a limit, and formats are patterns."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pad_langchain.engine.json_formats import FORMATS, NUMBER, known_pattern

__all__ = ["bounded", "culprit"]

# What a schema leaves open ends here: JSON's safe integers, a list that still fits an answer, a key.
_MAX_NUMBER = 2**53 - 1
_MAX_ITEMS = 100
_MAX_KEY = 64

# Where schemas stand in a schema: one, a list of them, names with one each.
_ONE = ("items", "additionalItems", "additionalProperties")
_LISTS = ("prefixItems", "anyOf", "oneOf", "allOf", "items")
_MAPS = ("properties", "patternProperties", "$defs", "definitions")


# Keywords that say nothing about a value.
_ANNOTATIONS = {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly", "$comment"}
_ANYTHING = "anything-nested-{}"
_MAX_NESTING = 8


def bounded(schema: Any, limit: int) -> Any:
    """Return a copy of a schema that limits every value. What the copy allows is valid under `schema`.

    Strings get a `maxLength`, or their `format` as a pattern of its natural length. Arrays and maps get a greatest
    size. Numbers get bounds, and as many decimals as a double holds. Values of any type get a greatest depth. Only
    references can recur without end. An unknown `format` is left out. Malformed parts stay, for llguidance to name.

    Args:
        schema: the schema. What is no mapping is returned as it is.
        limit: characters at most of a string without a limit.
    """
    if not isinstance(schema, Mapping):
        return schema
    bounds = _Bounds(schema, limit)
    copy = bounds.of(schema)
    if bounds.anything:
        copy["$defs"] = {**copy.get("$defs", {}), **_anything(limit)}
    return copy


class _Bounds:
    """Bounds the parts of one schema.

    Args:
        root: the schema that `$ref` counts from.
        limit: characters at most of a string without a limit.
    """

    def __init__(self, root: Mapping[str, Any], limit: int) -> None:
        self.root, self.limit = root, limit
        self.anything = False  # whether a part allows any value

    def of(self, schema: Any) -> Any:
        if schema is True or (isinstance(schema, Mapping) and schema.keys() <= _ANNOTATIONS):
            self.anything = True
            return {"$ref": f"#/$defs/{_ANYTHING.format(_MAX_NESTING)}"}
        if not isinstance(schema, Mapping):
            return schema
        copy = dict(schema)
        kinds = copy.get("type")
        kinds = [kinds] if isinstance(kinds, str) else kinds if isinstance(kinds, list) else []
        if copy.keys() & {"enum", "const"}:
            copy.pop("format", None)
            return copy
        if "array" in kinds:
            copy.setdefault("maxItems", max(_MAX_ITEMS, _number(copy, "minItems")))
            if not copy.keys() & {"items", "prefixItems", "$ref", "allOf"}:
                copy["items"] = True
        if "object" in kinds:
            _bound_map(copy, self.limit, self.root)
        for key in _ONE:
            if isinstance(copy.get(key), Mapping) or (key == "items" and copy.get(key) is True):
                copy[key] = self.of(copy[key])
        for key in _LISTS:
            if isinstance(copy.get(key), list | tuple):
                copy[key] = [self.of(part) for part in copy[key]]
        for key in _MAPS:
            if isinstance(copy.get(key), Mapping):
                copy[key] = {name: self.of(part) for name, part in copy[key].items()}
        _bound_string(copy, self.limit if "string" in kinds else None, self.root)
        if {"integer", "number"} & set(kinds):
            _bound_number(copy, "number" in kinds)
        return copy


def _anything(limit: int) -> dict[str, Any]:
    """Definitions for JSON values of any type, one per depth of nesting."""
    flat: list[Any] = [{"type": "null"}, {"type": "boolean"}, {"type": "number"}, {"type": "string"}]
    named: dict[str, Any] = {}
    for depth in range(_MAX_NESTING + 1):
        inner = {"$ref": f"#/$defs/{_ANYTHING.format(depth - 1)}"}
        nested = [{"type": "array", "items": inner}, {"type": "object", "additionalProperties": inner}] if depth else []
        named[_ANYTHING.format(depth)] = bounded({"anyOf": flat + nested}, limit)
    return named


def culprit(schema: Any, error_of: Callable[[Any], str | None]) -> tuple[str, str | None]:
    """Find the innermost part of `schema` that does not compile.

    Args:
        schema: the whole schema. Its definitions are compiled with each part.
        error_of: schema → the error of compiling it. None means it compiles.

    Returns:
        the part's path such as `a.b[].c`, where "" is the whole schema, and its error. None means there is none.
    """
    root = schema if isinstance(schema, Mapping) else {}
    shared = {key: root[key] for key in ("$defs", "definitions") if key in root}
    error, path, followed = error_of(schema), "", set()
    while isinstance(schema, Mapping):
        target = _target(schema, root)
        if target is not None and len(schema) == 1 and schema["$ref"] not in followed:
            followed.add(schema["$ref"])
            schema = target
            continue
        for name, part in _parts(schema):
            inner = error_of({**part, **shared}) if isinstance(part, Mapping) else None
            if inner:
                schema, error, path = part, inner, path + name
                break
        else:
            break
    return path.lstrip("."), error


def _parts(schema: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("properties", "patternProperties"):
        if isinstance(schema.get(key), Mapping):
            yield from ((f".{name}", part) for name, part in schema[key].items())
    yield from (("[]" if "tems" in key else ".*", schema[key]) for key in _ONE if key in schema)
    for key in _LISTS:
        if isinstance(schema.get(key), list | tuple):
            yield from (("[]" if "tems" in key else "", part) for part in schema[key])


def _target(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """What the local `$ref` of a schema refers to. None means there is none, or it leads nowhere."""
    reference = schema.get("$ref")
    if not isinstance(reference, str) or not reference.startswith("#"):
        return None
    at: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        at = at.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(at, Mapping) else None
    return at


def _number(schema: Mapping[str, Any], *keys: str) -> float:
    """The first of `keys` that holds a number, else 0."""
    return next((schema[key] for key in keys if _is_number(schema.get(key))), 0)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# ---- strings


def _bound_string(schema: dict[str, Any], limit: int | None, root: Any) -> None:
    if isinstance(schema.get("pattern"), str):
        schema["pattern"] = known_pattern(schema["pattern"]) or schema["pattern"]
    natural = None
    if isinstance(schema.get("format"), str):
        natural = FORMATS.get(schema.pop("format"))
    if schema.get("contentMediaType") == "application/json" and limit is not None:
        natural = natural or _json_text(schema.get("contentSchema", {}), root)
    if natural is not None:
        pattern = f"^(?:{natural})$"
        if schema.setdefault("pattern", pattern) != pattern:
            schema["allOf"] = [*schema.get("allOf", ()), {"pattern": pattern}]
        if schema.get("minLength") in (0, 1):
            del schema["minLength"]  # no format is empty
    elif limit is not None:
        schema.setdefault("maxLength", max(limit, _number(schema, "minLength")))


def _json_text(schema: Any, root: Any, depth: int = 3) -> str | None:
    """JSON of `schema` as a regular expression, nested up to `depth`. None means it cannot be written so.

    JSON within a string cannot be a rule of a grammar, only a pattern.
    """
    if not isinstance(schema, Mapping) or depth < 0:
        return None if depth < 0 else _json_text({}, root, depth)
    if "$ref" in schema:
        return _json_text(_target(schema, root), root, depth - 1)
    if schema.keys() & {"enum", "const"}:
        return _any(re.escape(json.dumps(value)) for value in schema.get("enum", [schema.get("const")]))
    if parts := schema.get("anyOf") or schema.get("oneOf"):
        return _any(_json_text(part, root, depth) for part in parts)
    kinds = schema.get("type", ["null", "boolean", "number", "string", "array", "object"])
    return _any(_json_kind(kind, schema, root, depth) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _json_kind(kind: str, schema: Mapping[str, Any], root: Any, depth: int) -> str | None:
    if kind == "string":
        natural = FORMATS.get(str(schema.get("format")))
        return rf'"(?:{natural})"' if natural and '"' not in natural else r'"(?:[^"\\\x00-\x1f\x7f]|\\["\\nt]){0,64}"'
    if kind == "array":
        if isinstance(schema.get("prefixItems"), list):
            parts = [_json_text(part, root, depth - 1) for part in schema["prefixItems"]]
            return None if None in parts else rf"\[{', '.join(filter(None, parts))}\]"
        return _repeated(r"\[", _json_text(schema.get("items", {}), root, depth - 1), r"\]", schema, "Items")
    if kind == "object":
        if isinstance(schema.get("properties"), Mapping):
            values = {name: _json_text(part, root, depth - 1) for name, part in schema["properties"].items()}
            if None in values.values():
                return None
            return rf"\{{{', '.join(f'{re.escape(json.dumps(name))}: {value}' for name, value in values.items())}\}}"
        value = _json_text(schema.get("additionalProperties", {}), root, depth - 1)
        pair = None if value is None else rf'"[a-zA-Z0-9_ -]{{1,32}}": {value}'
        return _repeated(r"\{", pair, r"\}", schema, "Properties")
    return {"null": "null", "boolean": "(?:true|false)", "integer": "(?:0|-?[1-9][0-9]{0,14})", "number": NUMBER}.get(
        kind
    )


def _repeated(begin: str, part: str | None, end: str, schema: Mapping[str, Any], what: str) -> str | None:
    least = int(_number(schema, f"min{what}"))
    most = int(_number(schema, f"max{what}")) or max(16, least)
    if part is None:
        return None if least else begin + end
    again = rf"{part}(?:, {part}){{{max(0, least - 1)},{most - 1}}}"
    return f"{begin}{again if least else f'(?:{again})?'}{end}"


def _any(parts: Any) -> str | None:
    possible = [part for part in parts if part is not None]
    return f"(?:{'|'.join(possible)})" if possible else None


# ---- maps and numbers


def _bound_map(schema: dict[str, Any], limit: int, root: Any) -> None:
    """Bound an object without names of its own, which is a map. Its keys get a form and a length, and it a size."""
    names = schema.get("propertyNames")
    if isinstance(names, Mapping) and (target := _target(names, root)) is not None:
        names = target
    if schema.keys() & {"properties", "patternProperties", "required", "allOf", "$ref"}:
        return
    value = schema.get("additionalProperties", True)
    if value is False:
        return
    if isinstance(names, Mapping) and isinstance(names.get("enum"), list):
        schema["properties"] = {str(name): value for name in names["enum"]}
        schema["additionalProperties"] = False
        del schema["propertyNames"]
        return
    key = {"type": "string", **names} if isinstance(names, Mapping) else {"type": "string"}
    if not key.keys() <= {"type", "title", "description", "pattern", "format", "minLength", "maxLength"}:
        return  # llguidance names it
    schema.pop("propertyNames", None)
    pattern = bounded(key, limit).get("pattern")
    if pattern is None:
        least = int(_number(key, "minLength"))
        pattern = rf"^(?s:.){{{least},{int(_number(key, 'maxLength')) or max(_MAX_KEY, least)}}}$"
    schema["patternProperties"] = {pattern: value}
    schema["additionalProperties"] = False
    schema.setdefault("maxProperties", max(_MAX_ITEMS, _number(schema, "minProperties")))


def _bound_number(schema: dict[str, Any], decimals: bool) -> None:
    low = _number(schema, "minimum", "exclusiveMinimum")
    high = _number(schema, "maximum", "exclusiveMaximum")
    width = high - low
    if not schema.keys() & {"minimum", "exclusiveMinimum"}:
        schema["minimum"], width = min(0, high) - _MAX_NUMBER, math.inf
    if not schema.keys() & {"maximum", "exclusiveMaximum"}:
        schema["maximum"], width = max(0, low) + _MAX_NUMBER, math.inf
    if not decimals:
        return
    places = 6 if not 0 < width < 1e-3 else min(10, 3 - math.floor(math.log10(width)))
    schema.setdefault("multipleOf", 10.0**-places)
    # llguidance lets an integer through that an exclusive bound rules out, where the range is narrower than 1.
    for key, inclusive, sign, tighter in (
        ("exclusiveMinimum", "minimum", 1, max),
        ("exclusiveMaximum", "maximum", -1, min),
    ):
        bound = _number(schema, key)
        inner = round(bound + sign * 10.0**-places, places)
        if _is_number(schema.get(key)) and inner != bound:
            del schema[key]
            schema[inclusive] = tighter(inner, schema[inclusive]) if _is_number(schema.get(inclusive)) else inner
