"""What a token takes in our engine, plain and guided, against transformers' `generate`, on the device that torch finds.

    python benchmarks/engine/gpu_steps.py --model FOLDER --head FOLDER
    python benchmarks/engine/gpu_steps.py --model FOLDER --head FOLDER --dtype float32 --batches 1 2 --rounds 3

Wall time of the decode alone: from the first token of all rows to the last. Rounds alternate; the table has medians.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch

from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.persrm.build import load_engine
from pad_langchain.testing import paused

QUESTION = [{"role": "user", "content": "Explain what copper is used for, and how it is made."}]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the base")
    parser.add_argument("--head", required=True, help="folder of its head")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 128])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=33)
    asked = parser.parse_args()
    engine = load_engine(asked.model, asked.head, dtype=asked.dtype, max_batch=max(asked.batches))
    engine.end_tokens = frozenset()
    print("| rows | plain, ms | guided, ms | `generate`, ms | guided ÷ plain | plain ÷ `generate` |")
    print("|---|---|---|---|---|---|")
    for rows in asked.batches:
        ours(engine, rows, 4, True), ours(engine, rows, 4, False)
        rounds = [
            (
                ours(engine, rows, asked.tokens, False),
                ours(engine, rows, asked.tokens, True),
                theirs(engine, rows, asked.tokens),
            )
            for _ in range(asked.rounds)
        ]
        plain, guided, generate = (1e3 * statistics.median(column) for column in zip(*rounds, strict=True))
        cost = statistics.median(after / before for before, after, _ in rounds)
        against = statistics.median(before / other for before, _, other in rounds)
        print(f"| {rows} | {plain:.2f} | {guided:.2f} | {generate:.2f} | {cost:.3f} | {against:.3f} |", flush=True)


def ours(engine: Any, rows: int, tokens: int, guided: bool) -> float:
    """Seconds a step of our engine."""
    wishes = [WeightedPreference("be concise and brief")] if guided else []
    request = Request(messages=QUESTION, max_tokens=tokens, preferences=wishes, alpha=0.001, logprobs=False)
    with paused(engine):
        readers = [iter(engine.submit(request)) for _ in range(rows)]
    for reader in readers:
        next(reader)
    begun = time.perf_counter()
    for reader in readers:
        for _ in reader:
            pass
    return (time.perf_counter() - begun) / (tokens - 1)


def theirs(engine: Any, rows: int, tokens: int) -> float:
    """Seconds a step of `generate`, greedy, on the same weights."""
    model = engine.base.model
    ids = torch.tensor([engine.prompts.render(QUESTION)] * rows, device=model.device)
    told = {"do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(ids), "eos_token_id": None}
    clocks = [time.perf_counter()]
    for count in (1, tokens):
        model.generate(ids, max_new_tokens=count, **told)
        clocks.append(time.perf_counter())
    return ((clocks[2] - clocks[1]) - (clocks[1] - clocks[0])) / (tokens - 1)


if __name__ == "__main__":
    main()
