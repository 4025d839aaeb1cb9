"""Train the demo's PersRM: the vector-conditioned head on the base's own hidden states, by the Bradley–Terry loss.

Hidden states are computed once. Most tokens of an answer are certain whatever the style, so the loss sums over the
tokens at which the base hesitates; each pair is trained together with its mirror (opposite wish, sides swapped).
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from rich.progress import track
from transformers import LlamaForCausalLM

from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.training.head import gates_of
from pad_memory.embedding import Embedder
from pad_memory.language import embed_wishes, wanted
from recipes.demo_world.base import mixed_precision
from recipes.demo_world.pairs import (
    TRAIN_TOPICS,
    Pair,
    Spec,
    Split,
    Words,
    draw_pair,
    draw_spec,
    is_held_out,
    training_wordings,
    wordings,
)
from recipes.demo_world.tokenizer import END
from recipes.demo_world.unknowns import pseudo_word
from recipes.demo_world.world import DIMENSIONS

__all__ = ["Features", "HeadRecipe", "compute_features", "pair_accuracy", "train_head"]

POLES = [(name, side) for name in DIMENSIONS for side in (0, 1)]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HeadRecipe:
    """Everything that decides the head's weights.

    Args:
        pairs: training pairs, each used with its mirror.
        steps, batch: optimiser steps, and pairs a step.
        uncertain: tokens whose likeliest continuation has at least this probability left to others are trained on.
        settled: share of the other tokens that is kept; on them the head learns to change nothing (weight `calm`),
            else their sum drowns the reward of a whole answer.
        beta_train: the loss's scale on summed rewards (METHOD: β_train).
        joint: share of wishes of several dimensions that are worded as one text with one embedding.
        wording_pool: words in frames for each pole, beside its phrases; as many texts in all word several poles, and as
            many none.
        readers: small readers of which f is made; `mlp_size` is their width together.
        reader_steps, reader_batch, reader_decay: steps in which each learns to name a wording's poles, wordings a step,
            and weight decay; then f stays. Pairs would teach that too, but slowly: each shows two wordings and costs a
            softmax over the vocabulary at every token.
        turned: share of a reader's wordings that are shown as the opposite vector, in which there is no pole to name.
        beside: share of wishes replaced by a text that is about no style ("I live in Rome"), which should reward
            neither side; without it a user's stray remark would steer at random.
    """

    seed: int = 31
    pairs: int = 8000
    steps: int = 1500
    batch: int = 48
    readers: int = 4
    reader_steps: int = 2000
    reader_batch: int = 384
    reader_decay: float = 1.0
    turned: float = 0.25
    rank: int = 64
    mlp_size: int = 2048
    learning_rate: float = 5e-3
    weight_decay: float = 0.1
    beta_train: float = 0.1
    uncertain: float = 0.01
    settled: float = 0.1
    calm: float = 1.0
    joint: float = 0.2
    wording_pool: int = 1200
    beside: float = 0.06


@dataclass
class Features:
    """Hidden states of the tokens that count, for N pairs × 2 sides, chosen before rejected.

    Args:
        hidden_MD: [M, D] bfloat16, hidden state before each counted token.
        token_M: the token's id.
        base_M: its log-probability under the base (nats).
        settled_M: bool, tokens at which the base hardly hesitates.
        starts: [2N + 1] offsets into M; answer 2 * pair + side is `starts[i]:starts[i + 1]`.
    """

    hidden_MD: torch.Tensor
    token_M: torch.Tensor
    base_M: torch.Tensor
    settled_M: torch.Tensor
    starts: torch.Tensor


def compute_features(
    model: LlamaForCausalLM,
    tokenizer: Any,
    pairs: Sequence[Pair],
    uncertain: float = 0.0,
    settled: float = 1.0,
    cache: Path | None = None,
    batch: int = 24,
) -> Features:
    """Run the base over both answers of each pair; keep the tokens where it leaves `uncertain` or more to others, and
    the share `settled` of the rest."""
    if cache is not None and cache.exists():
        return Features(**torch.load(cache, weights_only=True))
    encoded = [_encode(tokenizer, pair, side) for pair in pairs for side in (0, 1)]
    found: list[tuple[torch.Tensor, ...] | None] = [None] * len(encoded)
    generator = torch.Generator().manual_seed(0)
    order = sorted(range(len(encoded)), key=lambda i: sum(map(len, encoded[i])))
    head_VD = model.lm_head.weight
    chunks = [order[i : i + batch] for i in range(0, len(order), batch)]
    for chunk in track(chunks, description="features", disable=len(chunks) < 50):
        width = max(len(encoded[i][0]) + len(encoded[i][1]) for i in chunk)
        ids_BT = torch.zeros(len(chunk), width, dtype=torch.long)
        for row, i in enumerate(chunk):
            ids = encoded[i][0] + encoded[i][1]
            ids_BT[row, : len(ids)] = torch.tensor(ids)
        with torch.inference_mode(), mixed_precision("cpu"):
            hidden_BTD = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
        for row, i in enumerate(chunk):
            prompt, answer = encoded[i]
            hidden_TD = hidden_BTD[row, len(prompt) - 1 : len(prompt) + len(answer) - 1].float()
            with torch.inference_mode():
                logprobs_TV = F.linear(hidden_TD, head_VD.float()).log_softmax(-1)
            token_T = torch.tensor(answer)
            settled_T = logprobs_TV.max(-1).values.exp() > 1 - uncertain
            keep_T = ~settled_T | (torch.rand(len(answer), generator=generator) < settled)
            base_T = logprobs_TV.gather(1, token_T[:, None])[:, 0]
            found[i] = (hidden_TD[keep_T].bfloat16(), *(each_T[keep_T] for each_T in (token_T, base_T, settled_T)))
    kept = [part for part in found if part is not None]
    starts = torch.tensor([0, *np.cumsum([len(part[1]) for part in kept]).tolist()])
    hidden_MD, token_M, base_M, settled_M = (torch.cat([part[k] for part in kept]).clone() for k in range(4))
    features = Features(hidden_MD, token_M, base_M, settled_M, starts)
    if cache is not None:
        torch.save(vars(features), cache.with_suffix(".tmp"))
        os.replace(cache.with_suffix(".tmp"), cache)
    return features


def _encode(tokenizer: Any, pair: Pair, side: int) -> tuple[list[int], list[int]]:
    asked = tokenizer.apply_chat_template(
        [{"role": "user", "content": pair.question}], add_generation_prompt=True, tokenize=False
    )
    said = (pair.chosen, pair.rejected)[side] + END
    prompt_ids, answer_ids = tokenizer([str(asked), said], add_special_tokens=False).input_ids
    return prompt_ids, answer_ids


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
        self.about_NE = self.embeddings_NE * signs_N[:, None]
        self.poles_NQ = torch.zeros(len(texts), len(POLES) + 1)
        self._rows: dict[tuple[tuple[str, int], ...], list[int]] = {}
        for row, (spec, _) in enumerate(texts):
            self._rows.setdefault(tuple(sorted(spec.items())), []).append(row)
            for name, side in spec.items():
                about = side if signs_N[row] > 0 else 1 - side
                self.poles_NQ[row, POLES.index((name, about))] = 1 / len(spec)
            self.poles_NQ[row, -1] = float(not spec)

    def draw(self, spec: Spec, rng: random.Random, joint: float) -> list[torch.Tensor]:
        """The embeddings [E] that word `spec`: one for each dimension, or one for all of it; of {}, one of no style."""
        wishes = [tuple(sorted(spec.items()))]
        if len(spec) > 1 and (rng.random() >= joint or wishes[0] not in self._rows):
            wishes = [(pole,) for pole in spec.items()]
        return [self.embeddings_NE[rng.choice(self._rows[wish])] for wish in wishes]


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


def margins(
    head: VectorHead, head_VD: torch.Tensor, features: Features, index: Sequence[int], gates_NR: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reward of the chosen minus the rejected answer for pairs `index` [N] under gates [N, R], in nats.

    Returns:
        Σ_t r(chosen) − Σ_t r(rejected) over the unsettled tokens [N], and the mean reward of the settled ones.
    """
    spans = [(features.starts[2 * i + side], features.starts[2 * i + side + 1]) for i in index for side in (0, 1)]
    take_M = torch.cat([torch.arange(int(a), int(b)) for a, b in spans])
    row_M = torch.repeat_interleave(torch.arange(len(spans)), torch.tensor([int(b - a) for a, b in spans]))
    hidden_MD = features.hidden_MD[take_M].float()
    steered_MD = head(hidden_MD, gates_NR[row_M // 2])
    with mixed_precision("cpu", torch.is_grad_enabled()):
        logits_MV = F.linear(steered_MD, head_VD)
    logprob_M = -F.cross_entropy(logits_MV.float(), features.token_M[take_M], reduction="none")
    reward_M = logprob_M - features.base_M[take_M]
    settled_M = features.settled_M[take_M]
    sums = torch.zeros(len(spans)).index_add(0, row_M, reward_M.masked_fill(settled_M, 0.0))
    calm = reward_M[settled_M].mean() if bool(settled_M.any()) else reward_M.new_zeros(())
    return sums[0::2] - sums[1::2], calm


def train_head(
    recipe: HeadRecipe, model: LlamaForCausalLM, tokenizer: Any, embedder: Embedder, work: Path
) -> VectorHead:
    """Train a head for the base; features are cached in `work`."""
    torch.manual_seed(recipe.seed)
    pairs = training_pairs(recipe)
    cache = work / f"features_{recipe.pairs}.pt"
    features = compute_features(model, tokenizer, pairs, recipe.uncertain, recipe.settled, cache)
    pool = WordingPool(embedder, recipe.seed, recipe.wording_pool, work / "wordings.npz")
    config = HeadConfig(
        hidden_size=model.config.hidden_size,
        vocab_size=model.config.vocab_size,
        rank=recipe.rank,
        embedding_size=pool.embeddings_NE.shape[1],
        mlp_size=recipe.mlp_size,
        prototypes=len(POLES) + 1,
        embedder=embedder.name,
    )
    head, head_VD = VectorHead(config).train(), model.lm_head.weight.detach().float()
    head.standardize(pool.about_NE)
    _train_reader(recipe, head, pool)
    optimizer = torch.optim.AdamW(
        [head.U_RD, head.V_DR, head.G_QR],
        lr=recipe.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=recipe.weight_decay,
    )
    rng = random.Random(recipe.seed + 1)
    accuracy: list[float] = []
    for step in track(range(recipe.steps), description="head"):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * min(1, (step + 1) / 50) * max(0.02, 1 - step / recipe.steps)
        index = rng.sample(range(len(pairs)), recipe.batch)
        beside_N = torch.tensor([rng.random() < recipe.beside for _ in index])
        signed: list[torch.Tensor] = []
        quiet: list[torch.Tensor] = []
        for side, sign in ((0, 1.0), (1, -1.0)):
            wishes = [
                pool.draw({} if beside else (pairs[i].spec, pairs[i].mirror)[side], rng, recipe.joint)
                for i, beside in zip(index, beside_N.tolist(), strict=True)
            ]
            gates_NR = gates_of(head, wishes)
            margin_N, calm = margins(head, head_VD, features, index, gates_NR)
            signed.append(sign * margin_N)
            quiet.append(calm)
        margin_N, beside_N = torch.cat(signed), beside_N.repeat(2)
        scaled_N = recipe.beta_train * margin_N
        # A text about no style has no better side: the loss of a coin flip, least at margin 0.
        loss_N = torch.where(beside_N, -(F.logsigmoid(scaled_N) + F.logsigmoid(-scaled_N)) / 2, -F.logsigmoid(scaled_N))
        loss = loss_N.mean() - recipe.calm * sum(quiet) / 2
        loss.backward()
        torch.nn.utils.clip_grad_norm_([head.U_RD, head.V_DR, head.G_QR], 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        accuracy.append((margin_N > 0)[~beside_N].float().mean().item())
        if (step + 1) % 200 == 0:
            _log.info("head step %d loss %.4f accuracy %.3f", step + 1, loss.item(), sum(accuracy[-200:]) / 200)
    return head.eval()


def _train_reader(recipe: HeadRecipe, head: VectorHead, pool: WordingPool) -> None:
    """Teach f to name the poles that a wording asks for: a few small readers that learn apart, then side by side in f.

    Their mean reads new words better than any of them, and side by side they are one MLP again.
    """
    size = head.config.mlp_size // recipe.readers
    parts = [_train_one(recipe, size, head, pool) for _ in range(recipe.readers)]
    head.f.load_state_dict(
        {
            "0.weight": torch.cat([first.weight for first, _ in parts]),
            "0.bias": torch.cat([first.bias for first, _ in parts]),
            "3.weight": torch.cat([last.weight for _, last in parts], dim=1) / recipe.readers,
            "3.bias": torch.stack([last.bias for _, last in parts]).mean(0),
        }
    )
    head.f.requires_grad_(False)


def _train_one(
    recipe: HeadRecipe, size: int, head: VectorHead, pool: WordingPool
) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """Train a reader of width `size`; returns its first and its last layer."""
    first, last = torch.nn.Linear(pool.about_NE.shape[1], size), torch.nn.Linear(size, pool.poles_NQ.shape[1])
    none_Q = F.one_hot(torch.tensor(len(POLES)), pool.poles_NQ.shape[1]).float()
    reader = torch.nn.Sequential(first, torch.nn.GELU(), torch.nn.Dropout(0.3), last)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=2e-3, weight_decay=recipe.reader_decay)
    for step in track(range(recipe.reader_steps), description="reader"):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * (1 - step / recipe.reader_steps)
        index_N = torch.randint(len(pool.about_NE), (recipe.reader_batch,))
        turned_N = torch.rand(recipe.reader_batch, 1) < recipe.turned
        about_NE = pool.about_NE[index_N] * torch.where(turned_N, -1.0, 1.0)
        logits_NQ = reader((about_NE - head.center_E) / head.spread_E)
        loss = F.cross_entropy(logits_NQ, torch.where(turned_N, none_Q, pool.poles_NQ[index_N]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    _log.info("reader loss %.4f", loss.item())
    return first, last


def _embed_once(embedder: Embedder, texts: list[str], cache: Path | None) -> dict[str, np.ndarray]:
    """Embed texts, or read the vectors [E] back if the cache holds those of exactly these texts."""
    mark = hashlib.sha256("\n".join([embedder.name, *texts]).encode()).hexdigest()
    if cache is not None and cache.exists():
        with np.load(cache) as saved:
            if str(saved["mark"]) == mark:
                return dict(zip(texts, np.asarray(saved["vectors"]), strict=True))
    parts = [texts[i : i + 256] for i in range(0, len(texts), 256)]
    vectors_NE = np.concatenate([embed_wishes(embedder, part) for part in track(parts, description="wordings")])
    if cache is not None:
        np.savez(cache, mark=mark, vectors=vectors_NE)
    return dict(zip(texts, vectors_NE, strict=True))


def pair_accuracy(
    head: VectorHead,
    model: LlamaForCausalLM,
    tokenizer: Any,
    embedder: Embedder,
    pairs: Sequence[Pair],
    words: Words,
    seed: int,
    split: Split = "test",
) -> float:
    """Share of pairs whose chosen answer has the larger reward, over all tokens; chance is 0.5."""
    features = compute_features(model, tokenizer, pairs)
    rng = random.Random(seed)
    wishes = [
        [torch.from_numpy(vector) for vector in embed_wishes(embedder, wordings(pair.spec, rng, words, split))]
        for pair in pairs
    ]
    head_VD = model.lm_head.weight.detach().float()
    with torch.inference_mode():
        gates_NR = gates_of(head, wishes)
        right = [
            (margins(head, head_VD, features, range(i, min(i + 32, len(pairs))), gates_NR[i : i + 32])[0] > 0).float()
            for i in range(0, len(pairs), 32)
        ]
    return torch.cat(right).mean().item()
