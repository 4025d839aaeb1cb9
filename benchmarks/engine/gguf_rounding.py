"""How often a neighbour in llama.cpp's batch changes an answer: its products round otherwise for more rows at once.

    python benchmarks/engine/gguf_rounding.py [MODEL.gguf] [--prompts N] [--tokens N] [--rows N] [--threads N]

Greedy answers of the base, and under a head with random weights, alone and in batches. For answers that differ: the
margin of the best token over the second, in nats, where they part.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from gguf_speed import _random_head, _smollm2

from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.models.gguf import GgufFile
from pad_langchain.persrm.guides import HeadGuide
from pad_langchain.testing import paused

SUBJECTS = (
    "tea rain boats music bread cats stars chess snow maps books bees gold wind salt ships clocks roses trains ice"
)
ASKS = (
    "What is {}?", "Tell me a story about {}.", "Why do people like {}?", "Give me three facts about {}.",
    "Who knows {}?", "Write a poem about {}.", "How old is {}?", "Explain {} to a child.", "Is {} good for me?",
    "Where is {} found?",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=None)
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--threads", type=int, default=None)
    told = parser.parse_args()
    file = GgufFile(told.model or _smollm2())
    base = LlamaBase(file, threads=told.threads)
    texts = [ask.format(subject) for ask in ASKS for subject in SUBJECTS.split()][: told.prompts]
    vector = np.random.default_rng(0).standard_normal(384).astype(np.float32)
    wish = WeightedPreference("x", 1.0, vector / np.linalg.norm(vector))
    settings = {"max_batch": told.rows, "prefix_tokens": 0, "max_batch_tokens": told.rows * (told.tokens + 128)}
    with LlamaCppEngine(base, file.tokenizer, HeadGuide(_random_head(base)), **settings) as engine:
        for name, steering in (("plain", {}), ("guided", {"preferences": [wish], "top_k": 50, "alpha": 0.001})):
            _compare(engine, name, [_request(text, told.tokens, steering) for text in texts])


def _request(text: str, tokens: int, steering: dict[str, Any]) -> Request:
    return Request([{"role": "user", "content": text}], max_tokens=tokens, candidates=2, **steering)


def _compare(engine: LlamaCppEngine, name: str, requests: list[Request]) -> None:
    alone = [engine.submit(request).result() for request in requests]
    with paused(engine):
        streams = [engine.submit(request) for request in requests]
    company = [stream.result() for stream in streams]
    margins = []
    for one, other in zip(alone, company, strict=True):
        if one.token_ids != other.token_ids:
            parted = next(
                n for n, pair in enumerate(zip(one.token_ids, other.token_ids, strict=False)) if pair[0] != pair[1]
            )
            best = one.events[parted].candidates
            margins.append(best[0].score - best[1].score if len(best) > 1 else 0.0)
    most = f", margin where they part at most {max(margins):.3f} nats" if margins else ""
    print(f"{name}: {len(margins)} of {len(requests)} answers differ in company{most}")


if __name__ == "__main__":
    main()
