"""Answers for an evaluation: by method, strength and candidates; each is kept on disk as soon as it is there."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pad_langchain.chat.messages import with_preferences
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.evaluation.judges import Case
from pad_langchain.evaluation.peak import peak_memory
from pad_langchain.training.head import wishes_of

__all__ = ["GUIDED", "METHODS", "Answer", "Kept", "Setting", "answer_all", "request_of"]

METHODS = ("base", "prompted", "head", "text", "pad+prompt", "self")
GUIDED = ("head", "text", "pad+prompt", "self")
AT_ONCE = 256  # requests in the engine's queue


@dataclass(frozen=True)
class Setting:
    """One way to decode: a method of METHODS, and for guided ones beta, k and alpha."""

    method: str
    beta: float = 0.0
    top_k: int = 10
    alpha: float = 0.0

    def plain(self) -> Setting:
        """The same without guidance where β = 0, so that nothing is decoded twice."""
        if self.method not in GUIDED or self.beta != 0:
            return self
        return Setting("prompted" if self.method == "pad+prompt" else "base")


@dataclass(frozen=True)
class Answer:
    """A finished answer.

    Args:
        tokens: its length. ended: by itself, not by the limit.
        seconds: its share of what its batch took. memory: GiB, the process's peak meanwhile (of the GPU where one is).
    """

    text: str
    tokens: int
    ended: bool
    seconds: float
    memory: float = float("nan")


class Kept:
    """A dictionary in a JSONL file that only grows: what a stopped run had finished is there for the next."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._found: dict[str, Any] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                try:
                    key, value = json.loads(line)
                except ValueError:  # the line a kill cut short
                    continue
                self._found[key] = value
        # A cut line must not run into the next.
        if path.exists() and not path.read_bytes().endswith(b"\n"):
            with path.open("a") as stream:
                stream.write("\n")

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


def answer_all(
    kept: Kept,
    engine: Callable[[str], TorchEngine],
    mark: str,
    cases: Sequence[Case],
    setting: Setting,
    vectors: Mapping[str, np.ndarray],
    max_tokens: int,
    weights: Sequence[Sequence[tuple[str, float]]] | None = None,
    tick: Callable[[int, int], None] | None = None,
) -> list[Answer]:
    """Answer every case, those that are kept without a model.

    Args:
        engine: method → engine, called only if something is missing.
        mark: names the models.
        vectors: embeddings of preference texts.
        weights: for each case the (text, weight) preferences to use instead of its own.
    """
    wished = [[(wish, 1.0) for wish in wishes_of(case.text)] for case in cases] if weights is None else weights
    keys = [
        key_of(mark, vars(setting), case.messages, [list(wish) for wish in wishes], max_tokens)
        for case, wishes in zip(cases, wished, strict=True)
    ]
    if setting.method == "base":  # it knows of no preference: one answer for all of them
        keys = [key_of(mark, "base", case.messages, max_tokens) for case in cases]
    missing = list({key: n for n, key in enumerate(keys) if kept.get(key) is None}.values())
    for start in range(0, len(missing), AT_ONCE):
        part = missing[start : start + AT_ONCE]
        runner = engine(setting.method)
        started = time.perf_counter()
        with peak_memory() as memory:
            streams = [runner.submit(request_of(cases[n], wished[n], setting, vectors, max_tokens)) for n in part]
            done = [stream.result() for stream in streams]
        spent = (time.perf_counter() - started) / max(1, sum(each.completion_tokens for each in done))
        for n, each in zip(part, done, strict=True):
            seconds = spent * each.completion_tokens
            kept.put(keys[n], [each.text, each.completion_tokens, each.finish_reason == "stop", seconds, memory.gib])
        if tick is not None:
            tick(start + len(part), len(missing))
    return [Answer(*kept.get(key)) for key in keys]


def request_of(
    case: Case,
    wishes: Sequence[tuple[str, float]],
    setting: Setting,
    vectors: Mapping[str, np.ndarray],
    max_tokens: int,
) -> Request:
    """What the engine is asked for a case with these (text, weight) preferences."""
    messages: list[dict[str, Any]] = [dict(message) for message in case.messages]
    if setting.method in ("prompted", "pad+prompt"):
        messages = with_preferences(messages, list(wishes))
    guided = setting.method in GUIDED
    return Request(
        messages=messages,
        preferences=[
            WeightedPreference(text, weight, vectors.get(text)) for text, weight in wishes if guided and weight
        ],
        beta=setting.beta,
        top_k=setting.top_k,
        alpha=setting.alpha,
        max_tokens=max_tokens,
    )
