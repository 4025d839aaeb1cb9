"""What the trainer of heads is given for the demo's PersRM: its pairs, and the words of their wishes.

Each pair is trained together with its mirror (opposite wish, sides swapped). The reader learns from wordings of every
pole, of several poles at once, and of none.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pad_langchain.models.backbone import Backbone
from pad_langchain.persrm.head import VectorHead
from pad_langchain.training.config import HeadSettings, Progress
from pad_langchain.training.encoding import EncodedPair, encode_pairs
from pad_langchain.training.head import HeadTrainer
from pad_langchain.training.layouts import Pair as TrainingPair
from pad_langchain.training.reader import Lessons
from pad_langchain.training.wordings import Worded
from pad_memory.embedding import Embedder
from pad_memory.language import embed_wishes, wanted
from recipes.demo_world.pairs import TRAIN_TOPICS, Pair, Spec, draw_pair, draw_spec, is_held_out, training_wordings
from recipes.demo_world.unknowns import pseudo_word
from recipes.demo_world.world import DIMENSIONS

__all__ = ["DemoWordings", "HeadRecipe", "WordingPool", "encoded", "train_head", "training_pairs"]

POLES = [(name, side) for name in DIMENSIONS for side in (0, 1)]


@dataclass(frozen=True)
class HeadRecipe:
    """Everything that decides the head's weights.

    Args:
        pairs: training pairs, each used with its mirror.
        joint: share of wishes of several dimensions that are worded as one text with one embedding.
        wording_pool: words in frames for each pole, beside its phrases; as many texts in all word several poles, and as
            many none.
        beside: share of wishes replaced by a text that is about no style ("I live in Rome"), which should reward
            neither side; without it a user's stray remark would steer at random.
    """

    seed: int = 31
    pairs: int = 8000
    joint: float = 0.2
    wording_pool: int = 1200
    beside: float = 0.06
    beta_train: float = 0.1
    head: HeadSettings = field(
        default_factory=lambda: HeadSettings(
            rank=64, mlp_size=2048, steps=1500, batch=48, learning_rate=5e-3, candidates=None, readers=4
        )
    )


class WordingPool:
    """Embedded wordings of every pole and of joint wishes, drawn at random for each training step."""

    def __init__(self, embedder: Embedder, seed: int, size: int, cache: Path | None = None) -> None:
        rng = random.Random(seed)
        single = {pole: training_wordings(pole, size, rng) for pole in POLES}
        texts: list[tuple[Spec, str]] = [({name: side}, text) for (name, side) in POLES for text in single[name, side]]
        for _ in range(size):
            spec = draw_spec(rng, 2, 3, held_out=False)
            parts = [rng.choice(single[pole]).rstrip(".!") for pole in spec.items()]
            texts.append((spec, rng.choice((", ", " and ", "; ", ". ")).join(parts)))
        texts += [({}, _beside_the_point(rng)) for _ in range(size)]
        found = _embed_once(embedder, sorted({text for _, text in texts}), cache)
        self.embeddings_NE = torch.from_numpy(np.stack([found[text] for _, text in texts]))
        # What each wording is about, wanted or not, and its poles with equal shares, the last column for none.
        signs_N = torch.tensor([wanted(text)[1] for _, text in texts])
        poles_NQ = torch.zeros(len(texts), len(POLES) + 1)
        self._rows: dict[tuple[tuple[str, int], ...], list[int]] = {}
        for row, (spec, _) in enumerate(texts):
            self._rows.setdefault(tuple(sorted(spec.items())), []).append(row)
            for name, side in spec.items():
                about = side if signs_N[row] > 0 else 1 - side
                poles_NQ[row, POLES.index((name, about))] = 1 / len(spec)
            poles_NQ[row, -1] = float(not spec)
        self.lessons = Lessons(self.embeddings_NE * signs_N[:, None], poles_NQ)

    def draw(self, spec: Spec, rng: random.Random, joint: float) -> list[torch.Tensor]:
        """The embeddings [E] that word `spec`: one for each dimension, or one for all of it; of {}, one of no style."""
        wishes = [tuple(sorted(spec.items()))]
        if len(spec) > 1 and (rng.random() >= joint or wishes[0] not in self._rows):
            wishes = [(pole,) for pole in spec.items()]
        return [self.embeddings_NE[rng.choice(self._rows[wish])] for wish in wishes]


class DemoWordings:
    """Words the wishes of the demo's pairs from a pool; a few say nothing of any style."""

    def __init__(
        self, recipe: HeadRecipe, pairs: Sequence[Pair], embedder: Embedder, cache: Path | None = None
    ) -> None:
        self.embedder = embedder.name
        self._recipe, self._pairs = recipe, pairs
        self._pool = WordingPool(embedder, recipe.seed, recipe.wording_pool, cache)
        self.known_NE = self._pool.lessons.about_NE

    def draw(self, pairs: Sequence[int], rng: random.Random) -> list[Worded]:
        """A pair's spec asks for its chosen answer, its mirror for the rejected one."""
        beside = [rng.random() < self._recipe.beside for _ in pairs]
        specs = [[{} if off else self._pairs[n].spec for n, off in zip(pairs, beside, strict=True)]]
        specs += [[{} if off else self._pairs[n].mirror for n, off in zip(pairs, beside, strict=True)]]
        asked, turned = ([self._pool.draw(spec, rng, self._recipe.joint) for spec in side] for side in specs)
        return [Worded(*each) for each in zip(asked, turned, beside, strict=True)]

    def lessons(self) -> Lessons:
        """The pool's wordings and the poles they are about."""
        return self._pool.lessons


