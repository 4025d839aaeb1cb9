"""Train the maps that tell which wish bears on a question and which answer pleases, and write the package's weights.

    python -m recipes.affinity.train [--write] [--seeds 2]

The text is ours, in `data/affinity.jsonl.gz`: {"wish", "questions"} (the wish matters to each without being named) and
{"wish", "request", "pleasing", "other"}. Each table is over four folds: of wishes, of kinds of wishes (24 clusters, so
that a fold's subjects were never seen), and of requests. `--write` then trains on everything.
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.cluster.vq import kmeans2
from scipy.stats import hypergeom

from pad_memory import SentenceEmbedder
from pad_memory.evidence.affinity import WEIGHTS
from pad_memory.evidence.scorer import embed_answers
from pad_memory.language import wanted

TEXT = Path(__file__).parent / "data" / "affinity.jsonl.gz"
RANK, SHRINK = 16, 0.5  # of the map, and what is kept of it once it is trained
BATCH, NOISE, DECAY, RATE = 128, 0.6, 0.02, 2e-3  # noise: the length of what is added to unit vectors
CLUSTERS = 24
unit = torch.nn.functional.normalize


class Maps(torch.nn.Module):
    """Both sides: x ↦ unit((x − mean) (I + keep · down up))."""

    def __init__(self, wish_NE: torch.Tensor, text_NE: torch.Tensor, rng: torch.Generator) -> None:
        super().__init__()
        size = wish_NE.shape[1]
        self.keep = 1.0
        for side, rows_NE in (("wish", wish_NE), ("text", text_NE)):
            self.register_parameter(f"{side}_mean", torch.nn.Parameter(rows_NE.mean(0)))
            for name, shape in (("down", (size, RANK)), ("up", (RANK, size))):
                start = torch.nn.Parameter(0.02 * torch.randn(shape, generator=rng))
                self.register_parameter(f"{side}_{name}", start)

    def side(self, side: str, rows_NE: torch.Tensor) -> torch.Tensor:
        mean_E, down_ER, up_RE = (getattr(self, f"{side}_{name}") for name in ("mean", "down", "up"))
        centred_NE = rows_NE - mean_E
        return unit(centred_NE + self.keep * (centred_NE @ down_ER @ up_RE), dim=-1)

    def cosines(self, text_NE: torch.Tensor, wish_PE: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return self.side("text", text_NE) @ self.side("wish", wish_PE).T


def fit(maps: Maps, rows: torch.Tensor, steps: int, loss_of: Callable[[Maps, torch.Tensor], torch.Tensor]) -> Maps:
    """Descend on batches of `rows`; then shrink what was learned."""
    optimizer = torch.optim.AdamW(maps.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        loss = loss_of(maps, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    maps.keep = SHRINK
    return maps


class Questions:
    """Wishes [N, E] and three questions each [N, 3, E]: InfoNCE both ways, half the batches of similar wishes."""

    kind, epochs, temperature = "question", 30, 0.07

    def __init__(self, rows: list[dict[str, Any]], embedder: SentenceEmbedder) -> None:
        # As `condition` has them: what a wish is about, whether it is wanted or not.
        self.wish_NE = torch.tensor(embedder.embed([wanted(row["wish"])[0] for row in rows]))
        self.text_N3E = torch.tensor(np.stack([embedder.embed(row["questions"][:3]) for row in rows]))

    def train(self, rows: torch.Tensor, seed: int = 0) -> Maps:
        rng = torch.Generator().manual_seed(seed)
        near_NN = self.wish_NE[rows] @ self.wish_NE[rows].T
        batch = min(BATCH, len(rows))

        def loss(maps: Maps, rows: torch.Tensor) -> torch.Tensor:
            if torch.rand(1, generator=rng) < 0.5:
                first = torch.randint(len(rows), (4,), generator=rng)
                chosen = torch.unique(near_NN[first].topk(batch // 4, 1).indices.flatten())
            else:
                chosen = torch.randperm(len(rows), generator=rng)[:batch]
            which = torch.randint(3, (len(chosen),), generator=rng)
            wish = maps.side("wish", noisy(self.wish_NE[rows[chosen]], rng))
            text = maps.side("text", noisy(self.text_N3E[rows[chosen], which], rng))
            return both_ways(text @ wish.T / self.temperature)

        maps = Maps(self.wish_NE[rows], self.text_N3E[rows].flatten(0, 1), rng)
        return fit(maps, rows, self.epochs * (len(rows) // batch), loss)

    def measure(self, held: torch.Tensor, maps: Maps | None) -> tuple[float, ...]:
        """R@1 of 20 and R@5 of 100 wishes, the expectation over all draws."""
        wish_NE, text_NE = self.wish_NE[held], self.text_N3E[held].flatten(0, 1)
        cosine_MN = text_NE @ wish_NE.T if maps is None else maps.cosines(text_NE, wish_NE)
        true_M = torch.arange(len(held)).repeat_interleave(3)
        better_M = (cosine_MN >= cosine_MN[torch.arange(len(true_M)), true_M][:, None]).sum(1).numpy() - 1
        return tuple(recall(better_M, len(held), among, first) for among, first in ((20, 1), (100, 5)))


class Answers:
    """Wishes, an answer that pleases and one that does not, each [N, E]."""

    kind, epochs, temperature = "answer", 40, 0.1

    def __init__(self, rows: list[dict[str, Any]], embedder: SentenceEmbedder) -> None:
        self.wish_NE = torch.tensor(embedder.embed([row["wish"] for row in rows]))
        self.pleasing_NE, self.other_NE = (
            torch.tensor(embed_answers(embedder, [row[key] for row in rows])) for key in ("pleasing", "other")
        )
        requests = [row["request"] for row in rows]
        self.rivals = [
            torch.tensor([j for j, other in enumerate(requests) if other == request and j != i], dtype=torch.long)
            for i, request in enumerate(requests)
        ]
        self.request_N = torch.tensor([requests.index(request) for request in requests])

    def train(self, rows: torch.Tensor, seed: int = 0) -> Maps:
        rng = torch.Generator().manual_seed(seed)
        batch, known = min(BATCH, len(rows)), set(rows.tolist())
        rivals = {i: [j for j in self.rivals[i].tolist() if j in known] for i in known}

        def loss(maps: Maps, rows: torch.Tensor) -> torch.Tensor:
            chosen = rows[torch.randperm(len(rows), generator=rng)[:batch]]
            other = self.other_NE[chosen].clone()
            for place, i in enumerate(chosen.tolist()):  # half of them: what pleases another wish
                if rivals[i] and torch.rand(1, generator=rng) < 0.5:
                    other[place] = self.pleasing_NE[rivals[i][int(torch.randint(len(rivals[i]), (1,), generator=rng))]]
            better, worse = (maps.side("text", noisy(x, rng)) for x in (self.pleasing_NE[chosen], other))
            margin = (better - worse) @ maps.side("wish", noisy(self.wish_NE[chosen], rng)).T / self.temperature
            whose = torch.nn.functional.cross_entropy(margin, torch.arange(len(chosen)))
            return whose + 0.5 * torch.nn.functional.softplus(-margin.diag()).mean()

        answers = torch.cat([self.pleasing_NE[rows], self.other_NE[rows]])
        return fit(Maps(self.wish_NE[rows], answers, rng), rows, self.epochs * (len(rows) // batch), loss)

    def measure(self, held: torch.Tensor, maps: Maps | None) -> tuple[float, ...]:
        """Which of two answers pleases; and whose of 4 wishes a choice between them expresses."""
        wish_NE, better, worse = self.wish_NE[held], self.pleasing_NE[held], self.other_NE[held]
        cosines = (lambda text: text @ wish_NE.T) if maps is None else (lambda text: maps.cosines(text, wish_NE))
        margin_NN = cosines(better) - cosines(worse)
        beaten_N = (margin_NN >= margin_NN.diag()[:, None]).sum(1).numpy() - 1
        return float((margin_NN.diag() > 0).double().mean()), recall(beaten_N, len(held), 4, 1)


def noisy(rows_NE: torch.Tensor, rng: torch.Generator) -> torch.Tensor:
    """Rows moved by about NOISE in a random direction."""
    return rows_NE + NOISE / rows_NE.shape[1] ** 0.5 * torch.randn(rows_NE.shape, generator=rng)


def both_ways(logit_NN: torch.Tensor) -> torch.Tensor:
    """InfoNCE from texts to wishes and back, in nats."""
    true_N = torch.arange(len(logit_NN))
    there, back = (torch.nn.functional.cross_entropy(logits, true_N) for logits in (logit_NN, logit_NN.T))
    return (there + back) / 2.0


def recall(better_M: np.ndarray, candidates: int, among: int, first: int) -> float:
    """The chance that fewer than `first` of `among − 1` drawn candidates are better, given how many are."""
    return float(hypergeom(candidates - 1, better_M, min(among, candidates) - 1).cdf(first - 1).mean())


def folds(group_N: torch.Tensor, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Four times (rows to train on, rows held out); a group is never parted."""
    names = torch.unique(group_N)
    names = names[torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))]
    for fold in range(4):
        held = torch.isin(group_N, names[fold::4])
        yield torch.where(~held)[0], torch.where(held)[0]


