"""Is this checkout as fast as another one? Decoding, `condition`, and `record` without and with a PersRM that judges.

    python benchmarks/against.py OTHER [--rounds 15] [--threads 2]     OTHER: the folder of another checkout
    python benchmarks/against.py OTHER --model FOLDER                  decoding on a model of yours, guided by itself

Both run in processes of their own, through what users import. In each round both do the same work, one after the
other, and who begins alternates; a round gives one ratio, this checkout's time over the other's. Printed are the
median ratio and its 95% interval by bootstrap over rounds; below 1 is faster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parents[1]

WORKER = """
import sys, time
import torch
torch.set_num_threads(int(sys.argv[1]))
from pad_langchain import ChatPAD
from pad_memory import PreferenceMemory, Statement, Thumb

memory = PreferenceMemory()
judged = PreferenceMemory()
named = {"model": sys.argv[2], "reward_model": "self"} if len(sys.argv) > 2 else {}
llm = ChatPAD(max_tokens=int(sys.argv[3]) if named else 64, memory=judged, **named)
llm.invoke("Hello", user_id="bob")  # from here on the PersRM judges what is recorded
steered = llm.bind(preference="be detailed and thorough")
for text in ("be brief", "use emojis", "for code, be terse", "I like poems about the sea"):
    memory.record("ada", Statement(text))

def decode(count):
    steered.batch(["What is copper?"] * count)

def condition(count):
    for _ in range(count):
        memory.condition("ada", query="How do I sort a list in Python?")

def record(memory, count):
    for number in range(count):
        memory.record("bob", Thumb(prompt="What is tin?", response=f"Tin is a metal, {number}.", up=True))

work = {
    "decode 1": lambda: decode(1), "decode 16": lambda: decode(16),
    "condition": lambda: condition(200),
    "record": lambda: record(memory, 40), "judge": lambda: record(judged, 40),
}
for run in work.values():
    run()
print("ready", flush=True)
for line in sys.stdin:
    begin = time.perf_counter()
    work[line.strip()]()
    print(time.perf_counter() - begin, flush=True)
"""
WORK = ("decode 1", "decode 16", "condition", "record", "judge")


class Side:
    """One checkout, at work in a process of its own."""

    def __init__(self, folder: Path, threads: int, model: tuple[str, ...]) -> None:
        path = os.pathsep.join(map(str, (folder, folder / "memory")))
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(threads), *model],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.answer()

    def answer(self) -> str:
        assert self.process.stdout is not None
        if line := self.process.stdout.readline():
            return line.strip()
        raise SystemExit(f"The worker ended with code {self.process.wait()}.")

    def time(self, work: str) -> float:
        """Seconds that the work takes."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{work}\n")
        self.process.stdin.flush()
        return float(self.answer())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path, help="folder of another checkout")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--model", help="folder of a model; then only decoding is timed")
    parser.add_argument("--tokens", type=int, default=24, help="of an answer of that model")
    args = parser.parse_args()
    if not (args.other / "pad_langchain").is_dir():
        raise SystemExit(f"{args.other} has to be a checkout of this project, but has no folder pad_langchain.")
    model = (args.model, str(args.tokens)) if args.model else ()
    ours, others = (Side(folder, args.threads, model) for folder in (HERE, args.other.resolve()))
    rng = np.random.default_rng(0)
    print(f"{'':10} {'this':>9} {'other':>9}  ratio  95% interval   ({args.rounds} rounds)")
    for work in WORK[:2] if args.model else WORK:
        times = np.empty((args.rounds, 2))
        for number in range(args.rounds):
            for side in (0, 1) if number % 2 else (1, 0):
                times[number, side] = (ours, others)[side].time(work)
        ratios = times[:, 0] / times[:, 1]
        drawn = np.median(rng.choice(ratios, (10_000, args.rounds)), axis=1)
        low, high = np.percentile(drawn, [2.5, 97.5])
        this, other = np.median(times, axis=0)
        print(f"{work:10} {this:8.3f}s {other:8.3f}s  {np.median(ratios):.3f}  [{low:.3f}, {high:.3f}]")
    for side in (ours, others):
        side.process.kill()


if __name__ == "__main__":
    main()
