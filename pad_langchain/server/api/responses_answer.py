"""`ResponseAnswer`: deltas as OpenAI's `response` and as the events of its stream.

A delta opens an item of the output (reasoning, message, function_call) or adds to the one that is open. The whole
response is what a stream adds up to. Beside OpenAI's fields it has `pad` (what steered) and rewards in `logprobs`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pad_langchain.chat import Delta, Turn
from pad_langchain.chat.tools.answer_parser import CallDelta
from pad_langchain.server.api.answers import entries_of
from pad_langchain.server.errors import ApiError

__all__ = ["ResponseAnswer"]

Event = dict[str, Any]


@dataclass
class _Open:
    """The item of the output that is written now."""

    place: int  # in the output
    item: dict[str, Any]
    call: int | None = None  # which call it is
    written: list[str] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return str(self.item["type"])

    @property
    def here(self) -> dict[str, Any]:
        """Where an event adds to."""
        place = {"item_id": self.item["id"], "output_index": self.place}
        return place if self.kind == "function_call" else {**place, "content_index": 0}

    def part(self) -> dict[str, Any]:
        """The one part of its content, with what is written so far."""
        text = "".join(self.written)
        if self.kind == "reasoning":
            return {"type": "reasoning_text", "text": text}
        return {"type": "output_text", "text": text, "annotations": [], "logprobs": list(self.entries)}


@dataclass
class ResponseAnswer:
    """One response on its way to the client; make one for each request.

    Args:
        id: of the response, `resp_…`.
        model: as the client is told it.
        asked: what it repeats of its request.
        pad_user: the user, as the client knows them.
        logprobs: whether they were asked for.
        ends: texts of the tokens that end an answer: they are no part of what the model said.
    """

    id: str
    model: str
    asked: Mapping[str, Any]
    pad_user: str | None
    logprobs: bool
    ends: Collection[str]
    created: int = field(default_factory=lambda: int(time.time()))
    _events: int = 0  # sent
    _output: list[dict[str, Any]] = field(default_factory=list)  # items that are done
    _open: _Open | None = None
    end = b""

    async def whole(self, turn: Turn) -> tuple[dict[str, Any], Delta]:
        """Wait for the turn's end; return the response, and the delta that ended it."""
        last: tuple[dict[str, Any], Delta] | None = None
        async for delta in turn:
            for each in self.events(delta):
                last = each, delta
        assert last is not None
        return last[0]["response"], last[1]

    def begin(self) -> list[Event]:
        """Return the events before the first delta."""
        begun = self._response("in_progress")
        return [self._event(f"response.{kind}", response=begun) for kind in ("created", "in_progress")]

    def failure(self, error: ApiError) -> Event:
        """Return the event that ends a stream which failed; its error has the one code that OpenAI's list allows."""
        self._output += [] if self._open is None else [self._done(self._open, "incomplete")]
        failed = {"code": "server_error", "message": error.message}
        return self._event("response.failed", response=self._response("failed", error=failed))

    def events(self, delta: Delta) -> Iterator[Event]:
        """Yield what a delta adds, and with the last one the end."""
        calls = list(delta.calls)
        while calls and self._open is not None and calls[0].index == self._open.call:
            yield from self._write(calls.pop(0).arguments)
        if delta.reasoning:
            yield from self._at("reasoning", summary=[], content=[])
            yield from self._write(delta.reasoning)
        entries = [_entry(each) for each in entries_of(delta, self.ends)] if self.logprobs else []
        goes_on = self._open is not None and self._open.kind == "message" and entries and not delta.calls
        if delta.text or goes_on:
            yield from self._message(delta.text, entries)
        for call in calls:
            yield from self._call(call)
        if delta.finish is not None:
            yield from self._ended(delta, entries)

    def _message(self, text: str, entries: list[dict[str, Any]]) -> Iterator[Event]:
        yield from self._at("message", role="assistant", content=[])
        yield from self._write(text, entries)

    def _call(self, call: CallDelta) -> Iterator[Event]:
        if self._open is None or self._open.call != call.index:
            yield from self._close()
            yield from self._begin(
                "function_call", call=call.index, arguments="", call_id=call.id or "", name=call.name or ""
            )
        if call.arguments:
            yield from self._write(call.arguments)

    def _ended(self, delta: Delta, entries: list[dict[str, Any]]) -> Iterator[Event]:
        whole = delta.finish in ("stop", "tool_calls")
        if not self._output and self._open is None:  # nothing was said: as OpenAI, say so in a message
            yield from self._message("", entries)
        yield from self._close("completed" if whole else "incomplete")
        assert delta.usage is not None
        more = {
            "usage": {
                "input_tokens": delta.usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": delta.usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": delta.usage.total_tokens,
            },
            "pad": {**(delta.pad or {}), "user": self.pad_user},
        }
        if whole:
            ended = self._response("completed", completed_at=int(time.time()), **more)
            yield self._event("response.completed", response=ended)
        else:
            why = {"reason": "max_output_tokens"} if delta.finish == "length" else None
            yield self._event(
                "response.incomplete", response=self._response("incomplete", incomplete_details=why, **more)
            )

    def _at(self, kind: str, **fields: Any) -> Iterator[Event]:
        """Go on with an item of this kind, or begin one."""
        if self._open is None or self._open.kind != kind:
            yield from self._close()
            yield from self._begin(kind, **fields)

    def _begin(self, kind: str, call: int | None = None, **fields: Any) -> Iterator[Event]:
        place = len(self._output)
        prefix = {"message": "msg", "reasoning": "rs", "function_call": "fc"}[kind]
        named = f"{prefix}_{self.id.partition('_')[2]}{place}"
        self._open = now = _Open(place, {"id": named, "type": kind, "status": "in_progress", **fields}, call)
        yield self._event("response.output_item.added", output_index=place, item=dict(now.item))
        if kind != "function_call":
            yield self._event("response.content_part.added", **now.here, part=now.part())

    def _write(self, text: str, entries: list[dict[str, Any]] | None = None) -> Iterator[Event]:
        """Add to the open item."""
        now = self._open
        assert now is not None
        now.written.append(text)
        now.entries += entries or ()
        match now.kind:
            case "message" if text or entries:
                yield self._event("response.output_text.delta", **now.here, delta=text, logprobs=entries or [])
            case "reasoning":
                yield self._event("response.reasoning_text.delta", **now.here, delta=text)
            case "function_call":
                yield self._event("response.function_call_arguments.delta", **now.here, delta=text)

    def _close(self, status: str = "completed") -> Iterator[Event]:
        """End the open item, if there is one."""
        now = self._open
        if now is None:
            return
        done = self._done(now, status)
        text = "".join(now.written)
        match now.kind:
            case "message":
                yield self._event("response.output_text.done", **now.here, text=text, logprobs=list(now.entries))
            case "reasoning":
                yield self._event("response.reasoning_text.done", **now.here, text=text)
            case "function_call":
                yield self._event(
                    "response.function_call_arguments.done", **now.here, name=now.item["name"], arguments=text
                )
        if now.kind != "function_call":
            yield self._event("response.content_part.done", **now.here, part=now.part())
        yield self._event("response.output_item.done", output_index=now.place, item=done)
        self._output.append(done)
        self._open = None

    def _done(self, now: _Open, status: str) -> dict[str, Any]:
        """The open item with all that was written."""
        if now.kind == "function_call":
            return {**now.item, "status": status, "arguments": "".join(now.written)}
        return {**now.item, "status": status, "content": [now.part()]}

    def _event(self, kind: str, **fields: Any) -> Event:
        made = {"type": kind, "sequence_number": self._events, **fields}
        self._events += 1
        return made

    def _response(self, status: str, **more: Any) -> dict[str, Any]:
        head = {"id": self.id, "object": "response", "created_at": self.created, "status": status}
        rest = {"error": None, "incomplete_details": None, "model": self.model, "usage": None, **self.asked, **more}
        return {**head, **rest, "output": list(self._output)}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of logprobs; the bytes of a token that is a part of a character are an empty list here, not null."""
    others = [{**other, "bytes": other["bytes"] or []} for other in entry["top_logprobs"]]
    return {**entry, "bytes": entry["bytes"] or [], "top_logprobs": others}
