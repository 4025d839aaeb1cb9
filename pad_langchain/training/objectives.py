"""What a head is trained for: an `Objective` gives the loss of some of its examples, a step at a time.

`BradleyTerry` is that of preference pairs: the chosen answer's summed reward is to be above the rejected one's.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812

from pad_langchain.persrm.head import VectorHead
from pad_langchain.training.features import Features
from pad_langchain.training.margins import gates_of, margins
from pad_langchain.training.wordings import Wordings

__all__ = ["BradleyTerry", "Loss", "Objective"]


@dataclass(frozen=True, eq=False)
class Loss:
    """The loss of one step.

    Args:
        total: what is made small, a scalar with a gradient.
        shown: what of it the curve shows.
        accuracy: share of the examples that the head gets right, in [0, 1].
    """

    total: torch.Tensor
    shown: float
    accuracy: float


class Objective(Protocol):
    """What `HeadTrainer.fit` makes small."""

    def __len__(self) -> int:
        """The number of examples."""
        ...

    def __call__(self, head: VectorHead, examples: Sequence[int], rng: random.Random) -> Loss:
        """Return the loss of some examples, by their places.

        Args:
            rng: draws wordings. It is kept with the training's checkpoints.
        """
        ...


@dataclass(frozen=True, eq=False)
class BradleyTerry:
    """The loss of preference pairs, −log σ(β · margin), each pair with its mirror: opposite wish, sides swapped.

    Args:
        head_VD: the base's lm_head, float32.
        features: of the pairs.
        wordings: words the pairs' wishes.
        beta: scale of summed rewards.
        label_smoothing: probability in [0, .5) that a label is wrong (robust DPO).
        calm: weight of the settled tokens' mean reward, which is to be 0.
    """

    head_VD: torch.Tensor
    features: Features
    wordings: Wordings
    beta: float = 0.1
    label_smoothing: float = 0.0
    calm: float = 1.0

    def __len__(self) -> int:
        return len(self.features)

    def __call__(self, head: VectorHead, examples: Sequence[int], rng: random.Random) -> Loss:
        worded = self.wordings.draw(examples, rng)
        gates_GNR = gates_of(head, [each.wanted for each in worded])[None]
        turned = [(n, each.opposite) for n, each in enumerate(worded) if each.opposite is not None]
        mirrored = torch.tensor([n for n, _ in turned], dtype=torch.long)
        if turned:
            opposite_NR = gates_of(head, [wish for _, wish in turned])
            gates_GNR = torch.cat([gates_GNR, torch.zeros_like(gates_GNR[0]).index_add(0, mirrored, opposite_NR)[None]])
        margin_GN, calm = margins(head, self.head_VD, self.features, examples, gates_GNR)
        margin_N = torch.cat([margin_GN[0], *(-margin_GN[1:].index_select(1, mirrored))])
        # A text about no style has no better side: the loss of a coin flip, least at margin 0.
        beside = [each.beside for each in worded] + [worded[n].beside for n, _ in turned]
        wrong = [0.5 if each else self.label_smoothing for each in beside]
        right_N, wrong_N = torch.tensor([1 - share for share in wrong]), torch.tensor(wrong)
        scaled_N = self.beta * margin_N
        loss = (-right_N * F.logsigmoid(scaled_N) - wrong_N * F.logsigmoid(-scaled_N)).mean()
        judged_N = ~torch.tensor(beside)
        accuracy = float((margin_N > 0)[judged_N].float().mean())
        return Loss(loss - self.calm * calm, float(loss.detach()), accuracy)
