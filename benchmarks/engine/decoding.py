"""What guidance costs: time a token of every kind of guide against the base alone, in alternating runs.

    python benchmarks/engine/decoding.py                      the demo pair
    python benchmarks/engine/decoding.py --size 120M          random weights; 500M is closer to what people run
    python benchmarks/engine/decoding.py --size 500M --batches 1 --tokens 24 --rounds 3
    python benchmarks/engine/decoding.py --size 120M --dtype float32 --contexts 128 512 --plot decoding.png

Every run decodes the same number of tokens greedily; prompts are not counted. A round runs everything once, in turn;
the table has medians over the rounds, ratios within a round. On one thread unless told otherwise, so that ratios are
not the scheduler's. "Overhead" is the share of the worker's step that is neither a forward nor a product with a head.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from pad_langchain.defaults import WEIGHTS
from pad_langchain.engine.local import worker
from pad_langchain.engine.local.worker import StepReport
from pad_langchain.engine.protocol import Guide
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.cpu import packed
from pad_langchain.models.loading import load_tokenizer, pick_device
from pad_langchain.models.precision import pick_dtype
from pad_langchain.models.prompts import SELF_TEMPLATE, Prompts
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.guides.text import ModelGuide
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.testing import HashEmbedder

WISHES = ("be concise", "be formal", "no emojis", "use bullet points")
QUESTION = [{"role": "user", "content": "Tell me about Japan."}]
# hidden size, layers, intermediate size, heads, key-value heads, vocabulary; "8B" is Llama 3.1's
SIZES = {
    "120M": (768, 12, 2048, 12, 4, 32000),
    "500M": (1280, 24, 3456, 20, 5, 32000),
    "8B": (4096, 32, 14336, 32, 8, 128256),
}
RANK = 16

Clock = Callable[[], float]


@dataclass(frozen=True)
class Run:
    """One line of the table: an engine, and how many preferences its requests have."""

    name: str
    engine: TorchEngine
    wishes: int
    crowded: bool = False  # threads keep their helpers, and the one that submits has some


def random_model(size: str, tokenizer: Any, device: torch.device, dtype: torch.dtype) -> LlamaForCausalLM:
    hidden, layers, inner, heads, kv_heads, vocabulary = SIZES[size]
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            return LlamaForCausalLM(
                LlamaConfig(
                    vocab_size=vocabulary,
                    hidden_size=hidden,
                    intermediate_size=inner,
                    num_hidden_layers=layers,
                    num_attention_heads=heads,
                    num_key_value_heads=kv_heads,
                    max_position_embeddings=8192,
                    initializer_range=0.08,  # with the usual .02 the logits of a random model all but tie
                    pad_token_id=tokenizer.pad_token_id,
                    bos_token_id=None,
                    eos_token_id=None,
                )
            ).eval()
    finally:
        torch.set_default_dtype(before)


def random_adapter(model: LlamaForCausalLM) -> Adapter:
    """A LoRA on all projections."""
    tensors = {}
    for name, module in model.named_modules():
        if name.endswith("_proj"):
            tensors[f"{name}.lora_A.weight"] = torch.randn(RANK, module.in_features) / module.in_features**0.5
            tensors[f"{name}.lora_B.weight"] = torch.randn(module.out_features, RANK) * 0.02
    return Adapter(model, tensors, {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK})


def demo_runs(**settings: Any) -> list[Run]:
    from pad_memory.embedding import SentenceEmbedder

    engine = load_engine(WEIGHTS / "base", WEIGHTS / "persrm", embedder=SentenceEmbedder(), **settings)
    return [Run("base alone", engine, 0), *(Run("head", engine, wishes) for wishes in (1, 2, 4))]


def random_runs(size: str, device: torch.device, dtype: torch.dtype, two: bool = True, **settings: Any) -> list[Run]:
    tokenizer = load_tokenizer(WEIGHTS / "base")
    prompts = Prompts(tokenizer)
    model = random_model(size, tokenizer, device, dtype)
    embedder = HashEmbedder()
    config = HeadConfig(
        model.config.hidden_size, model.config.vocab_size, embedding_size=embedder.size, embedder=embedder.name
    )

    def on_base(**kwargs: Any) -> TorchEngine:
        base = Backbone(model)
        return TorchEngine(base, tokenizer, ModelGuide(base, prompts, **kwargs), **settings)

    def with_guide(guide: Guide | None) -> TorchEngine:
        return TorchEngine(model, tokenizer, guide, **settings)

    adapter = on_base(adapter=random_adapter(model))
    head = with_guide(HeadGuide(VectorHead(config), embedder))
    lines = [
        Run("base alone", with_guide(None), 0),
        *(Run("head", head, wishes) for wishes in (1, 2, 4)),
        *(Run("adapter", adapter, wishes) for wishes in (1, 2, 4)),
        Run("self", on_base(template=SELF_TEMPLATE), 1),
    ]
    if two:  # the other model's weights are its own, but the same: random numbers take their time
        lines.append(Run("two models", with_guide(ModelGuide(Backbone(copy.deepcopy(model)), prompts)), 1))
    return lines


def question(engine: TorchEngine, context: int) -> list[dict[str, Any]]:
    """The question, padded with words until the prompt has at least so many tokens."""
    plain = QUESTION[0]["content"]
    per = len(engine.prompts.encode(plain))
    messages = [{"role": "user", "content": " ".join([plain] * max(1, context // per))}]
    while len(engine.prompts.render(messages)) < context:
        messages[0]["content"] += " Japan."
    return messages


def decode(run: Run, rows: int, tokens: int, clock: Clock, context: int = 0) -> float:
    """Seconds from the moment that everybody has a first token: the steps, not the prompts."""
    preferences = [WeightedPreference(text) for text in WISHES[: run.wishes]]
    messages = question(run.engine, context)
    request = Request(messages=messages, preferences=preferences, max_tokens=tokens, alpha=0.02)
    with mock.patch.object(worker, "dismiss_helpers") if run.crowded else nullcontext():
        if run.crowded:
            torch.ones(512, 512) @ torch.ones(512, 512)
        readers = [iter(run.engine.submit(request)) for _ in range(rows)]
        for reader in readers:
            next(reader)
        started = clock()
        for reader in readers:
            for _ in reader:
                pass
        return clock() - started


def generate(engine: TorchEngine, rows: int, tokens: int, clock: Clock, context: int = 0) -> float:
    """The same of transformers, which has no packed weights: what is beyond the first token."""
    ids_BT = torch.tensor([engine.prompts.render(question(engine, context))] * rows, device=engine.base.device)
    settings: dict[str, Any] = {"do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(ids_BT)}
    with mock.patch.object(packed, "_packed", {}):
        begun = clock()
        engine.base.model.generate(ids_BT, max_new_tokens=1, **settings)
        started = clock()
        engine.base.model.generate(ids_BT, max_new_tokens=tokens, **settings)
    return (clock() - started) - (started - begun)


class Overhead:
    """Watches an engine's worker: thread CPU seconds of its decode steps, and those inside models and heads."""

    def __init__(self, engine: TorchEngine) -> None:
        self._steps: list[tuple[float, float]] = []
        self._models, self._depth = 0.0, 0
        engine.watch(self._count)
        for backbone in engine.models:
            for name in ("decoder", "logits", "candidate_logits"):
                setattr(backbone, name, self._timed(getattr(backbone, name)))

    def _count(self, step: StepReport) -> None:
        if not step.joined:
            self._steps.append((step.cpu_seconds, self._models))
        self._models = 0.0

    def _timed(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._depth += 1
            started = time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                self._depth -= 1
                if not self._depth:
                    self._models += time.thread_time() - started

        return timed

    def take(self) -> float:
        """What a step costs beyond the models, ÷ the models: the median of the steps since the last call."""
        taken, self._steps, self._models = self._steps, [], 0.0
        shares = [step / models - 1 for step, models in taken if models]
        return statistics.median(shares) if shares else float("nan")


def measure(runs: dict[str, Callable[[int], float]], rows: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every run in every round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for counted in track([False] + [True] * rounds, description=f"batch {rows}"):
        for name, run in runs.items():
            seconds = run(rows)
            if counted:
                times[name].append(seconds)
    return times


def plot(path: Path, title: str, ratios: dict[str, dict[str, float]]) -> None:
    """Bars: what each run costs ÷ the base alone, one colour a batch."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(next(iter(ratios.values())))
    figure, axes = pyplot.subplots(figsize=(7, 0.35 * len(names) + 1.2))
    height = 0.8 / len(ratios)
    for index, (label, values) in enumerate(ratios.items()):
        places = [place + height * index for place in range(len(names))]
        axes.barh(places, [values[name] for name in names], height, label=label)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(names))], names)
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel("cost of a token ÷ base alone")
    axes.set_title(title, fontsize=9)
    axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["demo", *SIZES], default="demo")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--contexts", type=int, nargs="+", default=[0], help="tokens of prompt at least")
    parser.add_argument("--runs", nargs="+", help="only runs whose name begins so, base alone besides")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--helpers", action="store_true", help="also as if threads kept their helper threads")
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds, not wall time: for a busy machine")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", help="of random weights; the demo pair is float32")
    parser.add_argument("--compile", action="store_true", help="decode steps as a compiled graph")
    parser.add_argument("--plain", action="store_true", help="no packed weights")
    parser.add_argument("--plot", type=Path, help="a PNG of the ratios")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    settings = {"compile": options.compile, "pack_weights": not options.plain and device.type == "cpu"}
    if options.size == "demo":
        lines = demo_runs(**settings)
    else:
        two = not options.runs or any("two models".startswith(name) for name in options.runs)
        lines = random_runs(options.size, device, pick_dtype(options.dtype, device), two, **settings)
    if options.runs:
        wanted = ("base alone", *options.runs)
        lines = [line for line in lines if line.name.startswith(wanted)]
    if options.helpers:
        lines += [replace(line, name=f"{line.name}, helpers kept", crowded=True) for line in lines]
    engines = list(dict.fromkeys(line.engine for line in lines))
    # No end of sequence: every run makes exactly as many tokens.
    for engine in engines:
        engine.end_tokens = frozenset()
    engines[0].base.model.generation_config.eos_token_id = None
    watched = {engine: Overhead(engine) for engine in engines}
    clock: Clock = time.process_time if options.cpu_time else time.perf_counter
    precision = "float32" if options.size == "demo" else options.dtype
    title = f"{options.size} {precision}, {options.tokens} new tokens, medians of {options.rounds} alternating rounds"
    table = Table(title=title)
    for heading in ("", "batch", "context", "ms a step", "÷ base alone", "tokens a second", "overhead"):
        table.add_column(heading, justify="left" if not heading else "right")
    shown: dict[str, dict[str, float]] = {}
    for context, rows in itertools.product(options.contexts, options.batches):
        shares: dict[str, list[float]] = {}
        runs: dict[str, Callable[[int], float]] = {}
        for line in lines:
            name = line.name + f", {line.wishes} preference{'s' * (line.wishes > 1)}" * bool(line.wishes)
            found = shares[name] = []

            def run(rows: int, line: Run = line, found: list[float] = found, at: int = context) -> float:
                watched[line.engine].take()
                seconds = decode(line, rows, options.tokens, clock, at)
                found.append(watched[line.engine].take())
                return seconds

            runs[name] = run
        if not options.runs or "HF" in options.runs:
            runs["HF generate, base alone"] = lambda rows, context=context: generate(  # type: ignore[misc]
                engines[0], rows, options.tokens, clock, context
            )
        times = measure(runs, rows, options.rounds)
        ratios = shown[f"batch {rows}" + f", {context} tokens of context" * bool(context)] = {}
        for name, seconds in times.items():
            middle = statistics.median(seconds)
            ratios[name] = statistics.median(a / b for a, b in zip(seconds, times["base alone"], strict=True))
            step = middle / (options.tokens - 1)
            share = f"{statistics.median(shares[name]):.1%}" if name in shares else "–"
            cells = (str(rows), str(context or "–"), f"{step * 1e3:.2f}", f"{ratios[name]:.2f}", f"{rows / step:.0f}")
            table.add_row(name, *cells, share)
        Console(width=120).print(table)  # the whole table so far: a long run may be stopped
    if options.plot:
        plot(options.plot, title, shown)
    for engine in engines:
        engine.close()


if __name__ == "__main__":
    main()
