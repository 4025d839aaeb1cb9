"""What a token of a real model costs on this CPU, against one pass over its weights and against transformers.

    python benchmarks/engine/decoding_real.py --model FOLDER --head FOLDER
    python benchmarks/engine/decoding_real.py --model FOLDER --head FOLDER --batches 1 8 16 --threads 2 --other CHECKOUT
    python benchmarks/engine/decoding_real.py --model FOLDER --cpu-time --threads 1       on a machine that others use

Every line runs in a process of its own. A round runs all of them once, in turn, and reads as many bytes as each
model's linear layers have; the table has medians over the rounds, and ratios within a round. `--other` is the folder of
another checkout of this project, which runs float32 and bfloat16. `--quality` compares answers, perplexities, rewards
and resident memory instead, in one process after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pad_langchain.defaults import model_folder

HERE = Path(__file__).parents[2]
SIZE = {"float32": 4, "bfloat16": 2, "int8": 1}  # bytes of a weight

WORKER = """
import json, sys, time
import torch

asked = json.loads(sys.argv[1])
torch.set_num_threads(asked["threads"])
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.persrm.build import load_engine

kind, head = asked["kind"], asked["head"]
how = {"weights": "int8"} if kind == "int8" else {"dtype": kind}
if asked["hf"]:
    head, how["pack_weights"] = None, False
engine = load_engine(asked["model"], head, **how, **asked["more"])
engine.end_tokens = frozenset()
model = engine.base.model
model.generation_config.eos_token_id = None
question = [{"role": "user", "content": "Explain what copper is used for, and how it is made."}]
wishes = [WeightedPreference("be concise")] if head else []

def ours(rows, tokens):
    request = Request(messages=question, max_tokens=tokens, preferences=wishes, alpha=0.02)
    readers = [iter(engine.submit(request)) for _ in range(rows)]
    for reader in readers:
        next(reader)
    begun = time.perf_counter(), time.process_time()
    for reader in readers:
        for _ in reader:
            pass
    return time.perf_counter() - begun[0], time.process_time() - begun[1]

