"""What guidance costs on the demo pair: time a token, in alternating runs, medians and ratios.

    python benchmarks/decoding.py

Every run decodes the same number of tokens greedily: HF `generate` on the base, the engine without a preference, the
engine with one and with four preferences, alone and sixteen side by side. All on one thread, so that ratios are not the
scheduler's.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pad_langchain.demo import WEIGHTS
from pad_langchain.engine.engine import Engine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_memory.embedding import SentenceEmbedder

WISHES = ("be concise", "be formal", "no emojis", "use bullet points")
QUESTION = "Tell me about Japan."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    embedder = SentenceEmbedder()
    vectors = dict(zip(WISHES, embedder.embed(WISHES), strict=True))
    engine = Engine.from_pretrained(WEIGHTS / "base", WEIGHTS / "persrm", embedder=embedder)
    model = engine.base.model
    prompt = engine.prompts.render([{"role": "user", "content": QUESTION}], None)
    # No end of sequence: every run makes exactly as many tokens.
    engine._eos = frozenset()
    model.generation_config.eos_token_id = None

    def generate(rows: int) -> None:
        ids_BT = torch.tensor([prompt] * rows)
        model.generate(
            ids_BT,
            attention_mask=torch.ones_like(ids_BT),
            max_new_tokens=options.tokens,
            do_sample=False,
            pad_token_id=0,
        )

    def decode(rows: int, wishes: int) -> None:
        preferences = [WeightedPreference(text, 1.0, vectors[text]) for text in WISHES[:wishes]]
        streams = [
            engine.submit(Request(prompt_ids=prompt, preferences=preferences, max_tokens=options.tokens, alpha=0.02))
            for _ in range(rows)
        ]
        for stream in streams:
            stream.result()

    runs: dict[str, Callable[[int], None]] = {
        "engine, base alone": lambda rows: decode(rows, 0),
        "engine, head, 1 preference": lambda rows: decode(rows, 1),
        "engine, head, 4 preferences": lambda rows: decode(rows, 4),
        "HF generate, base alone": generate,
    }
    table = Table(title=f"{options.tokens} new tokens, one thread, medians of {options.rounds} alternating rounds")
    for heading in ("", "batch", "ms a step", "÷ engine's base", "tokens a second"):
        table.add_column(heading, justify="left" if not heading else "right")
    for rows in (1, 16):
        times: dict[str, list[float]] = {name: [] for name in runs}
        for run in runs.values():
            run(rows)
        for _ in track(range(options.rounds), description=f"batch {rows}"):
            for name, run in runs.items():
                started = time.perf_counter()
                run(rows)
                times[name].append(time.perf_counter() - started)
        base = times["engine, base alone"]
        for name, seconds in times.items():
            middle = statistics.median(seconds)
            ratio = statistics.median(one / other for one, other in zip(seconds, base, strict=True))
            rate = rows * options.tokens / middle
            table.add_row(name, str(rows), f"{middle / options.tokens * 1e3:.2f}", f"{ratio:.2f}", f"{rate:.0f}")
    Console().print(table)
    engine.close()


if __name__ == "__main__":
    main()
