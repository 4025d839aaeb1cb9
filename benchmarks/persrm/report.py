"""The demo pair's full report: every method, judged by the rules of its world.

    python benchmarks/persrm/report.py                                  # benchmarks/persrm/demo_report, from nothing
    python benchmarks/persrm/report.py --text FOLDER                    # with a text PersRM that is trained already
    python benchmarks/persrm/report.py --timing --output FOLDER         # 200 prompts × each method once: seconds
    python benchmarks/persrm/report.py --prompts FILE --output FOLDER   # other prompts, not judged by the demo's facts

The settings are those of demo_report/evaluation.yaml beside it. A stopped report goes on when it is started again.
"""

from __future__ import annotations

import argparse
import json
import os
import random
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from training import train_text

from pad_langchain.evaluation.run import EvaluateConfig, evaluate
from pad_langchain.training.data import Pair, write_pairs
from pad_langchain.training.settings import load_yaml
from pad_memory.catalogue import find
from recipes.demo_world import world
from recipes.demo_world.pairs import TEST_TOPICS, draw_pair

FOLDER = Path(os.path.relpath(Path(__file__).parent / "demo_report"))
PROMPTS, PAIRS_A_POLE = 200, 6


def write_prompts(path: Path) -> None:
    """Questions on topics that no PersRM was trained on."""
    rng = random.Random("report")
    rows = [{"prompt": world.question(rng.choice(TEST_TOPICS), rng)} for _ in range(PROMPTS)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_test_pairs(path: Path, poles: list[str]) -> None:
    """Pairs on the same topics, a pole each."""
    rng, pairs = random.Random("report pairs"), []
    for name in poles:
        dimension, pole = find(name)
        for _ in range(PAIRS_A_POLE):
            drawn = draw_pair(rng, TEST_TOPICS, {dimension.name: dimension.poles.index(pole)})
            asked = ({"role": "user", "content": drawn.question},)
            pairs.append(Pair(asked, pole.text, drawn.chosen, drawn.rejected))
    write_pairs(pairs, path)


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """The YAML's settings with what the command line asks for, its files made."""
    settings = load_yaml(FOLDER / "evaluation.yaml")
    output = options.output
    output.mkdir(parents=True, exist_ok=True)
    made = {"output": str(output), "text": str(options.text or FOLDER / "text")}
    if not (Path(made["text"]) / "persrm.json").exists():
        train_text(Path(made["text"]), options.train_pairs)
    if options.prompts is None:
        made |= {"prompts": str(FOLDER / "prompts.jsonl"), "pairs": str(output / "pairs.jsonl")}
        write_prompts(FOLDER / "prompts.jsonl")
        write_test_pairs(output / "pairs.jsonl", [name for name in settings["preferences"] if "+" not in name])
    else:
        made |= {
            "prompts": str(options.prompts),
            "judges": [{"kind": "recipes.demo_world.judges:DemoJudge"}],
            "again": 16,
        }
        del settings["pairs"]
    if options.timing:
        made |= {"betas": [1.0], "ks": [10], "labels": [], "pareto": []}
        settings["preferences"] = {name: said[:1] for name, said in settings["preferences"].items()}
        del settings["pairs"]
    return settings | made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, help="folder of a text PersRM; without it one is trained")
    parser.add_argument("--train-pairs", type=int, default=3000, help="pairs that one learns from")
    parser.add_argument("--output", type=Path, default=FOLDER)
    parser.add_argument("--prompts", type=Path, help="JSONL of {prompt} to answer instead of the demo's")
    parser.add_argument("--timing", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = EvaluateConfig(**settings_of(options))
    console = Console()
    report = evaluate(
        config, progress=lambda stage, done, of, _: console.print(f"{stage} {done}/{of}") if done == of else None
    )
    seconds = json.loads((report.parent / "report.json").read_text())["seconds"]
    console.print(f"{report}: {seconds:.0f} s (what was answered before is not answered again)")


if __name__ == "__main__":
    main()
