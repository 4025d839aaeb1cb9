"""What guidance costs: time a token of every kind of guide against the base alone, in alternating runs.

    python benchmarks/decoding.py                      the demo pair
    python benchmarks/decoding.py --size 120M          random weights; 500M is closer to what people run
    python benchmarks/decoding.py --size 500M --batches 1 --tokens 24 --rounds 3

Every run decodes the same number of tokens greedily; prompts are not counted. A round runs everything once, in turn;
the table has medians over the rounds, ratios within a round. On one thread unless told otherwise, so that ratios are
not the scheduler's.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from transformers import LlamaConfig, LlamaForCausalLM

from pad_langchain.demo import WEIGHTS
from pad_langchain.engine.adapter import Adapter
from pad_langchain.engine.backbone import Backbone
from pad_langchain.engine.engine import Engine
from pad_langchain.engine.guides import Guide, HeadGuide, ModelGuide
from pad_langchain.engine.loading import load_tokenizer, pick_device, pick_dtype
from pad_langchain.engine.prompts import SELF_TEMPLATE, Prompts
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.reward.head import HeadConfig, VectorHead
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
    engine: Engine
    wishes: int


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


def demo_runs() -> list[Run]:
    from pad_memory.embedding import SentenceEmbedder

    engine = Engine.from_pretrained(WEIGHTS / "base", WEIGHTS / "persrm", embedder=SentenceEmbedder())
    return [Run("base alone", engine, 0), *(Run("head", engine, wishes) for wishes in (1, 4))]


def random_runs(size: str, device: torch.device, dtype: torch.dtype) -> list[Run]:
    tokenizer = load_tokenizer(WEIGHTS / "base")
    prompts = Prompts(tokenizer)
    model = random_model(size, tokenizer, device, dtype)
    embedder = HashEmbedder()
    config = HeadConfig(
        model.config.hidden_size, model.config.vocab_size, embedding_size=embedder.size, embedder=embedder.name
    )

    def on_base(**kwargs: Any) -> Engine:
        base = Backbone(model)
        return Engine(base, tokenizer, ModelGuide(base, prompts, **kwargs))

    def with_guide(guide: Guide | None) -> Engine:
        return Engine(model, tokenizer, guide)

    adapter = on_base(adapter=random_adapter(model))
    head = with_guide(HeadGuide(VectorHead(config), embedder))
    # The other model's weights are its own, but the same: random numbers take their time.
    two = with_guide(ModelGuide(Backbone(copy.deepcopy(model)), prompts))
    return [
        Run("base alone", with_guide(None), 0),
        *(Run("head", head, wishes) for wishes in (1, 4)),
        *(Run("adapter", adapter, wishes) for wishes in (1, 2, 4)),
        Run("self", on_base(template=SELF_TEMPLATE), 1),
        Run("two models", two, 1),
    ]


def decode(run: Run, rows: int, tokens: int, clock: Clock) -> float:
    """Seconds from the moment that everybody has a first token: the steps, not the prompts."""
    preferences = [WeightedPreference(text) for text in WISHES[: run.wishes]]
    request = Request(messages=QUESTION, preferences=preferences, max_tokens=tokens, alpha=0.02)
    readers = [iter(run.engine.submit(request)) for _ in range(rows)]
    for reader in readers:
        next(reader)
    started = clock()
    for reader in readers:
        for _ in reader:
            pass
    return clock() - started


def generate(engine: Engine, rows: int, tokens: int, clock: Clock) -> float:
    """The same of transformers: what is beyond the first token."""
    ids_BT = torch.tensor([engine.prompts.render(QUESTION)] * rows, device=engine.base.device)
    settings: dict[str, Any] = {"do_sample": False, "pad_token_id": 0, "attention_mask": torch.ones_like(ids_BT)}
    begun = clock()
    engine.base.model.generate(ids_BT, max_new_tokens=1, **settings)
    started = clock()
    engine.base.model.generate(ids_BT, max_new_tokens=tokens, **settings)
    return (clock() - started) - (started - begun)


def measure(runs: dict[str, Callable[[int], float]], rows: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of every run in every round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for counted in track([False] + [True] * rounds, description=f"batch {rows}"):
        for name, run in runs.items():
            seconds = run(rows)
            if counted:
                times[name].append(seconds)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["demo", *SIZES], default="demo")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cpu-time", action="store_true", help="CPU seconds, not wall time: for a busy machine")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="bfloat16", help="of random weights; the demo pair is float32")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    if options.size == "demo":
        lines = demo_runs()
    else:
        lines = random_runs(options.size, device, pick_dtype(options.dtype, device))
    engines = list(dict.fromkeys(line.engine for line in lines))
    # No end of sequence: every run makes exactly as many tokens.
    for engine in engines:
        engine._eos = frozenset()
    engines[0].base.model.generation_config.eos_token_id = None
    clock: Clock = time.process_time if options.cpu_time else time.perf_counter
    runs: dict[str, Callable[[int], float]] = {
        line.name if not line.wishes else f"{line.name}, {line.wishes} preference{'s' * (line.wishes > 1)}": (
            lambda rows, line=line: decode(line, rows, options.tokens, clock)  # type: ignore[misc]
        )
        for line in lines
    }
    runs["HF generate, base alone"] = lambda rows: generate(engines[0], rows, options.tokens, clock)
    table = Table(title=f"{options.size}, {options.tokens} new tokens, medians of {options.rounds} alternating rounds")
    for heading in ("", "batch", "ms a step", "÷ base alone", "tokens a second"):
        table.add_column(heading, justify="left" if not heading else "right")
    for rows in options.batches:
        times = measure(runs, rows, options.rounds)
        for name, seconds in times.items():
            middle = statistics.median(seconds)
            ratio = statistics.median(one / other for one, other in zip(seconds, times["base alone"], strict=True))
            step = middle / (options.tokens - 1)
            table.add_row(name, str(rows), f"{step * 1e3:.2f}", f"{ratio:.2f}", f"{rows / step:.0f}")
    Console().print(table)
    for engine in engines:
        engine.close()


if __name__ == "__main__":
    main()
