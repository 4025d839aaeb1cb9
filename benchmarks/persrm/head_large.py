"""How long a head for a base of 500 million parameters trains, its features being cached.

    python benchmarks/persrm/head_large.py                # 40 of 1,000 steps, CPU seconds of one thread
    python benchmarks/persrm/head_large.py --threads 2 --steps 1000

2,000 pairs with answers of 200 tokens, of which the base hesitates at `--uncertain`; a tenth of the others is kept. The
features are random, but of the shapes and types of a base with hidden size 1,024 and a vocabulary of 150,000, and its
candidates as frequent as words are: what is trained on them is worth nothing, what it costs is the same.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.testing import HashEmbedder
from pad_langchain.training.config import HeadSettings
from pad_langchain.training.features import Features
from pad_langchain.training.head import HeadTrainer
from pad_langchain.training.wordings import SAME, CatalogueWordings

PAIRS, TOKENS, HIDDEN, VOCABULARY, CANDIDATES = 2000, 200, 1024, 150_000, 32


def random_features(rng: np.random.Generator, uncertain: float) -> Features:
    """Features of 2,000 pairs; the answers' own tokens come first, as in real ones."""
    kept = int(TOKENS * (uncertain + 0.1 * (1 - uncertain)))
    count = 2 * PAIRS * kept
    candidates_MC = (rng.zipf(1.2, (count, CANDIDATES)) - 1) % VOCABULARY
    hidden_MD = torch.from_numpy(rng.standard_normal((count, HIDDEN), dtype=np.float32)).bfloat16().view(torch.int16)
    logits_MC = -np.sort(-8 * rng.random((count, CANDIDATES), dtype=np.float32))
    settled_M = np.arange(count) % kept >= int(TOKENS * uncertain)
    return Features(
        hidden_MD.numpy(), candidates_MC.astype(np.int32), logits_MC, settled_M, np.arange(0, count + 1, kept)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--uncertain", type=float, default=0.5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    features = random_features(rng, options.uncertain)
    wishes = list(SAME)[:16]
    wordings = CatalogueWordings(HashEmbedder(384), [wishes[n % len(wishes)] for n in range(PAIRS)])
    head = VectorHead(HeadConfig(HIDDEN, VOCABULARY, rank=64))
    head_VD = torch.randn(VOCABULARY, HIDDEN) / HIDDEN**0.5
    with tempfile.TemporaryDirectory() as folder:
        trainer = HeadTrainer(HeadSettings(steps=options.steps), save_steps=20)
        started = time.perf_counter(), time.process_time()
        trainer.fit(head, trainer.pairwise(head_VD, features, wordings), Path(folder) / "checkpoint.pt")
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
    whole = HeadSettings().steps / options.steps
    Console().print(
        f"{options.steps} steps: {wall:.0f} s, {cpu:.0f} CPU s; {HeadSettings().steps} steps: {whole * wall / 60:.1f} "
        f"minutes here and now, {whole * cpu / 60:.1f} CPU minutes ({options.threads} threads)"
    )


if __name__ == "__main__":
    main()
