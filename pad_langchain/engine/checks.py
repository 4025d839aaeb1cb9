"""Checks of settings: a value of the right type and range is returned in plain Python, any other is refused.

An integer is an `int` or numpy's, and not a `bool`. A number is an integer or a `float`, Python's or numpy's. A text is
a `str`. Everything else is refused, such as 5.0 for an integer, a `Decimal`, or an array of one number.

Every check raises InvalidRequestError, which says what was got and what is allowed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from pad_langchain.errors import InvalidRequestError

__all__ = [
    "LARGEST",
    "Check",
    "choice",
    "flag",
    "integer",
    "json_object",
    "list_of",
    "mapping",
    "number",
    "refuse",
    "text",
    "texts",
]

Check = Callable[[str, Any], Any]  # (the setting's name, what was got) → the value; raises InvalidRequestError

LARGEST = 2**63 - 1  # integers beyond it fit nowhere


def refuse(name: str, got: object, allowed: str) -> NoReturn:
    """Raise InvalidRequestError for a value that is not allowed. The message shows 300 characters of it at most.

    Args:
        name: what the value is of.
        got: the value.
        allowed: what is allowed, after "has to be".
    """
    try:
        shown = repr(got)
    except Exception:  # such as an integer of more digits than Python prints
        shown = f"a {type(got).__name__} that cannot be shown"
    shown = shown if len(shown) <= 300 else f"{shown[:300]}…"
    raise InvalidRequestError(f"{name} has to be {allowed}, but is {shown}.")


def integer(low: int, high: int, allowed: str) -> Check:
    """Make a check for integers from `low` to `high`, both included. `allowed` describes them in the error."""

    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or not low <= int(value) <= high:
            refuse(name, value, allowed)
        return int(value)

    return check


def number(low: float, high: float, allowed: str, *, above: bool = False) -> Check:
    """Make a check for finite numbers from `low` to `high`, both included. With `above`, `low` is excluded."""

    def check(name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
            refuse(name, value, allowed)
        try:
            plain = float(value)
        except OverflowError:
            refuse(name, value, allowed)
        if not low <= plain <= high or math.isinf(plain) or (above and plain == low):  # NaN fails as well
            refuse(name, value, allowed)
        return plain

    return check


def flag(name: str, value: Any) -> bool:
    """Return the value if it is True or False."""
    if not isinstance(value, bool | np.bool_):
        refuse(name, value, "True or False")
    return bool(value)


def text(name: str, value: Any) -> str:
    """Return the value if it is a string."""
    if not isinstance(value, str):
        refuse(name, value, "a string")
    return value


def choice(*options: str) -> Check:
    """Make a check for one of these words."""
    *others, last = (repr(option) for option in options)
    allowed = f"{', '.join(others)} or {last}"

    def check(name: str, value: Any) -> str:
        if not isinstance(value, str) or value not in options:
            refuse(name, value, allowed)
        return value

    return check


def mapping(name: str, value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping."""
    if not isinstance(value, Mapping):
        refuse(name, value, "a mapping, such as a dict")
    return value


def json_object(name: str, value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping that JSON can hold."""
    allowed = "a dict of JSON values by name"
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        refuse(name, value, allowed)
    try:
        json.dumps(dict(value))
    except (TypeError, ValueError, RecursionError):
        refuse(name, value, allowed)
    return value


def texts(name: str, value: Any) -> tuple[str, ...]:
    """Return the strings of a list as a tuple. One string is a list of one. Empty strings are refused."""
    listed = (value,) if isinstance(value, str) else value
    strings = isinstance(listed, Sequence) and all(isinstance(each, str) and each for each in listed)
    if not strings or isinstance(listed, bytes | bytearray | memoryview):
        refuse(name, value, "a string or a list of strings that are not empty")
    return tuple(listed)


def list_of(kind: type | tuple[type, ...], allowed: str) -> Check:
    """Make a check for a sequence of objects of one type. Strings and bytes are refused."""

    def check(name: str, value: Any) -> Sequence[Any]:
        listed = isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray | memoryview)
        if not listed or not all(isinstance(each, kind) for each in value):
            refuse(name, value, allowed)
        return value

    return check
