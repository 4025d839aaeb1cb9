"""Memory that the engine on llama.cpp adds to llama.cpp's own, for a model and keys and values of 8,192 tokens.

    python benchmarks/engine/gguf_memory.py [MODEL.gguf]

Two processes with the same imports, after 16 guided answers of 64 tokens, or as many of llama.cpp alone: growth of
resident memory since the imports. Linux only.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from gguf_speed import _alone, _engine, _random_head, _smollm2

from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine, LlamaSettings
from pad_langchain.engine.llama_cpp.binding import Context, Weights, load_binding
from pad_langchain.models.gguf import GgufFile
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.guides import HeadGuide


class _Alone:
    """What the loop of llama.cpp alone needs of an engine."""

    def __init__(self, prompts: Prompts) -> None:
        self.prompts = prompts


def main() -> None:
    if len(sys.argv) > 2:
        print(_growth(sys.argv[1], sys.argv[2]))
        return
    model = sys.argv[1] if len(sys.argv) > 1 else str(_smollm2())
    grown = {}
    for which in ("alone", "engine"):
        done = subprocess.run([sys.executable, __file__, model, which], capture_output=True, text=True, check=True)
        grown[which] = int(done.stdout.split()[-1]) / 2**20
    print(
        f"llama.cpp alone {grown['alone']:.0f} MiB, the engine {grown['engine']:.0f} MiB: "
        f"{grown['engine'] - grown['alone']:.0f} MiB more"
    )


def _growth(model: str, which: str) -> int:
    load_binding()
    file = GgufFile(model)
    prompts = Prompts(file.tokenizer)
    before = _resident()
    if which == "alone":
        context = Context(Weights(file.path), LlamaSettings(), 1, 8192, 128)
        _alone(context, _Alone(prompts), 16, 64)
        return _resident() - before
    base = LlamaBase(file, threads=1)
    with LlamaCppEngine(base, file.tokenizer, HeadGuide(_random_head(base))) as engine:
        _engine(engine, 16, 64, guided=True)
        return _resident() - before


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * 4096


if __name__ == "__main__":
    main()
