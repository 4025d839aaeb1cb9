"""Answers for an evaluation: each is kept on disk as soon as it is there."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pad_langchain.chat.messages import with_preferences, with_preferences_at_end
from pad_langchain.engine.protocol import Engine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.evaluation.cases import Case
from pad_langchain.evaluation.config import METHODS, Setting
from pad_langchain.evaluation.peak import peak_use
from pad_langchain.training.wordings import wishes_of

__all__ = ["Answer", "Kept", "Wishes", "decode", "key_of", "request_of", "wishes_in"]

AT_ONCE = 256  # requests in the engine's queue
Wishes = Sequence[tuple[str, float]]  # (text, weight)


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    Args:
        tokens: its length. ended: by itself, not by the limit.
        seconds: its share of what its batch took.
        peak_gib: what the process needed at its most meanwhile (of the GPU where one is).
    """

    text: str
    tokens: int
    ended: bool
    seconds: float
    peak_gib: float = float("nan")


class Kept:
    """A dictionary in a JSONL file that only grows: what a stopped run had finished is there for the next."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Any] = {}
        if not path.exists():
            return
        written = path.read_bytes()
        whole = written[: written.rfind(b"\n") + 1]
        if whole != written:  # the line a kill cut short
            os.truncate(path, len(whole))
        for line in whole.decode("utf-8").split("\n")[:-1]:
            key, value = json.loads(line)
            self._found[key] = value

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self._found.get(key)

    def put(self, key: str, value: Any) -> None:
        """Keep a value, on disk before this returns."""
        self._found[key] = value
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([key, value], ensure_ascii=False) + "\n")


def key_of(*parts: Any) -> str:
    """A short name for what an answer or verdict depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:24]


def decode(engine: Engine, requests: Sequence[Request]) -> Iterator[Answer]:
    """Answer requests in order, batch after batch."""
    for start in range(0, len(requests), AT_ONCE):
        started = time.perf_counter()
        with peak_use() as peak:
            streams = [engine.submit(request) for request in requests[start : start + AT_ONCE]]
            done = [stream.result() for stream in streams]
        spent = (time.perf_counter() - started) / max(1, sum(each.completion_tokens for each in done))
        for each in done:
            tokens = each.completion_tokens
            yield Answer(each.text, tokens, each.finish_reason == "stop", spent * tokens, peak.gib)


def wishes_in(case: Case) -> Wishes:
    """A case's own preferences, each in full."""
    return [(wish, 1.0) for wish in wishes_of(case.text)]


def request_of(
    case: Case, wishes: Wishes, setting: Setting, vectors: Mapping[str, np.ndarray], max_tokens: int
) -> Request:
    """What the engine is asked for a case with these (text, weight) preferences."""
    method = METHODS[setting.method]
    messages: list[dict[str, Any]] = [dict(message) for message in case.messages]
    if method.told:
        if setting.wish_place != "system":
            messages = with_preferences_at_end(messages, wishes)
        if setting.wish_place != "user":
            messages = with_preferences(messages, wishes)
    return Request(
        messages=messages,
        preferences=[
            WeightedPreference(text, weight, vectors.get(text)) for text, weight in wishes if method.guides and weight
        ],
        beta=setting.beta,
        top_k=setting.top_k,
        alpha=setting.alpha,
        repetition_penalty=setting.repetition_penalty,
        no_repeat_ngram=setting.no_repeat_ngram,
        max_tokens=max_tokens,
    )
