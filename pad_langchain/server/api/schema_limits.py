"""Limits of the JSON schemas that a request brings: they are compiled, and a compiler can be kept busy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pad_langchain.server.errors import ApiError
from pad_langchain.server.settings import ServerSettings

__all__ = ["check_schema"]


def check_schema(schema: Any, param: str, settings: ServerSettings) -> None:
    """Refuse a schema that is too long, nests too deep or has an enum of too many values; None is none.

    Args:
        schema: as JSON holds it.
        param: where in the request it is, for the error.
        settings: its `max_schema_bytes`, `max_schema_depth` and `max_enum`.

    Raises:
        ApiError: it is no JSON object, not valid Unicode, or over a limit.
    """
    if schema is None:
        return
    if not isinstance(schema, Mapping):
        raise ApiError(400, "invalid_value", f"{param} has to be a JSON schema, an object.", param=param)
    _walk(schema, param, settings)  # before it is written, which recurses
    try:
        size = len(json.dumps(schema, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        raise _over(param, "has text that is not valid Unicode") from None
    if size > settings.max_schema_bytes:
        raise _over(param, f"is {size:,} bytes long, but at most {settings.max_schema_bytes:,} are allowed")


def _walk(schema: Mapping[str, Any], param: str, settings: ServerSettings) -> None:
    level: list[Any] = [schema]
    depth = 0
    while level:
        depth += 1
        if depth > settings.max_schema_depth:
            raise _over(param, f"nests deeper than the {settings.max_schema_depth} levels that are allowed")
        below: list[Any] = []
        for node in level:
            if isinstance(node, Mapping):
                enum = node.get("enum")
                if isinstance(enum, list) and len(enum) > settings.max_enum:
                    most = f"at most {settings.max_enum:,} are allowed"
                    raise _over(param, f"has an enum of {len(enum):,} values, but {most}")
                below += node.values()
            else:
                below += node
        level = [node for node in below if isinstance(node, Mapping | list)]


def _over(param: str, what: str) -> ApiError:
    return ApiError(400, "invalid_value", f"The JSON here {what}.", param=param)
