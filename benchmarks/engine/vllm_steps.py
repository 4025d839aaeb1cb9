"""What guidance adds to a step of vLLM, and how bfloat16's answers differ from float32's.

    .venv-vllm/bin/python benchmarks/engine/vllm_steps.py --model FOLDER --head FOLDER
    … --dtype bfloat16 --compiled --batches 1 16 128 --wall       on a GPU
    … --margins                                                   the greedy answers of both types

`make test-vllm` makes the environment. Rounds of plain and guided requests alternate, and a round's time of a step is
the median of its decode steps: CPU time of all threads, or wall time with `--wall`. The table has medians over the
rounds, and of the ratios within a round, with their bootstrap interval of 95%. Gates are random, up to half of what one
preference can reach.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")  # the engine in this process, whose time is taken
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")

PROMPT = 32  # tokens


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of the base")
    parser.add_argument("--head", required=True, help="folder of its head")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--compiled", action="store_true", help="compiled, on a GPU with CUDA graphs")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--wall", action="store_true", help="wall time instead of CPU time")
    parser.add_argument(
        "--margins", action="store_true", help="compare bfloat16's greedy answers with float32's instead"
    )
    asked = parser.parse_args()
    os.environ["PAD_PERSRM"] = asked.head
    if asked.margins:
        compare(asked)
        return
    llm = load(asked, asked.dtype)
    print("| rows | plain, ms | guided, ms | guided ÷ plain | 95% |\n|---|---|---|---|---|")
    clock = time.perf_counter if asked.wall else time.process_time
    for rows in asked.batches:
        for kind in (False, True):
            steps(llm, rows, 8, kind, clock)  # warm
        pairs = [[steps(llm, rows, asked.tokens, kind, clock) for kind in (False, True)] for _ in range(asked.rounds)]
        plain, guided = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = [after / before for before, after in pairs]
        low, high = interval(ratios)
        times = f"{1e3 * plain:.2f} | {1e3 * guided:.2f}"
        print(f"| {rows} | {times} | {statistics.median(ratios):.3f} | {low:.3f}–{high:.3f} |", flush=True)


def load(asked: argparse.Namespace, dtype: str) -> Any:
    """The model in vLLM, with the plugin."""
    from vllm import LLM

    return LLM(
        asked.model,
        dtype=dtype,
        skip_tokenizer_init=True,
        enforce_eager=not asked.compiled,
        max_model_len=512,
        block_size=32,
        max_num_seqs=max(asked.batches),
        enable_prefix_caching=False,
        generation_config="vllm",
        logits_processors=["pad_vllm:PadProcessor"],
    )


def request(number: int, tokens: int, guided: bool) -> tuple[dict[str, Any], Any]:
    """A prompt of random tokens, and how it is decoded: greedily, and through the end of a sequence."""
    from vllm import SamplingParams

    from pad_vllm.heads import served

    head, draw = served().get(), random.Random(number)
    prompt = [draw.randrange(head.config.vocab_size // 2) for _ in range(PROMPT)]
    gate = [draw.uniform(-0.5, 0.5) * head.gate_bound / 8 for _ in range(head.config.rank)]
    extra = {"pad_gate": gate, "pad_alpha": 0.001} if guided else None
    params = SamplingParams(temperature=0.0, max_tokens=tokens, ignore_eos=True, detokenize=False, extra_args=extra)
    return {"prompt_token_ids": prompt}, params


def steps(llm: Any, rows: int, tokens: int, guided: bool, clock: Callable[[], float]) -> float:
    """The median seconds of a decode step of some rows; steps that take prompts do not count."""
    engine, written, taken = llm.llm_engine, {}, []
    for number in range(rows):
        prompt, params = request(number, tokens, guided)
        engine.add_request(str(time.monotonic_ns()), prompt, params)
    while engine.has_unfinished_requests():
        before, begun = dict(written), clock()
        outputs = engine.step()
        spent = clock() - begun
        written |= {each.request_id: len(each.outputs[0].token_ids) for each in outputs}
        if len(before) == rows == len(outputs):
            taken.append(spent)
    return statistics.median(taken)


def interval(values: list[float], resamples: int = 4000) -> tuple[float, float]:
    """The bootstrap interval of 95% of a median."""
    draw = random.Random(0)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(resamples))
    return medians[resamples // 40], medians[-resamples // 40]


def compare(asked: argparse.Namespace) -> None:
    """Greedy answers in bfloat16 against those in float32: how far they agree, and the margins where they part."""
    rows = max(asked.batches)
    answers = {}
    for dtype in ("float32", "bfloat16"):
        llm = load(asked, dtype)
        for guided in (False, True):
            prompts, params = zip(*(request(number, asked.tokens, guided) for number in range(rows)), strict=True)
            for each in params:
                each.logprobs = 2
            told = llm.generate(list(prompts), list(params), use_tqdm=False)
            answers[dtype, guided] = [one.outputs[0] for one in told]
        del llm
    print(
        "| requests | same answers | tokens until they part | base's margin there, nats (float32) |\n|---|---|---|---|"
    )
    for guided in (False, True):
        parts, margins = [], []
        for full, half in zip(answers["float32", guided], answers["bfloat16", guided], strict=True):
            pairs = list(zip(full.token_ids, half.token_ids, strict=True))
            place = next((n for n, (one, two) in enumerate(pairs) if one != two), None)
            if place is not None:
                best = sorted((each.logprob for each in full.logprobs[place].values()), reverse=True)
                parts.append(place)
                margins.append(best[0] - best[1])
        said = (
            f"{statistics.median(parts)} | {statistics.median(margins):.3f}, {max(margins):.3f} at most"
            if parts
            else "– | –"
        )
        print(f"| {'guided' if guided else 'plain'} | {rows - len(parts)} of {rows} | {said} |")


if __name__ == "__main__":
    main()