def theirs(rows, tokens):
    ids = torch.tensor([engine.prompts.render(question)] * rows)
    told = {"do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(ids)}
    clocks = [(time.perf_counter(), time.process_time())]
    for count in (1, tokens):
        model.generate(ids, max_new_tokens=count, **told)
        clocks.append((time.perf_counter(), time.process_time()))
    return tuple((c - b) - (b - a) for a, b, c in zip(*clocks))

weights = sum(layer.in_features * layer.out_features for layer in model.modules() if hasattr(layer, "in_features"))
run = theirs if asked["hf"] else ours
run(1, 4)
print(json.dumps(weights), flush=True)
for line in sys.stdin:
    rows, tokens = json.loads(line)
    seconds = run(rows, tokens)
    print(json.dumps([each / (tokens - 1) for each in seconds]), flush=True)
"""

QUALITY = """
import json, math, sys
import torch

asked = json.loads(sys.argv[1])
torch.set_num_threads(asked["threads"])
from pad_langchain.engine.types import Request
from pad_langchain.persrm.build import load_pair

kind = asked["kind"]
how = {"weights": "int8"} if kind == "int8" else {"dtype": kind}
pair = load_pair(asked["model"], asked["head"], **how, **asked["more"])
engine, base = pair.engine, pair.engine.base

def told(question):
    return [{"role": "user", "content": question}]

@torch.inference_mode()
def next_tokens(ids, first):
    logits = base.logits(base.hidden(torch.tensor([ids])))[0, first - 1 : -1]
    losses = torch.nn.functional.cross_entropy(logits, torch.tensor(ids[first:]), reduction="none")
    return logits.argmax(-1).tolist(), losses

requests = [Request(messages=told(question), max_tokens=asked["tokens"]) for question in asked["questions"]]
answers = [list(stream.result(600).token_ids) for stream in [engine.submit(request) for request in requests]]
with open("/proc/self/status") as file:
    resident = next(int(line.split()[1]) for line in file if line.startswith("VmRSS")) * 1024
heard = asked["heard"] or answers
losses, likeliest, pages = [], [], []
for question, ids in zip(asked["questions"], heard):
    prompt = list(engine.prompts.render(told(question)))
    likely, loss = next_tokens(prompt + ids, len(prompt))
    likeliest += likely
    losses.append(loss)
for text in asked["texts"]:
    likely, loss = next_tokens(list(engine.prompts.encode(text))[:256], 1)
    likeliest += likely
    pages.append(loss)
rewards = []
if pair.persrm is not None:
    pairs = [(question, engine.tokenizer.decode(ids)) for question, ids in zip(asked["questions"], heard)]
    rewards = pair.persrm.score_many(pairs, ["be concise", "be formal"]).tolist()
perplexities = [math.exp(float(torch.cat(part).mean())) for part in (losses, pages)]
print(json.dumps([answers, perplexities, likeliest, rewards, resident]), flush=True)
"""


class Line:
    """One line of the table, at work in a process of its own."""

    def __init__(self, name: str, folder: Path, script: str, **asked: Any) -> None:
        self.name, self.kind = name, asked["kind"]
        path = os.pathsep.join(map(str, (folder, folder / "memory")))
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", script, json.dumps(asked)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def answer(self) -> Any:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return json.loads(line)
        raise SystemExit(f"{self.name} ended with code {self.process.wait()}.")

    def ask(self, *what: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        return self.answer()


def read(buffer: torch.Tensor, size: int, clock: int) -> float:
    """Seconds of one pass over so many bytes: the median of three."""
    clocks = (time.perf_counter, time.process_time)[clock]
    part, took = buffer[: size // 4], []
    for _ in range(3):
        begun = clocks()
        part.sum()
        took.append(clocks() - begun)
    return statistics.median(took)


def measure(lines: list[Line], weights: int, args: argparse.Namespace) -> None:
    clock = int(args.cpu_time)
    buffer = torch.ones(weights)
    time_of = "CPU time" if clock else "wall time"
    title = f"{args.tokens} new tokens, {time_of}, medians of {args.rounds} alternating rounds, {args.threads} threads"
    table = Table(title=title)
    for heading in ("", "batch", "ms a step", "÷ one pass over the weights", "tokens a second", "GB/s read"):
        table.add_column(heading, justify="left" if not heading else "right")
    for rows in args.batches:
        times: dict[str, list[float]] = {line.name: [] for line in lines}
        passes: dict[str, list[float]] = {line.name: [] for line in lines}
        for number in range(args.rounds + 1):
            for line in lines if number % 2 else reversed(lines):
                seconds = line.ask(rows, args.tokens)[clock]
                took = read(buffer, weights * SIZE[line.kind], clock)
                if number:  # the first warms up
                    times[line.name].append(seconds)
                    passes[line.name].append(took)
        for line in lines:
            step, took = (statistics.median(found[line.name]) for found in (times, passes))
            ratio = statistics.median(a / b for a, b in zip(times[line.name], passes[line.name], strict=True))
            rate = weights * SIZE[line.kind] / took / 1e9
            table.add_row(
                line.name, str(rows), f"{step * 1e3:.1f}", f"{ratio:.2f}", f"{rows / step:.1f}", f"{rate:.1f}"
            )
        Console(width=120).print(table)  # so far: a long run may be stopped


def compare(args: argparse.Namespace, asked: dict[str, Any]) -> None:
    """How far bfloat16 and int8 are from float32 on questions and on this project's own pages."""
    questions = (
        "What is copper used for?",
        "Explain how rain forms.",
        "Write a short letter to a landlord about a broken heater.",
        "Give me three tips for learning to cook.",
        "What is the difference between a list and a tuple in Python?",
        "Tell me a story about a lighthouse.",
        "How do vaccines work?",
        "Plan a weekend in a city by the sea.",
    )
    pages = sorted((HERE / "docs").glob("*.md"))[:4]
    texts = [page.read_text(encoding="utf-8")[:1500] for page in pages]
    told = {"questions": questions, "texts": texts, "tokens": args.tokens, "hf": False, **asked}
    table = Table(title=f"{len(questions)} greedy answers of {args.tokens} tokens; {len(texts)} pages of docs/")
    for heading in (
        "",
        "same tokens",
        "until",
        "next token the same",
        "perplexity of float32's answers",
        "of the pages",
        "rewards differ by",
        "MB resident",
    ):
        table.add_column(heading, justify="left" if not heading else "right")
    ours: Any = None
    for kind in ("float32", *(kind for kind in args.kinds if kind != "float32")):
        heard = None if ours is None else ours[0]
        with Console(stderr=True).status(f"{kind}: answers, pages and rewards"):
            found = Line(kind, HERE, QUALITY, kind=kind, heard=heard, **told).answer()
        ours = ours or found
        table.add_row(kind, *distances(found, ours))
        Console(width=140).print(table)  # so far: a long run may be stopped


def distances(found: list[Any], ours: list[Any]) -> list[str]:
    """How far one kind's answers, next tokens and rewards are from float32's, as cells of the table."""
    answers, perplexities, likeliest, rewards, resident = found
    pairs = [(a, b) for x, y in zip(answers, ours[0], strict=True) for a, b in zip(x, y, strict=False)]
    until = [next((n for n, (a, b) in enumerate(zip(x, y)) if a != b), len(y)) for x, y in zip(answers, ours[0])]  # noqa: B905
    next_same = sum(a == b for a, b in zip(likeliest, ours[2], strict=True)) / len(likeliest)
    mine, theirs = torch.tensor(rewards).flatten(), torch.tensor(ours[3]).flatten()
    return [
        f"{sum(a == b for a, b in pairs) / len(pairs):.1%}",
        f"{statistics.median(until):.0f}",
        f"{next_same:.1%}",
        *(f"{perplexity:.2f}" for perplexity in perplexities),
        f"{float((mine - theirs).abs().mean() / theirs.std()):.3f} sd" if rewards else "–",
        f"{resident / 1e6:.0f}",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", required=True, help="folder or GGUF file of a causal LM, or a name such as smollm2-135m"
    )
    parser.add_argument("--head", help="folder of its head; then our lines steer by one wish")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 16])
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=list(SIZE), default=list(SIZE))
    parser.add_argument("--other", type=Path, help="folder of another checkout")
    parser.add_argument("--compile", action="store_true", help="also float32 and bfloat16 in compiled steps")
    parser.add_argument("--no-hf", action="store_true", help="without transformers' generate")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds, not wall time: for a busy machine")
    parser.add_argument("--quality", action="store_true", help="answers, perplexity and rewards instead of time")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = model_folder(args.model)
    more = {"backend": "torch"} if model.endswith(".gguf") else {}
    asked = {"model": model, "head": args.head, "threads": args.threads, "more": more}
    if args.quality:
        return compare(args, asked)
    plain = [kind for kind in args.kinds if kind != "int8"]
    lines = [Line(kind, HERE, WORKER, kind=kind, hf=False, **asked) for kind in args.kinds]
    if args.other:
        folder = args.other.resolve()
        lines += [Line(f"{kind}, other", folder, WORKER, kind=kind, hf=False, **asked) for kind in plain]
    if args.compile:
        compiled = {**asked, "more": {**more, "compile": True}}
        lines += [Line(f"{kind}, compiled", HERE, WORKER, kind=kind, hf=False, **compiled) for kind in plain]
    if not args.no_hf:
        lines += [Line(f"{kind}, HF generate", HERE, WORKER, kind=kind, hf=True, **asked) for kind in plain]
    weights, *_ = [line.answer() for line in lines]
    try:
        return measure(lines, weights, args)
    finally:
        for line in lines:
            line.process.kill()


if __name__ == "__main__":
    main()
