"""What a PersRM for the demo base learns: a head by its rank and its pairs, and the two stages of a text PersRM.

    python benchmarks/persrm/training.py --plot benchmarks/results/plots/training.png      # the head: minutes
    python benchmarks/persrm/training.py --text FOLDER                                    # and a text PersRM
    python benchmarks/persrm/training.py --text FOLDER --counts --ranks                   # the text PersRM alone

A text PersRM is trained into FOLDER, or only measured if it is there; a stopped training goes on. Both kinds learn from
pairs of single wishes in the catalogue's canonical words, each with its mirror: the opposite wish, the sides swapped.
Accuracy: share of pairs on topics of neither's training whose chosen answer has the larger reward, with its bootstrap
interval, the wish in canonical words and in the catalogue's other ones (a head has learned from those, too, a text
PersRM not); chance is 0.5.
"""

from __future__ import annotations

import argparse
import json
import logging
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

from pad_langchain.defaults import WEIGHTS
from pad_langchain.evaluation.accuracy import margins
from pad_langchain.evaluation.statistics import interval
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.training.config import HeadSettings, LoraSettings, Source, StageSettings, TrainConfig
from pad_langchain.training.data import Pair, write_pairs
from pad_langchain.training.run import train
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import SentenceEmbedder
from recipes.demo_world import world
from recipes.demo_world.pairs import TEST_TOPICS, TRAIN_TOPICS
from recipes.demo_world.topics import Topic

TEMPLATE = "{text} {preference}."  # short, and what comes before the wish is shared when many are scored
TEST_PAIRS = 200


def demo_pairs(count: int, topics: Sequence[Topic] = TRAIN_TOPICS, seed: int = 0) -> list[Pair]:
    """Pairs of answers that differ in one wish alone, each followed by its mirror."""
    rng, pairs = random.Random(seed), list[Pair]()
    while len(pairs) < count:
        dimension, side, topic = rng.choice(CATALOGUE), rng.randrange(2), rng.choice(topics)
        style = {**world.random_style(rng), "length": 0, dimension.name: side}  # short: more pairs a minute
        said = rng.random()
        chosen, rejected = (
            world.answer(topic, {**style, dimension.name: pole}, random.Random(said)) for pole in (side, 1 - side)
        )
        asked = ({"role": "user", "content": world.question(topic, rng)},)
        pairs.append(Pair(asked, dimension.poles[side].text, chosen, rejected))
        pairs.append(Pair(asked, dimension.poles[1 - side].text, rejected, chosen))
    return pairs


