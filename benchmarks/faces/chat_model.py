"""What the LangChain face costs: how early a stream's first chunk comes, and batch speed against the bare engine.

    python benchmarks/faces/chat_model.py

On the demo pair under a preference, and on a random base of 45 million parameters, where a step costs what it costs in
use. Runs alternate (ChatPAD, engine, ChatPAD, …); medians, and medians of the rounds' ratios.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pad_langchain import ChatPAD
from pad_langchain.chat import Chat
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.testing import tiny_model, tiny_tokenizer

QUESTION = "Tell me about Japan."
BATCH = 16
WISH = "be formal"


@contextmanager
def faces(tokens: int) -> Iterator[dict[str, tuple[ChatPAD, str | None]]]:
    """A ChatPAD on each base and the wish it is asked with; no end of sequence, so that all answers are as long."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = tiny_tokenizer()
        tiny_model(hidden_size=768, layers=8, heads=12, kv_heads=4, max_position_embeddings=1024).save_pretrained(
            folder
        )
        tokenizer.save_pretrained(folder)
        made: dict[str, tuple[ChatPAD, str | None]] = {
            "demo pair, 1 preference": (ChatPAD(max_tokens=tokens), WISH),
            "45M random base": (ChatPAD(model=folder, max_tokens=tokens), None),
        }
        for llm, _ in made.values():
            Chat.of(llm.model_name, llm).engine.end_tokens = frozenset()
        yield made


def first_chunk(llm: ChatPAD, wish: str | None) -> float:
    """Time to the first chunk of a stream ÷ time to its end."""
    started = time.perf_counter()
    stream = llm.stream(QUESTION, preference=wish)
    next(stream)
    first = time.perf_counter() - started
    for _ in stream:
        pass
    return first / (time.perf_counter() - started)


def through_face(llm: ChatPAD, wish: str | None) -> float:
    """Seconds for a batch through `ChatPAD.batch`."""
    started = time.perf_counter()
    llm.batch([QUESTION] * BATCH, preference=wish)
    return time.perf_counter() - started


def through_engine(llm: ChatPAD, wish: str | None) -> float:
    """Seconds for the same batch through the engine."""
    engine = Chat.of(llm.model_name, llm).engine
    beta, alpha = engine.recommended.beta, engine.recommended.alpha
    preferences = [WeightedPreference(wish)] if wish else []
    started = time.perf_counter()
    messages = [{"role": "user", "content": QUESTION}]
    request = Request(messages, preferences=preferences, beta=beta, alpha=alpha, max_tokens=llm.max_tokens)
    for stream in [engine.submit(request) for _ in range(BATCH)]:
        stream.result()
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(
        title=f"Answers of {options.tokens} tokens, one thread, medians of {options.rounds} alternating rounds"
    )
    for heading in ("", "first chunk ÷ whole stream", f"batch of {BATCH}: tokens a second", "÷ engine's"):
        table.add_column(heading, justify="left" if not heading else "right")
    with faces(options.tokens) as made:
        for name, (llm, wish) in made.items():
            through_face(llm, wish)
            through_engine(llm, wish)
            firsts, face, engine = [], [], []
            for _ in track(range(options.rounds), description=name):
                firsts.append(first_chunk(llm, wish))
                face.append(through_face(llm, wish))
                engine.append(through_engine(llm, wish))
            rate = BATCH * options.tokens / statistics.median(face)
            ratio = statistics.median(there / here for here, there in zip(face, engine, strict=True))
            table.add_row(name, f"{statistics.median(firsts):.3f}", f"{rate:.0f}", f"{ratio:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