def table(name: str, task: Questions | Answers, group_N: torch.Tensor, seeds: int) -> None:
    """Print what is reached on held-out rows by plain cosines, centred ones, and the maps."""
    found: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(seeds):
        for rows, held in folds(group_N, seed):
            maps = task.train(rows, seed)
            found.setdefault("plain cosine", []).append(task.measure(held, None))
            found.setdefault("maps", []).append(task.measure(held, maps))
            maps.keep = 0.0
            found.setdefault("means only", []).append(task.measure(held, maps))
    for variant, values in found.items():
        print(f"{name:<34}{variant:<14}" + "".join(f"{value:>8.3f}" for value in np.mean(values, axis=0)))


def weights(task: Questions | Answers) -> dict[str, np.ndarray]:
    """The maps of all rows, as the package reads them: means [E], down [E, R], and up [R, E] already shrunk."""
    found = {}
    maps = task.train(torch.arange(len(task.wish_NE)))
    for name, value in maps.named_parameters():
        side, part = name.split("_")
        kept = maps.keep if part == "up" else 1.0
        found[f"{task.kind}.{side}.{part}"] = (kept * value.detach()).numpy().astype(np.float16)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help=f"write {WEIGHTS.name} into the package")
    parser.add_argument("--seeds", type=int, default=1, help="ways to part the rows, 1 or more")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [json.loads(line) for line in gzip.decompress(TEXT.read_bytes()).decode("utf-8").splitlines()]
    embedder = SentenceEmbedder(cache_size=64)
    questions = Questions([row for row in rows if "questions" in row], embedder)
    answers = Answers([row for row in rows if "pleasing" in row], embedder)
    wish_NE = questions.wish_NE.numpy()
    cluster_N = torch.tensor(kmeans2(wish_NE - wish_NE.mean(0), CLUSTERS, seed=0, minit="++")[1])
    print("wishes: R@1 of 20, R@5 of 100; answers: which of 2 pleases, whose of 4 wishes a choice expresses")
    table(f"{len(wish_NE)} wishes, new wishes", questions, torch.arange(len(wish_NE)), options.seeds)
    table("    new kinds of wishes", questions, cluster_N, options.seeds)
    table(f"{len(answers.wish_NE)} answers, new requests", answers, answers.request_N, options.seeds)
    if options.write:
        np.savez_compressed(WEIGHTS, **weights(questions), **weights(answers))
        print(f"{WEIGHTS}: {WEIGHTS.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