def in_other_words(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs with one of the catalogue's other wordings of each wish."""
    rng, named = random.Random(2), {pole.text: pole for dimension in CATALOGUE for pole in dimension.poles}
    return [replace(pair, preference=rng.choice(named[pair.preference].paraphrases)) for pair in pairs]


def head_of(folder: Path, count: int, rank: int, steps: int, embedder: SentenceEmbedder) -> Path:
    """Train a head from `count` pairs; returns its folder. Heads from the same pairs share their features."""
    output = folder / str(count)
    output.mkdir(parents=True, exist_ok=True)
    write_pairs(demo_pairs(count), output / "pairs.jsonl")
    for file in ("checkpoint.pt", "train.yaml"):  # of the head before
        (output / file).unlink(missing_ok=True)
    config = TrainConfig(
        base="pad-demo",
        data=(Source(str(output / "pairs.jsonl")),),
        output=str(output),
        kind="head",
        device="cpu",
        held_out=0.0,
        log_steps=100,
        save_steps=steps,
        head=HeadSettings(rank=rank, steps=steps),
    )
    train(config, embedder=embedder)
    return output


def train_text(output: Path, count: int = 3000) -> dict[str, Any]:
    """A text PersRM in two stages; a stopped training goes on, a finished one is only read."""
    if not (output / "pairs.jsonl").exists():
        output.mkdir(parents=True, exist_ok=True)
        write_pairs(demo_pairs(count), output / "pairs.jsonl")
    if not (output / "training.json").exists():
        config = TrainConfig(
            base="pad-demo",
            data=(Source(str(output / "pairs.jsonl")),),
            output=str(output),
            device="cpu",
            template=TEMPLATE,
            batch=4,  # what a layer makes of it stays in a CPU's cache
            lora=LoraSettings(rank=32, alpha=64),
            stage1=StageSettings(steps=2000, learning_rate=3e-4),
            stage2=StageSettings(steps=400, learning_rate=3e-4),
        )
        train(config)
    found: dict[str, Any] = json.loads((output / "training.json").read_text())
    return found


def draw(rows: Sequence[tuple[str, int, int, Sequence[float]]], path: Path) -> None:
    """Accuracy against pairs and against rank; a text PersRM is a level."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.6), layout="constrained")
    heads = [row for row in rows if row[0] == "head"]
    most, largest = (max(row[place] for row in heads) for place in (1, 2))
    for place, fixed, axes in zip((1, 2), (largest, most), figure.subplots(1, 2), strict=True):
        line = sorted({(row[place], *row[3]) for row in heads if row[3 - place] == fixed})
        xs, means, lows, highs = np.array(line).T
        axes.errorbar(xs, means, [means - lows, highs - means], marker="o", capsize=3, label="head")
        for n, row in enumerate((row for row in rows if row[0] != "head"), 1):
            axes.axhline(row[3][0], color=f"C{n}", linestyle="--", linewidth=1, label=row[0])
        label = f"pairs, rank {largest}" if place == 1 else f"rank, {most} pairs"
        axes.set(xscale="log", xlabel=label, ylabel="pair accuracy, new topics", ylim=(0.45, 1.02))
        axes.minorticks_off()
        axes.set_xticks(xs, [f"{x:g}" for x in xs])
        axes.grid(alpha=0.3)
        axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="*", default=[100, 300, 1000, 3000], help="pairs, at the last rank")
    parser.add_argument("--ranks", type=int, nargs="*", default=[4, 16, 64], help="with the most pairs")
    parser.add_argument("--steps", type=int, default=600, help="of a head")
    parser.add_argument("--text", type=Path, help="folder of a text PersRM, trained there if it is not")
    parser.add_argument("--text-pairs", type=int, default=3000)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(show_path=False)])
    logging.getLogger("pad_langchain").setLevel(logging.INFO)
    torch.set_num_threads(1)
    embedder = SentenceEmbedder()
    test = demo_pairs(TEST_PAIRS, TEST_TOPICS, seed=1)
    model, tokenizer = load_causal_lm(str(WEIGHTS / "base"), device="cpu")
    base = Backbone(model)
    rows: list[tuple[str, int, int, Sequence[float]]] = []
    table = Table("PersRM", "pairs", "rank", "accuracy", "in other words", "CPU seconds")
    found: dict[str, np.ndarray] = {}
    test += in_other_words(test)

    def measure(kind: str, count: int, rank: int, margin_N: np.ndarray, started: float) -> None:
        worded = [interval((half > 0).astype(float).tolist()) for half in np.split(margin_N, 2)]
        rows.append((kind, count, rank, worded[0]))
        spent = f"{time.process_time() - started:.0f}" if started else ""
        cells = (f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high in worded)
        table.add_row(kind, str(count), str(rank), *cells, spent)

    with tempfile.TemporaryDirectory() as folder:
        runs = [(count, options.ranks[-1]) for count in options.counts if options.ranks]
        runs += [(options.counts[-1], rank) for rank in options.ranks[:-1] if options.counts]
        for count, rank in runs:
            started = time.process_time()
            output = head_of(Path(folder), count, rank, options.steps, embedder)
            head = PersRM.from_pretrained(output, base=base, tokenizer=tokenizer, embedder=embedder)
            found["head"] = margins(head, test)
            measure("head", count, rank, found["head"], started)
    if options.text is not None:
        result = train_text(options.text, options.text_pairs)
        text = PersRM.from_pretrained(options.text, base=base, tokenizer=tokenizer)
        stage1 = PersRM(base, tokenizer, adapter=text.adapter, config=text.config)
        measure("text, stage 1", result["pairs"], 32, margins(stage1, test), 0.0)
        found["text"] = margins(text, test)
        measure("text, both stages", result["pairs"], 32, found["text"], 0.0)
    if len(found) == 2:  # each on its own scale
        measure("head + text", 0, 0, sum(margin_N / margin_N.std() for margin_N in found.values()), 0.0)  # type: ignore
    Console().print(table)
    if options.plot is not None and options.ranks:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
