"""Train a head PersRM for any base: features once, then minutes of Bradley–Terry steps on them.

Rewards are normalised over each token's candidates. A preference is read as its wishes (parts between ";"), each
embedded alone and their gates summed. A wish that the catalogue knows is worded in all its ways, and its pairs are
trained together with their mirror: the opposite wish, the sides swapped.
"""

from __future__ import annotations

import logging
import os
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from pad_langchain.defaults import model_folder
from pad_langchain.errors import CheckpointError, InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.training.config import TrainConfig
from pad_langchain.training.encoding import EncodedPair
from pad_langchain.training.features import Features, compute_features
from pad_memory.catalogue import CATALOGUE
from pad_memory.embedding import Embedder, SentenceEmbedder
from pad_memory.evidence.scorer import Calibration, judge
from pad_memory.language import embed_wishes

__all__ = ["fit", "gates_of", "margins", "train_head", "wishes_of"]

_log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
CALIBRATED_ON, FEWEST_TO_CALIBRATE = 32, 10  # pairs, two answers each
# Wording → the wordings of the same pole, and those of its opposite.
SAME, OPPOSITES = (
    {
        wording: (dimension.poles[other].text, *dimension.poles[other].paraphrases)
        for dimension in CATALOGUE
        for side, pole in enumerate(dimension.poles)
        for other in [1 - side if flipped else side]
        for wording in (pole.text, *pole.paraphrases)
    }
    for flipped in (False, True)
)


def train_head(
    config: TrainConfig,
    output: Path,
    progress: Callable[[str, int, int, dict[str, float]], None] | None = None,
    embedder: Embedder | None = None,
) -> dict[str, Any]:
    """Train a head into `output`; its features are cached below.

    Returns:
        what was measured: pairs, refused rows, the curve, and the accuracy on held-out pairs by preference.
    """
    from pad_langchain.training.run import encode_sides

    torch.manual_seed(config.seed)
    settings = config.head
    model, tokenizer = load_causal_lm(model_folder(config.base), device=config.device, dtype=config.dtype)
    backbone = Backbone(model)
    sides, result = encode_sides(config, model, tokenizer, template=None)
    if any(not pair.preference.strip() for pair in sides["train"]):
        raise InvalidRequestError("A head needs a preference for every pair. Set `preference` for sources without one.")

    def features_of(name: str) -> Features:
        return compute_features(
            backbone, sides[name], output / "features" / name,
            uncertain=settings.uncertain, settled=settings.settled, seed=config.seed,
            progress=None if progress is None else lambda done, of: progress("features", done, of, {}),
        )  # fmt: skip

    embedder = embedder or SentenceEmbedder(settings.embedder)
    vectors = _embed(embedder, [*sides["train"], *sides["held_out"]])
    features = features_of("train")
    head = VectorHead(
        HeadConfig(
            hidden_size=backbone.hidden_size,
            vocab_size=backbone.vocab_size,
            rank=settings.rank,
            embedding_size=len(next(iter(vectors.values()))),
            mlp_size=settings.mlp_size,
            prototypes=settings.prototypes,
            embedder=embedder.name,
        )
    )
    head.standardize(torch.stack(list(vectors.values())))
    head_VD = backbone.head.weight.detach().float().cpu()
    checkpoint = output / CHECKPOINT
    result["head"] = {"curve": fit(config, head, head_VD, features, sides["train"], vectors, checkpoint, progress)}
    head.eval()
    if sides["held_out"]:
        result["head"] |= accuracy(head, head_VD, features_of("held_out"), sides["held_out"], vectors)
        _log.info("head: held-out accuracy %.3f", result["head"]["held_out_accuracy"])
    calibration = _calibrate(PersRM(backbone, tokenizer, head=head, embedder=embedder), sides["held_out"])
    head.save_pretrained(output, beta=config.beta, alpha=config.alpha, calibration=calibration)
    return result


