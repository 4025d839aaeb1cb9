"""A GGUF model on a CPU: llama.cpp alone, our engines on it and on torch, and transformers' generate().

    python benchmarks/engine/gguf_engines.py                                 smollm2-135m; a head with random weights
    python benchmarks/engine/gguf_engines.py --head FOLDER --output FOLDER   and what quantised weights do to this head
    python benchmarks/engine/gguf_engines.py --stages memory latency         these alone; "speed" also draws a plot
    python benchmarks/engine/gguf_engines.py --quick                         some minutes: does it run?
    python benchmarks/engine/gguf_engines.py --model FILE --sequences 1 8 --contexts 256 --threads 4 --rounds 7

Each contender is a process of its own (`gguf_worker.py`) on as many threads as cores are free; only one works at a
time. A round asks each once, in turn, and every other round backwards; the table has medians over rounds, and medians
of the ratios within a round. Tokens a second are those after each sequence's first, greedy; all sequences have other
prompts, which are known from a first run that does not count. "llama.cpp alone" is the faster of its two ways to hold
keys and values. llama.cpp's own `llama-batched-bench` is no part of its binding, so its loop here is Python's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pad_langchain.defaults import SMOLLM2_MODEL, model_folder
from pad_langchain.engine.llama_cpp.cores import free_cores

ALONE = ("llama.cpp, one KV", "llama.cpp, a KV each")
GUIDED = "llama.cpp engine, head"
ENGINE = "llama.cpp engine"
OTHERS = (
    ENGINE,
    GUIDED,
    "llama.cpp engine, a KV each",
    "llama.cpp engine, head, a KV each",
    "torch engine",
    "torch engine, head",
    "torch engine int8",
    "generate float32",
    "generate int8",
)
STARTS = (*ALONE[:1], ENGINE, "torch engine")
WORKER = Path(__file__).with_name("gguf_worker.py")
MARKS = "os^DvX*Ph<>"  # lines that lie on each other can be told apart
STAGES = ("speed", "memory", "latency", "heads")
PROMPT = 512  # tokens of the prompts whose first token is timed

Rates = dict[str, list[float]]


class Worker:
    """A contender at work in a process of its own.

    Raises:
        RuntimeError: it does not start; with the last line it said.
    """

    def __init__(self, name: str, place: dict[str, Any]) -> None:
        threads = str(place["threads"])
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER), name, json.dumps(place)],
            env={**os.environ, "OMP_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._answer()

    def ask(self, do: str, **keywords: Any) -> Any:
        """What the contender's method returns."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **keywords}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        if line := self.process.stdout.readline():
            return json.loads(line)
        said = self.process.stderr.read().strip().splitlines()
        raise RuntimeError(said[-1] if said else f"it ended with code {self.process.wait()}")

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


