"""Train the demo's base chat model from nothing: a four-layer Llama on generated documents, resumable.

Documents of similar length make up a batch, so that nothing is attended across documents. The loss is on the model's
own turns. A step takes one batch from each of two streams; two processes take one each, one process takes both in turn.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import LlamaConfig, LlamaForCausalLM

from pad_langchain.training.precision import fast_bfloat16, mixed_precision
from recipes.demo_world.documents import CALLS_MIX, FIRST_MIX, RECORDS_MIX, document
from recipes.demo_world.muon import Float32Muon
from recipes.demo_world.tokenizer import CONTEXT, render
from recipes.demo_world.topics import Topic

__all__ = ["BaseRecipe", "train_base"]

_log = logging.getLogger(__name__)
STREAMS = 2
SAVE_EVERY = 250


@dataclass(frozen=True)
class BaseRecipe:
    """Everything that decides the base's weights besides the facts and the generator.

    Args:
        schedule: (step, share of the peak learning rates), linear in between; the last step ends the training. A step
            takes a batch from each of two streams of documents.
        calls_from: the step from which documents are mixed with more tool calls and copying.
        records_from: the step from which some documents turn sentences into records.
        batch_tokens: tokens of a batch, padding included.
        learning_rate: peak of AdamW for embeddings and norms.
        matrix_learning_rate: peak of Muon for the layers' matrices.
        shard: documents drawn and sorted by length at a time.
    """

    seed: int = 20
    hidden_size: int = 256
    intermediate_size: int = 704
    layers: int = 4
    heads: int = 4
    schedule: tuple[tuple[int, float], ...] = (
        (0, 0.01), (100, 1.0), (3150, 1.0), (4000, 0.37), (5300, 0.02),
        (5340, 0.2), (6200, 0.01), (6230, 0.15), (6750, 0.01),
    )  # fmt: skip
    calls_from: int = 4000
    records_from: int = 5300
    batch_tokens: int = 1536
    learning_rate: float = 2e-3
    matrix_learning_rate: float = 1.2e-2
    weight_decay: float = 0.05
    shard: int = 8192

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.schedule[-1][0]


@dataclass
class Batch:
    """Right-padded ids [B, T] and the mask [B, T] of the tokens the model must learn to say."""

    ids_BT: torch.Tensor
    target_BT: torch.Tensor


def batches(
    recipe: BaseRecipe, topics: Sequence[Topic], tokenizer: Any, stream: str, mix: Sequence[float] = FIRST_MIX
) -> Iterator[Batch]:
    """Yield a stream's batches for ever, always the same ones for the same recipe, stream and mix."""
    shard = 0
    while True:
        rng = random.Random(f"{recipe.seed}/{stream}/{shard}")
        rendered = [render(document(rng, topics, mix)) for _ in range(recipe.shard)]
        rows = [(ids[:CONTEXT], mask[:CONTEXT]) for ids, mask in _encode(tokenizer, rendered)]
        rows.sort(key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[bool]]]] = [[]]
        for row in rows:
            if groups[-1] and (len(groups[-1]) + 1) * _width(row[0]) > recipe.batch_tokens:
                groups.append([])
            groups[-1].append(row)
        rng.shuffle(groups)
        for group in groups:
            ids_BT = torch.zeros(len(group), _width(group[-1][0]), dtype=torch.long)
            target_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
            for index, (ids, mask) in enumerate(group):
                ids_BT[index, : len(ids)] = torch.tensor(ids)
                target_BT[index, : len(ids)] = torch.tensor(mask)
            yield Batch(ids_BT, target_BT)
        shard += 1


def _width(ids: Sequence[int]) -> int:
    """Round a length up to a multiple of 16: few distinct shapes keep the CPU kernels' caches warm."""
    return -(-len(ids) // 16) * 16


def _encode(tokenizer: Any, rendered: Sequence[list[tuple[str, bool]]]) -> Iterator[tuple[list[int], list[bool]]]:
    texts = [text for segments in rendered for text, _ in segments]
    encoded = iter(tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))
    for segments in rendered:
        ids: list[int] = []
        mask: list[bool] = []
        for _, own in segments:
            piece = next(encoded).ids
            ids += piece
            mask += [own] * len(piece)
        yield ids, mask