def _calibrate(scorer: PersRM, pairs: Sequence[EncodedPair]) -> dict[str, dict[str, float]] | None:
    """What the head's margins mean to a preference memory, learned from held-out answers; None where they are few."""
    if len(pairs) < FEWEST_TO_CALIBRATE:
        return None
    some = [pair.source for pair in pairs[:CALIBRATED_ON]]
    said: list[Any] = [(pair.messages, text) for pair in some for text in (pair.chosen, pair.rejected)]
    return Calibration.fit(judge(scorer, said, CATALOGUE)[0]).to_dict()


def wishes_of(preference: str) -> list[str]:
    """The wishes of a preference text, such as `export_pairs` joins them."""
    return [part.strip() for part in preference.split(";") if part.strip()]


def margins(
    head: VectorHead, head_VD: torch.Tensor, features: Features, pairs: Sequence[int], gates_GNR: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reward of the chosen minus the rejected answer of N pairs under G gates each, over the candidates, in nats.

    Returns:
        Σ_t r(chosen) − Σ_t r(rejected) over the unsettled tokens [G, N], and the mean reward of the settled ones.
    """
    hidden_MD, candidates_MC, logits_MC, settled_M, row_M = features.take(pairs)
    # Only the candidates' rows of the lm_head are needed, each once.
    used_K, place_MC = candidates_MC.unique(return_inverse=True)
    features_KR = head_VD[used_K] @ head.V_DR
    # index_select and embedding sum their gradients in one order; plain indexing, on several threads, in any.
    gates_MRG = gates_GNR.permute(1, 2, 0).index_select(0, row_M // 2)
    steer_MRG = (hidden_MD @ head.U_RD.T)[:, :, None] * gates_MRG
    steered_MCG = logits_MC[:, :, None] + F.embedding(place_MC, features_KR) @ steer_MRG
    reward_MG = steered_MCG.log_softmax(1)[:, 0] - logits_MC.log_softmax(-1)[:, :1]
    calm = reward_MG[settled_M].mean() if bool(settled_M.any()) else reward_MG.new_zeros(())
    counted_MG = reward_MG.masked_fill(settled_M[:, None], 0.0)
    sums_AG = torch.zeros(2 * len(pairs), len(gates_GNR)).index_add(0, row_M, counted_MG)
    return (sums_AG[0::2] - sums_AG[1::2]).T, calm


def gates_of(head: VectorHead, wishes: Sequence[Sequence[torch.Tensor]]) -> torch.Tensor:
    """Sum the gates of each wish's embeddings: N lists of [E] → [N, R]."""
    flat_PE = torch.stack([vector for wish in wishes for vector in wish])
    row_P = torch.tensor([n for n, wish in enumerate(wishes) for _ in wish])
    gates_PR = head.gates(flat_PE)
    return torch.zeros(len(wishes), gates_PR.shape[1]).index_add(0, row_P, gates_PR)


def accuracy(
    head: VectorHead,
    head_VD: torch.Tensor,
    features: Features,
    pairs: Sequence[EncodedPair],
    vectors: dict[str, torch.Tensor],
) -> dict[str, Any]:
    """Share of pairs whose chosen answer has the larger reward, in all and by preference."""
    right: dict[str, list[bool]] = defaultdict(list)
    with torch.inference_mode():
        for start in range(0, len(pairs), 32):
            index = range(start, min(start + 32, len(pairs)))
            gates_NR = gates_of(head, [[vectors[wish] for wish in wishes_of(pairs[n].preference)] for n in index])
            margin_GN, _ = margins(head, head_VD, features, index, gates_NR[None])
            for n, margin in zip(index, margin_GN[0].tolist(), strict=True):
                right[pairs[n].preference].append(margin > 0)
    every = [hit for hits in right.values() for hit in hits]
    by_preference = {name: [sum(hits) / len(hits), len(hits)] for name, hits in sorted(right.items())}
    return {"held_out_accuracy": sum(every) / len(every), "by_preference": by_preference}


def fit(
    config: TrainConfig,
    head: VectorHead,
    head_VD: torch.Tensor,
    features: Features,
    pairs: Sequence[EncodedPair],
    vectors: dict[str, torch.Tensor],
    checkpoint: Path,
    progress: Callable[[str, int, int, dict[str, float]], None] | None,
) -> list[dict[str, float]]:
    """Train, from the checkpoint if there is one; returns the curve."""
    settings, rng = config.head, random.Random(config.seed)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
    )
    head.train()
    curve: list[dict[str, float]] = []
    since: list[tuple[float, float]] = []
    first = 1
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        head.load_state_dict(state["head"])
        optimizer.load_state_dict(state["optimizer"])
        rng.setstate(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        first, curve, since = state["step"] + 1, state["curve"], state["since"]
    for step in range(first, settings.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * min(1, step / 50) * max(0.02, 1 - step / settings.steps)
        index = rng.sample(range(len(pairs)), min(settings.batch, len(pairs)))
        wishes = [wishes_of(pairs[n].preference) for n in index]
        mirrored = [n for n, wish in enumerate(wishes) if all(each in OPPOSITES for each in wish)]
        asked = [[vectors[rng.choice(SAME.get(each, (each,)))] for each in wish] for wish in wishes]
        gates_GNR = gates_of(head, asked)[None]
        if mirrored:
            opposite = [[vectors[rng.choice(OPPOSITES[each])] for each in wishes[n]] for n in mirrored]
            turned_NR = torch.zeros_like(gates_GNR[0]).index_add(0, torch.tensor(mirrored), gates_of(head, opposite))
            gates_GNR = torch.cat([gates_GNR, turned_NR[None]])
        margin_GN, calm = margins(head, head_VD, features, index, gates_GNR)
        margin_N = torch.cat([margin_GN[0], *(-margin_GN[1:].index_select(1, torch.tensor(mirrored).long()))])
        scaled_N, smooth = config.beta_train * margin_N, config.label_smoothing
        loss = (-(1 - smooth) * F.logsigmoid(scaled_N) - smooth * F.logsigmoid(-scaled_N)).mean()
        (loss - settings.calm * calm).backward()
        torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        since.append((float(loss.detach()), float((margin_N > 0).float().mean())))
        logged: dict[str, float] = {}
        if step % config.log_steps == 0 or step == settings.steps:
            mean_loss, mean_accuracy = np.mean(since, axis=0).tolist()
            logged = {"loss": mean_loss, "accuracy": mean_accuracy}
            curve.append({"step": step, **logged})
            since.clear()
            _log.info("head step %d of %d: loss %.4f accuracy %.3f", step, settings.steps, mean_loss, mean_accuracy)
        if progress is not None:
            progress("head", step, settings.steps, logged)
        if step % config.save_steps == 0:
            state = {"step": step, "head": head.state_dict(), "optimizer": optimizer.state_dict()}
            state |= {"rng": rng.getstate(), "torch_rng": torch.get_rng_state(), "curve": curve, "since": since}
            _save_checkpoint(state, checkpoint)
    return curve


def _save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write a checkpoint whole, or leave the one before."""
    temporary = path.with_suffix(".tmp")
    try:
        torch.save(state, temporary)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk in its own way
        temporary.unlink(missing_ok=True)
        raise CheckpointError(
            f"The checkpoint of step {state['step']} could not be written to {str(path)!r}: {error} The one before is "
            "whole: make room and start the same command again."
        ) from error


def _embed(embedder: Embedder, pairs: Sequence[EncodedPair]) -> dict[str, torch.Tensor]:
    """The vector [E] of every wish and of the catalogue's wordings, against which f's input is standardised."""
    texts = sorted({*SAME, *(wish for pair in pairs for wish in wishes_of(pair.preference))})
    return dict(zip(texts, torch.from_numpy(embed_wishes(embedder, texts)), strict=True))
