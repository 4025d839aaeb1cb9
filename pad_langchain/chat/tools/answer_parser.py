"""An answer's text into text, reasoning and tool calls, while it streams."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

__all__ = ["AnswerParser", "CallDelta", "Piece", "call_head", "spoiler"]


@dataclass(frozen=True)
class CallDelta:
    """A piece of one tool call: `id` and `name` come once, `arguments` is JSON text to be joined.

    The arguments of a call that was cut off do not parse, not even leniently, so that nobody runs half a call.
    """

    index: int
    id: str | None
    name: str | None
    arguments: str


@dataclass
class Piece:
    """What became certain of an answer."""

    text: str = ""
    reasoning: str = ""
    calls: list[CallDelta] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.text or self.reasoning or self.calls)

    def __add__(self, later: Piece) -> Piece:
        return Piece(self.text + later.text, self.reasoning + later.reasoning, self.calls + later.calls)


class AnswerParser:
    """Splits an answer into text, reasoning and tool calls, with transformers' `ResponseParser`.

    Args:
        parser: made by `tokenizer.get_response_parser`.
        head: matches a call up to where its arguments begin, with a group `name`, if the parser hands calls over as
            text to be read here while they are written; None means the parser reads calls itself.
    """

    def __init__(self, parser: Any, head: re.Pattern[str] | None = None) -> None:
        self._parser, self._head = parser, head
        self._broken = False
        self._reader: _CallReader | None = None
        self.calls = 0  # calls begun so far

    def push(self, text: str) -> Piece:
        """Take the next piece of the answer's text."""
        if self._broken or not text:
            return Piece(text=text)
        try:
            events = self._parser.feed(text)
        except ValueError:  # a call in another format than JSON that does not parse; what follows stays text
            return self._give_up()
        return self._read(events)

    def finish(self) -> Piece:
        """The answer is over: what was held back; a call that is cut off here is made unreadable."""
        if self._broken:
            return Piece()
        try:
            _, events = self._parser.finalize()
        except ValueError:
            return self._give_up()
        return self._read(events)

    def _read(self, events: Sequence[Mapping[str, Any]]) -> Piece:
        piece = Piece()
        for event in events:
            kind, name = event["type"], event["field"]
            if name == "content":
                piece.text += event["text"] if kind == "region_chunk" else ""
            elif name != "tool_calls":
                piece.reasoning += event["text"] if kind == "region_chunk" else ""
            elif kind == "region_open":
                self._reader = _CallReader(self.calls, self._head)
                self.calls += 1
            elif kind == "region_chunk" and self._head and self._reader is not None:
                piece.calls += self._reader.push(event["text"])
            elif kind == "region_close" and self._reader is not None:
                piece.calls += self._reader.close() if self._head else self._reader.whole(event["value"]["function"])
                self._reader = None
        return piece

    def _give_up(self) -> Piece:
        self._broken = True
        if self._reader is None:
            return Piece()
        return Piece(calls=[CallDelta(self._reader.index, _new_id(), "", spoiler(""))])


class _CallReader:
    """One call, read while it is written: first its name, then its arguments piece by piece."""

    def __init__(self, index: int, head: re.Pattern[str] | None) -> None:
        self.index = index
        self._head = head
        self._body = ""
        self._scan: _Scan | None = None  # follows the arguments once they have begun

    def push(self, text: str) -> list[CallDelta]:
        self._body += text
        if self._scan is not None:
            arguments = self._scan.push(text)
            return [CallDelta(self.index, None, None, arguments)] if arguments else []
        head = self._head.match(self._body) if self._head else None
        if head is None:
            return []
        name = head["name"]
        self._scan = _Scan()
        begun = self._scan.push(self._body[head.end() :])
        return [CallDelta(self.index, _new_id(), json.loads(name) if name.startswith('"') else name, begun)]

    def close(self) -> list[CallDelta]:
        if self._scan is not None:
            return [] if self._scan.complete else [CallDelta(self.index, None, None, self._scan.spoil())]
        try:
            return self.whole(json.loads(self._body))
        except (ValueError, TypeError, KeyError):
            body = self._body.strip()
            return [CallDelta(self.index, _new_id(), "", body + spoiler(body))]

    def whole(self, function: Mapping[str, Any]) -> list[CallDelta]:
        """The call at once."""
        arguments = function.get("arguments", function.get("parameters"))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False)
        return [CallDelta(self.index, _new_id(), function["name"], text)]


@lru_cache
def call_head(name_key: str, arguments_key: str) -> re.Pattern[str]:
    """Matches a call's JSON object up to where its arguments begin, with its name as JSON in the group `name`."""
    name, arguments = re.escape(name_key), "|".join({re.escape(arguments_key), "arguments", "parameters"})
    return re.compile(rf'\s*\{{\s*"{name}"\s*:\s*(?P<name>"(?:[^"\\]|\\.)*")\s*,\s*"(?:{arguments})"\s*:\s*(?=\{{)')


def _new_id() -> str:
    return uuid.uuid4().hex[:9]  # nine letters and digits: the one form every chat template takes back


class _Scan:
    """Follows JSON text to the end of its first value."""

    def __init__(self) -> None:
        self._stack: list[str] = []
        self._in_string = self._escaped = self._begun = False

    @property
    def complete(self) -> bool:
        return self._begun and not self._stack and not self._in_string

    def push(self, text: str) -> str:
        """Take more text; return the part of it that belongs to the value."""
        for position, char in enumerate(text):
            if self.complete:
                return text[:position]
            self._begun = True
            if self._in_string:
                self._in_string = self._escaped or char != '"'
                self._escaped = char == "\\" and not self._escaped
            elif char == '"':
                self._in_string = True
            elif char in "{[":
                self._stack.append(char)
            elif char in "}]" and self._stack:
                self._stack.pop()
        return text

    def spoil(self) -> str:
        """The shortest text that no completion makes valid: a bracket that does not match."""
        close = ("\\" if self._escaped else "") + ('"' if self._in_string else "")
        return close + ("]" if self._stack and self._stack[-1] == "{" else "}")


def spoiler(text: str) -> str:
    """What to add to cut-off JSON `text` so that even a parser that completes JSON refuses it."""
    scan = _Scan()
    while text:
        text = text[len(scan.push(text)) :]
        if text:
            scan = _Scan()
    return scan.spoil()
