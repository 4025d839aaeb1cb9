"""Make the embedded pair again from nothing: `python -m recipes.demo_world.recipe` (or `make demo-model`).

    facts → documents → tokenizer → base → hidden states → head → beta and alpha on the development split → weights

Each stage leaves its result in the work folder or the target and is skipped when it is there, so a stopped run goes on
where it was. Seeds are fixed; the arithmetic of another machine or number of threads rounds differently.
"""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path
from typing import Any

import torch
import typer
from rich.logging import RichHandler
from rich.progress import Progress, TaskID
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from pad_langchain.defaults import WEIGHTS
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.evaluation.config import Setting
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.head import VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.training.config import Progress as Tick
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import SentenceEmbedder
from pad_memory.evidence.scorer import Calibration, judge
from recipes.demo_world.base import BaseRecipe, train_base
from recipes.demo_world.evaluation import Outcome, cases, decode_cases, judge_cases
from recipes.demo_world.head import HeadRecipe, train_head
from recipes.demo_world.pairs import DEV_TOPICS
from recipes.demo_world.tokenizer import train_tokenizer
from recipes.demo_world.topics import TOPICS
from recipes.demo_world.world import answer, question, random_style

__all__ = ["choose_strength", "make_base", "make_head"]

_log = logging.getLogger(__name__)
TOKENIZER_SEED = 1
BETAS, ALPHAS = (0.5, 1.0, 2.0), (0.02, 0.05)


def make_base(work: Path, target: Path, recipe: BaseRecipe, processes: int, device: str) -> tuple[Any, Any]:
    """Train tokenizer and base into `target`, or load them if they are there. The head reads the rounded weights."""
    if not (target / "model.safetensors").exists():
        folder = work / "tokenizer"
        if not folder.exists():
            train_tokenizer(TOPICS, TOKENIZER_SEED).save_pretrained(folder)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model = train_base(recipe, TOPICS, tokenizer, work, processes=processes, device=device).bfloat16()
        model.generation_config = GenerationConfig(
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
        )
        model.save_pretrained(target)
        tokenizer.save_pretrained(target)
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(target)


def make_head(work: Path, target: Path, recipe: HeadRecipe, model: Any, tokenizer: Any) -> VectorHead:
    """Train the head into `target` with the strength that the development split chooses, or load it."""
    if not (target / "persrm_head.safetensors").exists():
        embedder = SentenceEmbedder()
        with Progress() as bars:
            head = train_head(recipe, model, tokenizer, embedder, work / "head", _ticks(bars))
        with TorchEngine(model, tokenizer, HeadGuide(head, embedder)) as engine:
            beta, alpha = choose_strength(engine)
        scorer = PersRM(model, tokenizer, head=head, embedder=embedder)
        head.save_pretrained(target, beta=beta, alpha=alpha, calibration=calibrate(scorer).to_dict())
    return VectorHead.from_pretrained(target)


def _ticks(bars: Progress) -> Tick:
    """Bars for the stages of the head's training."""
    tasks: dict[str, TaskID] = {}

    def tick(stage: str, done: int, of: int, logged: dict[str, float]) -> None:
        if stage not in tasks:
            tasks[stage] = bars.add_task(stage, total=of)
        bars.update(tasks[stage], completed=done)

    return tick


def calibrate(scorer: PersRM, count: int = 200, seed: int = 3) -> Calibration:
    """Learn what the PersRM's margins mean from answers of random style about the development topics."""
    rng = random.Random(seed)
    topics = [rng.choice(DEV_TOPICS) for _ in range(count)]
    pairs = [(question(topic, rng), answer(topic, random_style(rng), rng)) for topic in topics]
    margins, _ = judge(scorer, pairs, CATALOGUE)
    return Calibration.fit(margins)


def choose_strength(engine: TorchEngine, count: int = 96, seed: int = 2) -> tuple[float, float]:
    """Pick beta and alpha on the development split: most wishes kept among those whose sentences stay sound.

    Sound means at least 99% as well formed and as factual as beta = 0 on the same questions; if none is, the
    soundest.
    """
    given = cases("combined", count, "dev", seed) + cases("new_keywords", count, "dev", seed)
    plain = judge_cases(given, decode_cases(engine, given, Setting("base")))
    _log.info("dev beta 0: each %.3f well-formed %.3f factual %.3f", plain.each, plain.well_formed, plain.factual)

    def soundness(found: Outcome) -> float:
        return min(found.well_formed / plain.well_formed, found.factual / plain.factual)

    tried: dict[tuple[float, float], Outcome] = {}
    for beta in BETAS:
        for alpha in ALPHAS:
            found = tried[beta, alpha] = judge_cases(
                given, decode_cases(engine, given, Setting("head", beta, alpha=alpha))
            )
            _log.info(
                "dev beta %.2f alpha %.2f: each %.3f together %.3f sound %.3f ended %.3f",
                *(beta, alpha, found.each, found.together, soundness(found), found.ended),
            )
    sound = {key: found for key, found in tried.items() if soundness(found) >= 0.99 and found.ended >= 0.99}
    if not sound:
        return max(tried, key=lambda key: soundness(tried[key]))
    return max(sound, key=lambda key: (sound[key].each, -key[0]))


def main(
    work: Path = Path("build/demo"),
    target: Path = WEIGHTS,
) -> None:
    """Train the pair into TARGET, with checkpoints in WORK."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[RichHandler(show_path=False)])
    logging.getLogger("httpx").setLevel(logging.WARNING)
    work.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processes = min(2, os.cpu_count() or 1) if device == "cpu" else 1
    model, tokenizer = make_base(work, target / "base", BaseRecipe(), processes, device)
    make_head(work, target / "persrm", HeadRecipe(), model, tokenizer)
    _log.info("the pair is in %s; measure it with: python -m recipes.demo_world.report", target)


if __name__ == "__main__":
    typer.run(main)