def train_base(
    recipe: BaseRecipe,
    topics: Sequence[Topic],
    tokenizer: Any,
    work: Path,
    *,
    processes: int = STREAMS,
    device: str = "cpu",
) -> LlamaForCausalLM:
    """Train, or go on from the checkpoint in `work`.

    Args:
        processes: 1 or 2; two single-threaded ones are faster on two CPU cores than one with two threads.
        device: "cpu", or "cuda" with one process.

    Returns:
        the model in evaluation mode, on the CPU.
    """
    checkpoint = work / "base_checkpoint.pt"
    if processes == 1:
        _run(0, 1, recipe, topics, tokenizer, checkpoint, device)
    else:
        (work / "rendezvous").unlink(missing_ok=True)
        torch.multiprocessing.spawn(
            _run, args=(processes, recipe, topics, tokenizer, checkpoint, device), nprocs=processes
        )
    model = LlamaForCausalLM(_config(recipe, tokenizer))
    model.load_state_dict(torch.load(checkpoint, weights_only=True)["model"])
    return model.eval()


def _run(
    rank: int,
    processes: int,
    recipe: BaseRecipe,
    topics: Sequence[Topic],
    tokenizer: Any,
    checkpoint: Path,
    device: str,
) -> None:
    if processes > 1:
        torch.set_num_threads(1)
        meeting = (checkpoint.parent / "rendezvous").resolve().as_uri()
        dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
        if rank == 0:
            logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(recipe.seed)
    model = LlamaForCausalLM(_config(recipe, tokenizer))
    model.to(device)  # type: ignore[arg-type]
    optimizers = _optimizers(recipe, model)
    done = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        model.load_state_dict(saved["model"])
        for optimizer, state in zip(optimizers, saved["optimizers"], strict=True):
            optimizer.load_state_dict(state)
        done = saved["steps"]
    names = range(rank, STREAMS, processes)
    phases = [
        (end, [batches(recipe, topics, tokenizer, f"{name}{mark}", mix) for name in names])
        for end, mark, mix in (
            (recipe.calls_from, "", FIRST_MIX),
            (recipe.records_from, "/calls", CALLS_MIX),
            (recipe.steps, "/records", RECORDS_MIX),
        )
    ]
    recent: list[float] = []
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed} of {task.total} steps"))
    times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("loss {task.fields[loss]:.3f}"))
    with Progress(*columns, *times, disable=rank > 0) as progress:
        task = progress.add_task("base", total=recipe.steps, completed=done, loss=float("nan"))
        for step in range(recipe.steps):
            end, streams = next(phase for phase in phases if step < phase[0])
            if end <= done:  # resumed behind this mix
                continue
            given = [next(stream) for stream in streams]
            if step < done:  # resumed: the streams catch up
                continue
            recent = [*recent[-199:], _step(recipe, model, optimizers, given, step)]
            progress.update(task, completed=step + 1, loss=sum(recent) / len(recent))
            if rank == 0 and ((step + 1) % SAVE_EVERY == 0 or step + 1 == recipe.steps):
                _log.info("step %d loss %.4f", step + 1, sum(recent) / len(recent))
                _save(checkpoint, model, optimizers, step + 1)
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def _config(recipe: BaseRecipe, tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _optimizers(recipe: BaseRecipe, model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon if fast_bfloat16(model.device.type) else Float32Muon
    return [
        muon(matrices, lr=recipe.matrix_learning_rate, weight_decay=recipe.weight_decay, momentum=0.95),
        torch.optim.AdamW(others, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    ]


def _step(
    recipe: BaseRecipe,
    model: LlamaForCausalLM,
    optimizers: list[torch.optim.Optimizer],
    given: Sequence[Batch],
    step: int,
) -> float:
    at, share = zip(*recipe.schedule, strict=True)
    factor = float(np.interp(step, list(at), list(share)))
    for optimizer, peak in zip(optimizers, (recipe.matrix_learning_rate, recipe.learning_rate), strict=True):
        for group in optimizer.param_groups:
            group["lr"] = peak * factor
    losses = [loss_of(model, batch) / STREAMS for batch in given]
    for loss in losses:
        loss.backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    if dist.is_initialized():
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return sum(loss.item() for loss in losses) * STREAMS / len(losses)


def loss_of(model: LlamaForCausalLM, batch: Batch) -> torch.Tensor:
    """The mean cross-entropy (nats) of the batch's own tokens."""
    device = model.device
    ids_BT, target_BT = batch.ids_BT.to(device), batch.target_BT.to(device)
    with mixed_precision(device.type):
        hidden_BTD = model.model(input_ids=ids_BT, use_cache=False).last_hidden_state
        logits_NV = model.lm_head(hidden_BTD[:, :-1][target_BT[:, 1:]])
    return F.cross_entropy(logits_NV.float(), ids_BT[:, 1:][target_BT[:, 1:]])


def _save(path: Path, model: LlamaForCausalLM, optimizers: list[torch.optim.Optimizer], steps: int) -> None:
    temporary = path.with_suffix(".tmp")
    states = [optimizer.state_dict() for optimizer in optimizers]
    torch.save({"model": model.state_dict(), "optimizers": states, "steps": steps}, temporary)
    os.replace(temporary, path)
