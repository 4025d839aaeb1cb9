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
from pad_langchain.adapt.lessons.features import Context, Features, Taken
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
    checkpoint = folder / CHECKPOINT
    head = trainer.begin(features.hidden_size, features.vocab_size, wordings, checkpoint)
    trainer.fit(head, Distillation(features, wordings, settings), checkpoint)
    return head


@dataclass(frozen=True, eq=False)
class Distillation:
    """The loss of some examples under their wishes and under the opposite ones.

    Every other step reads the examples behind the prompt as it is, the next one behind the prompt told the wish, or the
    opposite: a head steers both a base that is told a wish and one that is not.
    """

    features: Features
    wordings: Wordings
    settings: FitSettings

    def __len__(self) -> int:
        return len(self.features)

    def __call__(self, head: VectorHead, examples: Sequence[int], rng: random.Random) -> Loss:
        worded = self.wordings.draw(examples, rng)
        gates_GNR = [
            gates_of(head, [each.wanted for each in worded]),
            gates_of(head, [each.opposite or each.wanted for each in worded]),
        ]
        contexts: tuple[Context, Context] = ("wish", "opposite") if rng.random() < 0.5 else ("plain", "plain")
        far, moved, rewards_GM = torch.zeros(()), torch.zeros(()), []
        for gates_NR, context, sign in zip(gates_GNR, contexts, (1, -1), strict=True):
            taken = self.features.take(examples, context)
            base_MC, reward_MC = self._steered(head, taken, gates_NR)
            p_MC = base_MC.exp()
            far_MC = F.huber_loss(
                _centred(reward_MC, p_MC), _centred(sign * taken.teacher_MC, p_MC), reduction="none",
                delta=self.settings.huber,
            )  # fmt: skip
            far = far + (p_MC * far_MC).sum(1).mean() / 2
            moved = moved - (p_MC * reward_MC).sum(1).mean() / 2  # KL(p ‖ steered)
            rewards_GM.append(reward_MC[:, 0].detach())
        loss = self.settings.teacher * far + self.settings.quiet * moved
        return Loss(loss, float(loss.detach()), _accuracy(torch.stack(rewards_GM, 1), taken.example_M))

    def _steered(self, head: VectorHead, taken: Taken, gates_NR: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The base's log-probabilities over the candidates, and the head's rewards, both [M, C]."""
        # index_select and embedding sum their gradients in one order; plain indexing, on several threads, in any.
        gates_MR = gates_NR.index_select(0, taken.example_M)
        used_K, place_MC = taken.place_MC.unique(return_inverse=True)
        features_KR = self.features.head_KD[used_K] @ head.V_DR
        steer_MR1 = ((taken.hidden_MD @ head.U_RD.T) * gates_MR)[:, :, None]
        base_MC = taken.base_MC.log_softmax(-1)
        steered_MC = (base_MC + (F.embedding(place_MC, features_KR) @ steer_MR1)[:, :, 0]).log_softmax(1)
        return base_MC, steered_MC - base_MC


def _centred(values_MC: torch.Tensor, p_MC: torch.Tensor) -> torch.Tensor:
    """Values without their mean under p."""
    return values_MC - (p_MC * values_MC).sum(1, keepdim=True)


def _accuracy(reward_MG: torch.Tensor, example_M: torch.Tensor) -> float:
    """Share of examples whose text the head rewards more under its wish than under the opposite."""
    margin_N = torch.zeros(int(example_M[-1]) + 1).index_add(0, example_M, (reward_MG[:, 0] - reward_MG[:, 1]).detach())
    return float((margin_N > 0).float().mean())
