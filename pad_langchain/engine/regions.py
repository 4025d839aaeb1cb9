"""Where in an answer preferences may steer: not in the arguments of a tool and not in JSON, but in fields of free text.

A `Region` says so for a request. Its state follows the answer's text, token by token.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["FREE_TEXT", "Region", "RegionState", "free_fields"]

FREE_TEXT = "x-free-text"  # in the JSON schema of a field: people read it


@dataclass(frozen=True)
class Region:
    """Which parts of an answer preferences may steer.

    Args:
        fields: names of the fields of free text.
        begin: what stands before a call of a tool; what is outside of calls is text for the user. None means that all
            of the answer is one JSON value.
    """

    fields: frozenset[str]
    begin: str | None = None

    def start(self) -> RegionState:
        """Begin to follow an answer."""
        return RegionState(self)


class RegionState:
    """Follows one answer. `open` says whether preferences may steer its next token.

    Args:
        region: what it follows.
    """

    def __init__(self, region: Region) -> None:
        self._region = region
        self._begin = None if region.begin is None else region.begin.strip()
        self._tail = ""
        self._json = None if self._begin is not None else _Json()

    @property
    def open(self) -> bool:
        """Whether preferences may steer the next token."""
        if self._json is None:
            return True
        return self._json.in_value and self._json.key in self._region.fields

    def push(self, text: str) -> None:
        """Take the text that a token added."""
        for char in text:
            if self._json is None:
                self._tail = (self._tail + char)[-len(self._begin or " ") :]
                if self._begin and self._tail == self._begin:
                    self._tail, self._json = "", _Json()
                elif not self._begin and char == "{":  # calls without a mark around them
                    self._json = _Json()
                    self._json.push(char)
            else:
                self._json.push(char)
                if self._json.complete and self._begin is not None:
                    self._json = None


class _Json:
    """The place in a JSON value: the nearest key, and whether it is inside a string that is a value."""

    def __init__(self) -> None:
        self.key: str | None = None
        self.in_value = self.complete = False
        self._keys: list[str | None] = []  # of the objects and arrays around, the key that each stands under
        self._objects: list[bool] = []
        self._expects_key = self._escaped = False
        self._string: list[str] | None = None

    def push(self, char: str) -> None:
        """Take one character. What comes before the first object is passed over."""
        if self._string is not None:
            self._in_string(char)
        elif char == '"' and self._objects:
            self._string, self.in_value = [], not self._expects_key
        elif char == "{" or (char == "[" and self._objects):
            self._keys.append(self.key)
            self._objects.append(char == "{")
            self._expects_key = char == "{"
        elif char in "}]" and self._objects:
            self._objects.pop()
            self.key = self._keys.pop()
            self._expects_key, self.complete = False, not self._objects
        elif char == "," and self._objects:
            self._expects_key = self._objects[-1]
        elif char == ":":
            self._expects_key = False

    def _in_string(self, char: str) -> None:
        assert self._string is not None
        if self._escaped or char != '"':
            self._escaped = char == "\\" and not self._escaped
            self._string.append(char)
            return
        if self._expects_key:
            self.key = _decoded("".join(self._string))
        self._string, self.in_value = None, False


def _decoded(text: str) -> str:
    try:
        return str(json.loads(f'"{text}"'))
    except ValueError:
        return text


def free_fields(schema: Any) -> frozenset[str]:
    """The names of the fields that a JSON schema, or anything with schemas in it, marks as free text.

    >>> free_fields({"properties": {"note": {"type": "string", "x-free-text": True}, "id": {"type": "string"}}})
    frozenset({'note'})
    """
    return frozenset(_marked(schema))


def _marked(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        properties = value.get("properties")
        if isinstance(properties, Mapping):
            yield from (name for name, one in properties.items() if isinstance(one, Mapping) and one.get(FREE_TEXT))
        for inner in value.values():
            yield from _marked(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _marked(inner)