_REMARKS = (
    "I live in {0}.", "My name is {1}.", "I am from {0}.", "I have {0} at home.", "I like {0}.", "We talked about {0}.",
    "My friend {1} works with {0}.", "I want to learn about {0}.", "I am interested in {0}.", "{0}", "What is {0}?",
    "Yesterday I saw {0}.", "My favorite topic is {0}.", "I do not know {0}.", "Remember that I own {0}.",
    "I study {0}.",
)  # fmt: skip


def _beside_the_point(rng: random.Random) -> str:
    return rng.choice(_REMARKS).format(rng.choice(TRAIN_TOPICS).subject, pseudo_word(rng, 2, 2).title())


def training_pairs(recipe: HeadRecipe) -> list[Pair]:
    """Pairs with wishes of one to three dimensions, both sides clear of held-out combinations."""
    rng = random.Random(recipe.seed)
    pairs: list[Pair] = []
    while len(pairs) < recipe.pairs:
        pair = draw_pair(rng, TRAIN_TOPICS, draw_spec(rng, 1, 3, held_out=False))
        if not is_held_out(pair.mirror):
            pairs.append(pair)
    return pairs


def encoded(tokenizer: Any, pairs: Sequence[Pair]) -> list[EncodedPair]:
    """The pairs as the trainer takes them; who wishes what, `DemoWordings` knows."""
    plain = [
        TrainingPair(({"role": "user", "content": pair.question},), "", pair.chosen, pair.rejected) for pair in pairs
    ]
    return encode_pairs(plain, tokenizer, template=None, max_length=None)[0]


def _rate(step: int, steps: int) -> float:
    """Share of the peak learning rate, as the shipped head had it: a step behind the trainer's own."""
    return min(1, step / 50) * max(0.02, 1 - (step - 1) / steps)


def train_head(
    recipe: HeadRecipe, model: Any, tokenizer: Any, embedder: Embedder, work: Path, progress: Progress | None = None
) -> VectorHead:
    """Train a head for the base; features, wordings and checkpoints are kept in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    pairs = training_pairs(recipe)
    wordings = DemoWordings(recipe, pairs, embedder, work / "wordings.npz")
    trainer = HeadTrainer(
        recipe.head,
        seed=recipe.seed,
        batch_seed=recipe.seed + 1,
        beta_train=recipe.beta_train,
        log_steps=200,
        rate=_rate,
        progress=progress,
    )
    return trainer.train(Backbone(model), encoded(tokenizer, pairs), wordings, work)[0]


def _embed_once(embedder: Embedder, texts: list[str], cache: Path | None) -> dict[str, np.ndarray]:
    """Embed texts, or read the vectors [E] back if the cache holds those of exactly these texts."""
    mark = hashlib.sha256("\n".join([embedder.name, *texts]).encode()).hexdigest()
    if cache is not None and cache.exists():
        with np.load(cache) as saved:
            if str(saved["mark"]) == mark:
                return dict(zip(texts, np.asarray(saved["vectors"]), strict=True))
    parts = [texts[i : i + 256] for i in range(0, len(texts), 256)]
    vectors_NE = np.concatenate([embed_wishes(embedder, part) for part in parts])
    if cache is not None:
        np.savez(cache, mark=mark, vectors=vectors_NE)
    return dict(zip(texts, vectors_NE, strict=True))
