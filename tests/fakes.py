"""Fast deterministic stand-ins for the embedder and the scorer."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from pad_langchain.testing import HashEmbedder
from pad_memory import CATALOGUE, PreferenceMemory, Statement

KEYS = {pole.text: f"{dimension.name}:{pole.name}" for dimension in CATALOGUE for pole in dimension.poles}

QUESTION = "what is an element?"
WISHES = {"ada": "be concise and brief", "bob": "use a formal tone"}


class WordEmbedder:
    """Sums one fixed random vector a word: [N, 64] unit rows. Knows words, not meaning."""

    name = "words"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        rows = [sum((_word(word) for word in text.lower().split()), np.zeros(64)) for text in texts]
        rows_NE = np.array(rows).reshape(len(texts), 64)
        lengths_N1 = np.linalg.norm(rows_NE, axis=1, keepdims=True)
        return (rows_NE / np.maximum(lengths_N1, 1e-9)).astype(np.float32)


class PoleScorer:
    """Rewards a response by the keys of poles it spells out, "length:concise tone:casual": +10 nats each, else 0."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        self.calls += 1
        keys = response.split()
        return np.array([10.0 if KEYS[text] in keys else 0.0 for text in preferences])


@cache
class Recording:
    """An engine that keeps the requests it is given.

    Args:
        answers: whether it answers them as well; else `submit` returns None.
        recommended: what its PersRM recommends. None means what the engine's own does.
    """

    def __init__(self, engine: Any, *, answers: bool = True, recommended: Any = None) -> None:
        self.engine, self.answers, self.requests = engine, answers, list[Any]()
        if recommended is not None:
            self.recommended = recommended

    def __getattr__(self, name: str) -> Any:
        return getattr(self.engine, name)

    def submit(self, request: Any) -> Any:
        self.requests.append(request)
        return self.engine.submit(request) if self.answers else None


def _word(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "big")
    return np.random.default_rng(seed).normal(size=64)


def told_of_wishes() -> PreferenceMemory:
    """A new memory of `WISHES`."""
    memory = PreferenceMemory(embedder=HashEmbedder())
    for user, wish in WISHES.items():
        memory.record(user, Statement(wish))
    return memory


def likes(memory: PreferenceMemory, user: str) -> list[str]:
    """What a user likes: keys of the catalogue, and their own words."""
    return [item.key if item.key[:5] != "text:" else item.text for item in memory.profile(user).preferences]