class Bench:
    """All contenders on one model, and the report's lines as they come.

    Args:
        options: of the command line.
    """

    def __init__(self, options: argparse.Namespace, model: str) -> None:
        self.options, self.model, self.lines = options, model, list[str]()
        self.left_out: dict[str, str] = {}

    def place(self, *, keep: bool, sequences: int, context: int) -> dict[str, Any]:
        cells = sequences * -(-(context + self.options.tokens + 64) // 256) * 256
        settings = {"model": self.model, "head": self.options.head or "", "threads": self.options.threads}
        return {**settings, "cells": cells, "sequences": sequences, "keep": keep}

    def say(self, *lines: str) -> None:
        self.lines += lines
        print(*lines, sep="\n", flush=True)

    def table(self, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self.say("", *(f"| {' | '.join(row)} |" for row in (heads, ["---", *["---:"] * (len(heads) - 1)], *rows)), "")

    def workers(self, names: Sequence[str], **sizes: Any) -> dict[str, Worker]:
        """Those of them that start; the others are named once, with their reasons."""
        found = {}
        for name in names:
            if name in self.left_out:
                continue
            try:
                found[name] = Worker(name, self.place(**sizes))
            except RuntimeError as error:
                if name in ALONE:
                    raise SystemExit(f"There is nothing to compare with: {name} does not start. {error}") from error
                self.left_out[name] = str(error)
                self.say(f"Left out, {name}: {error}", "")
        return found

    def rounds(self, workers: dict[str, Worker], ask: Callable[[Worker], Any]) -> dict[str, list[Any]]:
        """Each worker's answers, one a round, after one that does not count."""
        found: dict[str, list[Any]] = {name: [] for name in workers}
        for worker in workers.values():
            ask(worker)
        for number in range(self.options.rounds):
            for name in list(workers)[:: -1 if number % 2 else 1]:
                found[name].append(ask(workers[name]))
        return found

    def speed(self) -> None:
        """Tokens a second of each contender, by (sequences, context)."""
        options = self.options
        cells: dict[tuple[int, int], Rates] = {}
        for context in options.contexts:
            workers = self.workers(options.contenders, keep=True, sequences=max(options.sequences), context=context)
            for sequences in options.sequences:
                ask = {"sequences": sequences, "context": context, "tokens": options.tokens}
                cells[sequences, context] = self.rounds(workers, lambda worker, ask=ask: worker.ask("decode", **ask))
                rates = {name: _rate(name, cells[sequences, context]) for name in workers}
                print(f"{sequences} × {context}", rates, flush=True)
            _end(workers)
        self.say("## Tokens a second", "", "In brackets: ÷ llama.cpp alone.")
        self.table(
            ["sequences × context", *(f"{sequences} × {context}" for sequences, context in cells)],
            [
                [name, *(_rate(name, rates) for rates in cells.values())]
                for name in options.contenders
                if name not in self.left_out
            ],
        )
        draw(cells, options.output / "gguf.png")
        self.say("![Tokens a second by sequences](gguf.png)", "")

    def memory(self) -> None:
        """What each contender needs for one sequence and for the most of them, on the shortest context."""
        context, counts = min(self.options.contexts), sorted({1, max(self.options.sequences)})
        peaks: dict[str, list[float]] = {}
        for sequences in counts:
            for name in self.options.contenders:
                ask = {"sequences": sequences, "context": context, "tokens": self.options.tokens}
                workers = self.workers([name], keep=False, sequences=sequences, context=context)
                for worker in workers.values():
                    worker.ask("decode", **ask)
                    peaks.setdefault(name, []).append(worker.ask("memory"))
                _end(workers)
        own = [min(row) for row in zip(*(peaks[name] for name in ALONE), strict=True)]
        self.say(
            "## Memory",
            "",
            f"MiB at most, beyond what the process had after its imports, at {context} tokens of context and with keys "
            "and values for as many tokens; in brackets what is beyond llama.cpp alone.",
        )
        self.table(
            ["sequences", *map(str, counts)],
            [
                [name, *(f"{peak:.0f} ({peak - alone:+.0f})" for peak, alone in zip(row, own, strict=True))]
                for name, row in peaks.items()
            ],
        )

    def latency(self) -> None:
        """The first token of known and unknown prompts, and from a constructor to a first token."""
        asked = self.options.contenders
        workers = self.workers(
            [name for name in (ENGINE, GUIDED) if name in asked], keep=True, sequences=4, context=PROMPT
        )
        rows = []
        for name, answers in self.rounds(workers, lambda worker: worker.ask("first_token", length=PROMPT)).items():
            unknown, known = (statistics.median(each) * 1e3 for each in zip(*answers, strict=True))
            ratio = statistics.median(again / first for first, again in answers)
            rows.append([name, f"{unknown:.0f}", f"{known:.0f}", f"{ratio:.3f}"])
        _end(workers)
        self.say("## To the first token")
        self.table([f"{PROMPT} tokens, ms", "unknown", "all but 8 known", "known ÷ unknown"], rows)
        context = min(self.options.contexts)
        workers = self.workers([name for name in STARTS if name in asked], keep=False, sequences=1, context=context)
        new = {name: worker.ask("start", new=True) for name, worker in workers.items()}
        starts = self.rounds(workers, lambda worker: worker.ask("start"))
        _end(workers)
        self.table(
            ["all imported, ms", "constructor → first token", "the first time, with an empty cache"],
            [[name, f"{statistics.median(row) * 1e3:.0f}", f"{new[name] * 1e3:.0f}"] for name, row in starts.items()],
        )

    def heads(self) -> None:
        """What quantised weights do to the head."""
        options = self.options
        tokens, wishes = (8, 1) if options.quick else (48, 4)
        workers = self.workers(["heads"], keep=False, sequences=4, context=256)
        for worker in workers.values():
            with tempfile.TemporaryDirectory() as folder:
                found = worker.ask("compare", tokens=tokens, wishes=wishes, beta=options.beta, folder=folder)
            self.say(
                "## The head on quantised hidden states",
                "",
                f"Against the same weights in float32 (dequantised, on torch), on {found.pop('steps')} tokens of "
                f"answers that float32 chose at β = {options.beta:g}; there the chosen token's reward is "
                f"{found.pop('reward'):.3f} nats in the mean, regardless of its sign.",
            )
            columns = list(next(iter(found.values())))
            rows = [[name, *(f"{row[column]:.3f}" for column in columns)] for name, row in found.items()]
            self.table(["weights", *columns], rows)
        _end(workers)


def _end(workers: dict[str, Worker]) -> None:
    for worker in workers.values():
        worker.end()


def _rate(name: str, rates: Rates) -> str:
    """Median tokens a second, and ÷ llama.cpp alone."""
    alone = max((rates[each] for each in ALONE), key=statistics.median)
    ratio = statistics.median(mine / its for mine, its in zip(rates[name], alone, strict=True))
    return f"{statistics.median(rates[name]):.1f} ({ratio:.2f})"


def draw(cells: dict[tuple[int, int], Rates], path: Path) -> None:
    """Tokens a second by the number of sequences, a panel for each context."""
    contexts = sorted({context for _, context in cells})
    figure = Figure(figsize=(1.5 + 4.5 * len(contexts), 4.2), layout="constrained")
    panels = figure.subplots(1, len(contexts), squeeze=False, sharey=True)[0]
    for axes, context in zip(panels, contexts, strict=True):
        mine = {sequences: rates for (sequences, of), rates in cells.items() if of == context}
        for name, mark in zip(next(iter(mine.values())), MARKS, strict=False):
            rates = [statistics.median(each[name]) for each in mine.values()]
            axes.plot(list(mine), rates, marker=mark, label=name)
        axes.set(title=f"{context} tokens of context", xlabel="sequences", xscale="log", yscale="log")
        axes.set_xticks(list(mine), labels=map(str, mine), minor=False)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("tokens a second")
    panels[-1].legend(loc="upper left", bbox_to_anchor=(1.02, 1))
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=SMOLLM2_MODEL, help="a GGUF file, or smollm2-135m")
    parser.add_argument("--head", help="folder of a head for it")
    parser.add_argument("--beta", type=float, default=1.0, help="strength for the comparison of its rewards")
    parser.add_argument("--sequences", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--contexts", type=int, nargs="+", default=[128, 1024], help="tokens of each prompt")
    parser.add_argument("--tokens", type=int, default=48, help="of each answer")
    parser.add_argument("--threads", type=int, help="default: the cores that are free now")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--contenders", nargs="+", default=OTHERS, choices=OTHERS, metavar="NAME")
    parser.add_argument("--stages", nargs="+", default=STAGES, choices=STAGES, help='"heads" needs --head')
    parser.add_argument("--output", type=Path, default=Path("gguf-report"), help="folder of gguf.md and gguf.png")
    parser.add_argument("--quick", action="store_true", help="few sequences, tokens and rounds: does it run?")
    options = parser.parse_args()
    if options.quick:
        options.sequences, options.contexts, options.tokens, options.rounds = [1, 2], [64], 8, 2
    options.contenders = [*ALONE, *options.contenders]
    free = free_cores()
    options.threads = options.threads or free
    options.output.mkdir(parents=True, exist_ok=True)
    bench = Bench(options, model_folder(options.model))
    bench.say(
        f"# {Path(bench.model).name} on a CPU",
        "",
        f"{free} of {os.cpu_count()} cores free at the start, {options.threads} threads; llama-cpp-python "
        f"{version('llama-cpp-python')}; answers of {options.tokens} tokens, medians of {options.rounds} alternating "
        f"rounds; head: {'random weights' if options.head is None else Path(options.head).name}.",
        "",
    )
    try:
        for stage in options.stages:
            if stage != "heads" or options.head:
                getattr(bench, stage)()
    finally:  # a stage that fails takes nothing from those before
        (options.output / "gguf.md").write_text("\n".join(bench.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
