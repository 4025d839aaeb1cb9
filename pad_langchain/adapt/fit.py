"""Features into a head: distillation of what the base does when it is told a wish, and quiet where it does nothing.

Per token, with p the base's distribution over the candidates, r the head's reward and t the teacher, both without
their mean under p:

    teacher · Σ_c p(c) Huber(r(c), t(c))  +  quiet · KL(p ‖ steered)

Each example is shown twice, once with its wish and once with the opposite, whose teacher is −t.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812

from pad_langchain.adapt.config import FitSettings
from pad_langchain.adapt.features import Features
from pad_langchain.persrm.head import VectorHead
from pad_langchain.training.config import Progress
from pad_langchain.training.head import CHECKPOINT, HeadTrainer
from pad_langchain.training.margins import gates_of
from pad_langchain.training.objectives import Loss
from pad_langchain.training.wordings import Wordings

__all__ = ["Distillation", "fit"]


def fit(
    features: Features,
    wordings: Wordings,
    settings: FitSettings,
    folder: Path,
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> VectorHead:
    """Train a head, or go on with the training that `folder` holds.

    Args:
        features: of N examples.
        wordings: words the wishes of the examples, by their places.
        folder: of checkpoints.

    Returns:
        the head in evaluation mode.

    Raises:
        CheckpointError: a checkpoint could not be written; the one before is whole.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    trainer = HeadTrainer(settings.head, seed=seed, progress=progress)
    head = trainer.begin(features.hidden_size, features.vocab_size, wordings)
    trainer.fit(head, Distillation(features, wordings, settings), folder / CHECKPOINT)
    return head


@dataclass(frozen=True, eq=False)
class Distillation:
    """The loss of some examples under their wishes and under the opposite ones."""

    features: Features
    wordings: Wordings
    settings: FitSettings

    def __len__(self) -> int:
        return len(self.features)

    def __call__(self, head: VectorHead, examples: Sequence[int], rng: random.Random) -> Loss:
        worded = self.wordings.draw(examples, rng)
        wish_NR = gates_of(head, [each.wanted for each in worded])
        opposite_NR = gates_of(head, [each.opposite or each.wanted for each in worded])
        taken = self.features.take(examples)
        # index_select and embedding sum their gradients in one order; plain indexing, on several threads, in any.
        gates_MRG = torch.stack([wish_NR, opposite_NR], -1).index_select(0, taken.example_M)
        base_MC1 = taken.base_MC.log_softmax(-1)[:, :, None]
        used_K, place_MC = taken.place_MC.unique(return_inverse=True)
        features_KR = self.features.head_KD[used_K] @ head.V_DR
        steer_MRG = (taken.hidden_MD @ head.U_RD.T)[:, :, None] * gates_MRG
        steered_MCG = (base_MC1 + F.embedding(place_MC, features_KR) @ steer_MRG).log_softmax(1)
        reward_MCG, p_MC1 = steered_MCG - base_MC1, base_MC1.exp()
        teacher_MCG = torch.stack([taken.teacher_MC, -taken.teacher_MC], -1)
        far_MCG = F.huber_loss(
            _centred(reward_MCG, p_MC1), _centred(teacher_MCG, p_MC1), reduction="none", delta=self.settings.huber
        )
        distance = (p_MC1 * far_MCG).sum(1).mean()
        moved = -(p_MC1 * reward_MCG).sum(1).mean()  # KL(p ‖ steered)
        loss = self.settings.teacher * distance + self.settings.quiet * moved
        return Loss(loss, float(loss.detach()), _accuracy(reward_MCG[:, 0], taken.example_M))


def _centred(values_MCG: torch.Tensor, p_MC1: torch.Tensor) -> torch.Tensor:
    """Values without their mean under p."""
    return values_MCG - (p_MC1 * values_MCG).sum(1, keepdim=True)


def _accuracy(reward_MG: torch.Tensor, example_M: torch.Tensor) -> float:
    """Share of examples whose text the head rewards more under its wish than under the opposite."""
    margin_N = torch.zeros(int(example_M[-1]) + 1).index_add(0, example_M, (reward_MG[:, 0] - reward_MG[:, 1]).detach())
    return float((margin_N > 0).float().mean())
