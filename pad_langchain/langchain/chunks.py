"""The engine's token events → LangChain's chunks, and a call's `preference` keyword → weighted preferences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from pad_langchain.chat.tools.answer_parser import AnswerParser, CallDelta, Piece
from pad_langchain.engine.types import FinishReason, TokenEvent, WeightedPreference
from pad_langchain.errors import InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.engine.torch.engine import Stream

__all__ = ["Call", "parse_preference"]


@dataclass
class Call:
    """One generation under way: turns its events into chunks and keeps count.

    Args:
        stream: the engine's stream of this request.
        model_name: reported in the last chunk.
        pad: what steered: user, condition, beta, top_k, response_id; the mean reward (nats a token) joins at the end.
        logprobs: attach one entry a token to the chunks.
        decode: token id → its text, for the entries.
        parser: splits the text into answer, reasoning and tool calls; None: all of it is the answer.
        answered: called with the whole answer when it ends.
    """

    stream: Stream
    model_name: str
    pad: dict[str, Any]
    logprobs: bool
    decode: Callable[[int], str]
    parser: AnswerParser | None = None
    answered: Callable[[str], None] | None = None
    _text: list[str] = field(default_factory=list)
    _tokens: int = 0
    _reward: float = 0.0
    _entries: list[dict[str, Any]] = field(default_factory=list)

    def push(self, event: TokenEvent) -> ChatGenerationChunk | None:
        """Take the next event; return a chunk when there is text to show or the answer ends, else None."""
        piece = self._read(event)
        return self._chunk(piece, event.finish_reason) if piece or event.finish_reason else None

    def join(self, events: Sequence[TokenEvent]) -> ChatGenerationChunk:
        """Take all events of a finished answer; return one chunk: what those of `push` add up to."""
        pieces = [self._read(event) for event in events]
        whole = Piece(
            "".join(piece.text for piece in pieces),
            "".join(piece.reasoning for piece in pieces),
            [call for piece in pieces for call in piece.calls],
        )
        return self._chunk(whole, events[-1].finish_reason)

    def _read(self, event: TokenEvent) -> Piece:
        if event.token_id >= 0:
            self._tokens += 1
            self._reward += event.reward
            if self.logprobs:
                self._entries.append(_entry(event, self.decode))
        piece = self._parse(event)
        self._text.append(piece.text)
        return piece

    def _chunk(self, piece: Piece, reason: FinishReason | None) -> ChatGenerationChunk:
        info: dict[str, Any] = {}
        if self._entries:
            info["logprobs"] = {"content": self._entries}
            self._entries = []
        if reason is None:
            return ChatGenerationChunk(message=_message(piece), generation_info=info or None)
        if self.answered is not None:
            self.answered("".join(self._text))
        # Only the last chunk has these: chunks are added up, and added strings would be joined.
        called = reason == "stop" and self.parser is not None and self.parser.calls > 0
        info["finish_reason"] = "tool_calls" if called else reason
        info["model_name"] = self.model_name
        info["pad"] = {**self.pad, "mean_reward": self._reward / max(self._tokens, 1)}
        message = _message(piece, usage_metadata=self._usage(), chunk_position="last")
        return ChatGenerationChunk(message=message, generation_info=info)

    def _parse(self, event: TokenEvent) -> Piece:
        if self.parser is None:
            return Piece(event.text)
        piece = self.parser.push(event.text)
        if event.finish_reason is None:
            return piece
        rest = self.parser.finish()
        return Piece(piece.text + rest.text, piece.reasoning + rest.reasoning, piece.calls + rest.calls)

    def _usage(self) -> UsageMetadata:
        prompt = self.stream.prompt_tokens
        return UsageMetadata(input_tokens=prompt, output_tokens=self._tokens, total_tokens=prompt + self._tokens)


def _message(piece: Piece, **fields: Any) -> AIMessageChunk:
    return AIMessageChunk(
        content=piece.text,
        additional_kwargs={"reasoning_content": piece.reasoning} if piece.reasoning else {},
        tool_call_chunks=[
            tool_call_chunk(name=call.name, args=call.arguments, id=call.id, index=call.index)
            for call in _joined(piece.calls)
        ],
        **fields,
    )


def _joined(calls: Sequence[CallDelta]) -> list[CallDelta]:
    """One piece a call: LangChain joins pieces of different chunks, but not those within one."""
    joined: dict[int, CallDelta] = {}
    for call in calls:
        seen = joined.get(call.index)
        joined[call.index] = call if seen is None else replace(seen, arguments=seen.arguments + call.arguments)
    return list(joined.values())


def _entry(event: TokenEvent, decode: Callable[[int], str]) -> dict[str, Any]:
    return {
        **_token(decode(event.token_id), event.logprob, event.reward),
        "top_logprobs": [_token(other.text, other.logprob, other.reward) for other in event.candidates],
    }


def _token(text: str, logprob: float, reward: float) -> dict[str, Any]:
    # A token that is part of a character has no text of its own; like OpenAI, say so by leaving the bytes out.
    data = None if "\ufffd" in text else list(text.encode())
    return {"token": text, "logprob": logprob, "reward": reward, "bytes": data}


def parse_preference(preference: Any) -> tuple[WeightedPreference, ...]:
    """Read a call's `preference`: a text, or a list of texts and (text, weight) pairs. An empty list is no preference.

    Raises:
        InvalidRequestError: it has another form, a text is blank or a weight is not finite.

    >>> [(p.text, p.weight) for p in parse_preference(["be brief", ("be formal", -0.5)])]
    [('be brief', 1.0), ('be formal', -0.5)]
    """
    if isinstance(preference, str):
        return (WeightedPreference(preference),)
    if not isinstance(preference, Sequence):
        raise _unreadable(preference)
    return tuple(_one_preference(item) for item in preference)


def _one_preference(item: Any) -> WeightedPreference:
    if isinstance(item, WeightedPreference):
        return item
    if isinstance(item, str):
        return WeightedPreference(item)
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise _unreadable(item)
    text, weight = item
    if not isinstance(text, str) or isinstance(weight, bool) or not isinstance(weight, (int, float)):
        raise _unreadable(item)
    return WeightedPreference(text, float(weight))


def _unreadable(got: Any) -> InvalidRequestError:
    return InvalidRequestError(
        f"preference has to be a text, or a list of texts and (text, weight) pairs, but is {got!r}. "
        'For example [("be concise", 1.0), ("be formal", -0.5)].'
    )
