"""What the fields of an event may be: kinds of values that pydantic checks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from pad_memory.checked import said
from pad_memory.errors import InvalidEventError

__all__ = ["Flag", "Metadata", "Seconds", "Stars", "Text", "check_span", "check_text"]


def _says(value: object) -> object:
    if not isinstance(value, str) or not value.strip():
        raise PydanticCustomError("text", "Input should be text that is not empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "unicode",
            "Input should be valid Unicode text without the lone surrogate at character {at} (decode it with "
            "errors='replace' first)",
            {"at": error.start},
        ) from None
    return value


def _json_copy(metadata: object) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise PydanticCustomError("mapping", "Input should be a mapping")
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise PydanticCustomError("json", "Input should be what JSON can hold ({why})", {"why": str(error)}) from None
    copied: dict[str, Any] = json.loads(text)
    return copied


Text = Annotated[str, BeforeValidator(_says)]
Flag = Annotated[bool, Field(strict=True)]
Seconds = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Stars = Annotated[float, Field(strict=True, ge=1, le=5)]
Metadata = Annotated[Mapping[str, Any], PlainValidator(_json_copy)]

_TEXT: TypeAdapter[str] = TypeAdapter(Text)


def check_text(name: str, value: object) -> str:
    """Return `value` when it is a string that says something and can be encoded as UTF-8.

    Raises:
        InvalidEventError: not a string, blank, or with lone surrogates.
    """
    try:
        return _TEXT.validate_python(value)
    except ValidationError as error:
        raise InvalidEventError(said(error.errors()[0], name)) from None


def check_span(name: str, value: object) -> float:
    """Return the seconds of a timedelta above 0.

    Raises:
        InvalidEventError: something else.
    """
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise InvalidEventError(f"{name} has to be a timedelta above 0, such as timedelta(days=1), but is {value!r}.")
    return value.total_seconds()
