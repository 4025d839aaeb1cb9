"""Deltas as OpenAI's objects: a whole `chat.completion`, or the `chat.completion.chunk`s of a stream.

Beside OpenAI's fields they have `pad` (what steered) and, in `logprobs`, a `reward` for each token.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pad_langchain.chat import Delta, Turn
from pad_langchain.chat.tools.answer_parser import CallDelta
from pad_langchain.server.errors import ApiError

__all__ = ["Completion", "entries_of", "new_id"]


def new_id(kind: str = "chatcmpl-") -> str:
    """Return a new id of a completion, or of another kind; it is that of the answer in feedback too."""
    return f"{kind}{uuid.uuid4().hex}"


def entries_of(delta: Delta, ends: Collection[str]) -> list[Mapping[str, Any]]:
    """Return a delta's entries of logprobs.

    Args:
        delta: of an answer whose logprobs were asked for.
        ends: texts of the tokens that end an answer: they are no part of what the model said.
    """
    entries = list(delta.logprobs)
    if delta.finish in ("stop", "tool_calls") and entries and entries[-1]["token"] in ends:
        entries.pop()
    return entries


@dataclass
class Completion:
    """One completion on its way to the client; make one for each request.

    Args:
        id: of the completion.
        model: as the client is told it.
        user: as the client knows them.
        logprobs: whether they were asked for.
        usage: whether a stream ends with its usage.
        ends: texts of the tokens that end an answer: they are no part of what the model said.
    """

    id: str
    model: str
    user: str | None
    logprobs: bool
    usage: bool
    ends: Collection[str]
    created: int = field(default_factory=lambda: int(time.time()))
    _called: set[int] = field(default_factory=set)
    end = b"data: [DONE]\n\n"

    async def whole(self, turn: Turn) -> tuple[dict[str, Any], Delta]:
        """Wait for the turn's end; return the completion, and the one delta that it is made of."""
        delta = await turn.aresult()
        return self.object(delta), delta

    def object(self, delta: Delta) -> dict[str, Any]:
        """Return the completion of an answer's only delta."""
        message: dict[str, Any] = {"role": "assistant", "content": delta.text, "refusal": None}
        if delta.reasoning:
            message["reasoning_content"] = delta.reasoning
        if delta.calls:
            message["content"] = delta.text or None
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in delta.calls
            ]
        choice = {
            "index": 0,
            "message": message,
            "logprobs": self._logprobs(delta),
            "finish_reason": delta.finish,
        }
        return {
            **self._head("chat.completion"),
            "choices": [choice],
            "usage": _usage(delta),
            "pad": self._pad(delta),
        }

    def begin(self) -> list[dict[str, Any]]:
        """Return the first chunk of a stream, which says whose turn it is."""
        return [self._chunk({"role": "assistant", "content": "", "refusal": None})]

    def failure(self, error: ApiError) -> dict[str, Any]:
        """Return the last line of a stream that failed."""
        return error.body()

    def events(self, delta: Delta) -> Iterator[dict[str, Any]]:
        """Yield what a delta adds to a stream, and with the last one its end."""
        added: dict[str, Any] = {}
        if delta.reasoning:
            added["reasoning_content"] = delta.reasoning
        if delta.text:
            added["content"] = delta.text
        if delta.calls:
            added["tool_calls"] = self._pieces(delta.calls)
        logprobs = self._logprobs(delta)
        if added or (logprobs and logprobs["content"]):
            yield self._chunk(added, logprobs)
        if delta.finish is None:
            return
        yield {**self._chunk({}, finish=delta.finish), "pad": self._pad(delta)}
        if self.usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(delta)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}

    def _chunk(
        self, added: Mapping[str, Any], logprobs: Mapping[str, Any] | None = None, finish: str | None = None
    ) -> dict[str, Any]:
        choice = {"index": 0, "delta": added, "logprobs": logprobs, "finish_reason": finish}
        usage = {"usage": None} if self.usage else {}
        return {**self._head("chat.completion.chunk"), "choices": [choice], **usage}

    def _pieces(self, calls: Sequence[CallDelta]) -> list[dict[str, Any]]:
        """Pieces of calls: id and name come with the first one of each."""
        pieces = []
        for call in calls:
            piece: dict[str, Any] = {"index": call.index, "function": {"arguments": call.arguments}}
            if call.index not in self._called:
                self._called.add(call.index)
                piece |= {"id": call.id, "type": "function"}
                piece["function"]["name"] = call.name
            pieces.append(piece)
        return pieces

    def _logprobs(self, delta: Delta) -> dict[str, Any] | None:
        if not self.logprobs:
            return None
        return {"content": entries_of(delta, self.ends), "refusal": None}

    def _pad(self, delta: Delta) -> dict[str, Any]:
        return {**(delta.pad or {}), "user": self.user}


def _usage(delta: Delta) -> dict[str, int]:
    assert delta.usage is not None
    return {
        "prompt_tokens": delta.usage.prompt_tokens,
        "completion_tokens": delta.usage.completion_tokens,
        "total_tokens": delta.usage.total_tokens,
    }
