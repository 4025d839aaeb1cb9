"""How accurate a head is by its rank and the number of pairs it learned from, on the demo base.

    python benchmarks/persrm_training.py                      # minutes
    python benchmarks/persrm_training.py --text --steps 2000  # and the two stages of a text PersRM: hours on a CPU

Accuracy: share of pairs on held-out prompts whose chosen answer has the larger reward; chance is 0.5.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from pad_langchain.demo.pairs import TRAIN_TOPICS, draw_pair, draw_spec, wordings
from pad_langchain.reward.config import HeadSettings, StageSettings, TrainConfig
from pad_langchain.reward.data import Pair, write_pairs
from pad_langchain.reward.train import train


def demo_pairs(count: int, path: Path) -> None:
    """Pairs of the demo world with one to three wishes each, in the words the head may see."""
    rng = random.Random(0)
    pairs = []
    for _ in range(count):
        drawn = draw_pair(rng, TRAIN_TOPICS, draw_spec(rng, 1, 3, held_out=False))
        asked = ({"role": "user", "content": drawn.question},)
        pairs.append(Pair(asked, "; ".join(wordings(drawn.spec, rng)), drawn.chosen, drawn.rejected))
    write_pairs(pairs, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="*", default=[250, 1000, 4000])
    parser.add_argument("--ranks", type=int, nargs="*", default=[8, 64])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--text", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table("PersRM", "pairs", "rank", "held-out accuracy", "seconds")
    with tempfile.TemporaryDirectory() as folder:
        for count in options.pairs:
            data = Path(folder) / f"{count}.jsonl"
            demo_pairs(count, data)
            common: dict[str, Any] = {"base": "pad-demo", "data": str(data), "held_out": 0.15, "log_steps": 100}
            for rank in options.ranks:
                settings = HeadSettings(rank=rank, steps=options.steps)
                output = f"{folder}/head-{count}-{rank}"
                started = time.perf_counter()
                found = train(TrainConfig(**common, output=output, kind="head", head=settings))
                spent = time.perf_counter() - started
                table.add_row(
                    "head", str(count), str(rank), f"{found['head']['held_out_accuracy']:.3f}", f"{spent:.0f}"
                )
        if options.text:
            stages = {
                "stage1": StageSettings(steps=options.steps, learning_rate=1e-3),
                "stage2": StageSettings(steps=options.steps // 4, learning_rate=5e-4),
            }
            found = train(TrainConfig(**common, output=f"{folder}/text", preference_dropout=0.0, **stages))
            for stage in ("stage1", "stage2"):
                table.add_row(f"text, {stage}", str(count), "16", f"{found[stage]['held_out_accuracy']:.3f}", "")
    Console().print(table)


if __name__ == "__main__":
    main()
