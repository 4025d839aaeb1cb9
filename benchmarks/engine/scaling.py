"""How the cost of guided decoding grows: with the context, with the users who share the engine, and without a cache.

    python benchmarks/engine/scaling.py                                     the demo pair
    python benchmarks/engine/scaling.py --size 120M --plot benchmarks/results/plots/scaling.png

Three tables, by random weights in float32 unless it is the demo pair (head guide there, adapter else):

- a step at several lengths of prompt, one user;
- tokens a second of all users together, each a thread that asks and waits for its whole answer, prompts included;
- 512 new tokens by the released way, which runs base and PersRM over the whole text for every token and takes the
  logits of all positions. Its steps are timed at five lengths and summed by the trapezoid rule between them, not run
  one by one; the engine's are summed in the same way from the first table.

CPU seconds on one thread, medians of alternating rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from decoding import SIZES, WISHES, Run, decode, demo_runs, question, random_runs
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pad_langchain.engine.types import Request, WeightedPreference

LENGTHS = (64, 192, 320, 448, 576)  # tokens: a prompt of 64 and 512 new ones
NEW = LENGTHS[-1] - LENGTHS[0]


def uncached_step(run: Run, length: int) -> float:
    """CPU seconds of one token the released way: both models over the whole text."""
    model = run.engine.base.model
    ids_1T = torch.arange(length)[None] % model.config.vocab_size
    started = time.process_time()
    with torch.inference_mode():
        for _ in range(2):  # base and PersRM, of one size
            model(input_ids=ids_1T, use_cache=False)
    return time.process_time() - started


def together(run: Run, callers: int, tokens: int, context: int) -> float:
    """Tokens a CPU second of callers who each wait for their answer."""
    messages = question(run.engine, context)
    preferences = [WeightedPreference(text) for text in WISHES[: run.wishes]]

    def ask(caller: int) -> None:
        told = [{"role": "user", "content": f"{caller}. {messages[0]['content']}"}]
        run.engine.submit(Request(messages=told, preferences=preferences, max_tokens=tokens)).result()

    started = time.process_time()
    with ThreadPoolExecutor(callers) as pool:
        list(pool.map(ask, range(callers)))
    return callers * tokens / (time.process_time() - started)


def summed(seconds: dict[int, float]) -> float:
    """Seconds of NEW tokens from those of a step at LENGTHS, linear between them."""
    return sum((seconds[one] + seconds[other]) / 2 * (other - one) for one, other in itertools.pairwise(LENGTHS))


def plot(path: Path, title: str, steps: dict[str, dict[int, float]], users: dict[str, dict[int, float]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3))
    for name, values in steps.items():
        left.plot(list(values), [1e3 * seconds for seconds in values.values()], marker="o", label=name)
    left.set(xlabel="tokens of context", ylabel="CPU ms a token, one user", yscale="log")
    for name, values in users.items():
        right.plot(list(values), list(values.values()), marker="o", label=name)
    right.set(xlabel="users at once", ylabel="tokens a CPU second in all")
    for axes in (left, right):
        axes.legend(fontsize=7)
    figure.suptitle(title, fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["demo", *SIZES], default="demo")
    parser.add_argument("--tokens", type=int, default=17, help="new tokens of one measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--users", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings: dict[str, Any] = {"compile": False, "pack_weights": True}
    if options.size == "demo":
        lines, guided = demo_runs(**settings), "head"
    else:
        lines, guided = random_runs(options.size, torch.device("cpu"), torch.float32, False, **settings), "adapter"
    base, other = lines[0], next(line for line in lines if line.name == guided)
    for line in (base, other):
        line.engine.end_tokens = frozenset()
    names = {"base alone": base, f"{guided}, 1 preference": other}
    lengths = [length for length in LENGTHS if length + options.tokens < (base.engine.context or 2**31)]
    steps: dict[str, dict[int, list[float]]] = {name: {} for name in (*names, "uncached loop")}
    users: dict[str, dict[int, list[float]]] = {name: {} for name in names}
    for counted in track([False] + [True] * options.rounds, description=options.size):
        for length, (name, line) in itertools.product(lengths, names.items()):
            seconds = decode(line, 1, options.tokens, time.process_time, length) / (options.tokens - 1)
            steps[name].setdefault(length, []).extend([seconds] * counted)
        for length in lengths:
            steps["uncached loop"].setdefault(length, []).extend([uncached_step(other, length)] * counted)
        for count, (name, line) in itertools.product(options.users, names.items()):
            users[name].setdefault(count, []).extend([together(line, count, options.tokens, 32)] * counted)
    middle = {name: {at: statistics.median(all) for at, all in values.items()} for name, values in steps.items()}
    speeds = {name: {at: statistics.median(all) for at, all in values.items()} for name, values in users.items()}
    title = f"{options.size} float32, medians of {options.rounds} alternating rounds, CPU time"
    table = Table("", *(f"{length} tokens" for length in lengths), title=f"ms a token. {title}")
    for name, at in middle.items():
        table.add_row(name, *(f"{1e3 * at[length]:.1f}" for length in lengths))
    console = Console(width=120)
    console.print(table)
    table = Table("tokens a second in all", *(f"{count} users" for count in options.users), "most ÷ one", title=title)
    for name, speed in speeds.items():
        ratio = speed[options.users[-1]] / speed[options.users[0]]
        table.add_row(name, *(f"{speed[count]:.0f}" for count in options.users), f"{ratio:.2f}")
    console.print(table)
    if lengths == list(LENGTHS):
        ratio = summed(middle["uncached loop"]) / summed(middle[f"{guided}, 1 preference"])
        console.print(f"uncached loop ÷ {guided}, {NEW} new tokens after {LENGTHS[0]}: {ratio:.1f}")
    if options.plot:
        plot(options.plot, title, middle, speeds)
    for line in lines:
        line.engine.close()


if __name__ == "__main__":
    main()
