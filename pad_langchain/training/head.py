"""The trainer of heads: features once, then minutes of steps on them.

    pairs, wordings → features → (reader) → steps of an objective → VectorHead

There is one, whatever a head learns from: the pairs of `train kind: head`, the demo's, or a model's own answers. An
`Objective` gives it the loss, and a `Wordings` says in which words wishes are said.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pad_langchain.errors import CheckpointError
from pad_langchain.models.backbone import Backbone
from pad_langchain.paths import replacing
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.training.config import HeadSettings, Progress
from pad_langchain.training.encoding import EncodedPair
from pad_langchain.training.features import Features, compute_features
from pad_langchain.training.objectives import BradleyTerry, Loss, Objective
from pad_langchain.training.reader import teach_reader
from pad_langchain.training.wordings import Wordings

__all__ = ["Curve", "HeadTrainer", "lm_head_of", "warm_then_falling"]

_log = logging.getLogger(__name__)
CHECKPOINT = "checkpoint.pt"
Curve = list[dict[str, float]]  # step, mean loss and accuracy since the point before


def warm_then_falling(step: int, steps: int) -> float:
    """Share of the peak learning rate at a step, counted from 1: up over 50 steps, then down to 2%."""
    return min(1, step / 50) * max(0.02, 1 - step / steps)


@dataclass(frozen=True)
class HeadTrainer:
    """Trains heads.

    Args:
        settings: shape of the head, and how it learns.
        seed: of weights, and of batches and words unless `batch_seed` is set.
        beta_train: scale of summed rewards in the loss.
        label_smoothing: probability in [0, .5) that a label is wrong (robust DPO).
        log_steps, save_steps: optimiser steps between points of the curve, and between checkpoints.
        rate: (step from 1, steps) → share of the peak learning rate.
        progress: called after every step of a stage.
    """

    settings: HeadSettings = field(default_factory=HeadSettings)
    seed: int = 0
    batch_seed: int | None = None
    beta_train: float = 0.1
    label_smoothing: float = 0.0
    log_steps: int = 10
    save_steps: int = 200
    rate: Callable[[int, int], float] = warm_then_falling
    progress: Progress | None = None

    def train(
        self, backbone: Backbone, pairs: Sequence[EncodedPair], wordings: Wordings, folder: Path
    ) -> tuple[VectorHead, Curve]:
        """Train a head for a base, or go on with the training that `folder` holds.

        Returns:
            the head in evaluation mode, and its curve.

        Raises:
            CheckpointError: features or a checkpoint could not be written; those before are whole.
        """
        torch.manual_seed(self.seed)
        features = self.features(backbone, pairs, folder / "features" / "train")
        checkpoint = folder / CHECKPOINT
        head = self.begin(backbone.hidden_size, backbone.vocab_size, wordings, checkpoint)
        objective = self.pairwise(lm_head_of(backbone), features, wordings)
        return head, self.fit(head, objective, checkpoint)

    def begin(self, hidden_size: int, vocab_size: int, wordings: Wordings, checkpoint: Path) -> VectorHead:
        """Make the head that a training begins with, for a base of these sizes.

        Its reader is taught already, unless there is a checkpoint, whose reader is.
        """
        settings = self.settings
        lessons = wordings.lessons() if settings.readers else None
        head = VectorHead(
            HeadConfig(
                hidden_size=hidden_size,
                vocab_size=vocab_size,
                rank=settings.rank,
                embedding_size=wordings.known_NE.shape[1],
                mlp_size=settings.mlp_size,
                prototypes=settings.prototypes if lessons is None else lessons.poles_NQ.shape[1],
                embedder=wordings.embedder,
                none_pole=None if lessons is None else True,
            )
        )
        head.standardize(wordings.known_NE)
        if lessons is not None and checkpoint.exists():
            head.f.requires_grad_(False)
        elif lessons is not None:
            teach_reader(head, lessons, settings, self.progress)
        return head

    def pairwise(self, head_VD: torch.Tensor, features: Features, wordings: Wordings) -> BradleyTerry:
        """The objective of preference pairs. `head_VD` is the base's lm_head, as `lm_head_of`."""
        return BradleyTerry(head_VD, features, wordings, self.beta_train, self.label_smoothing, self.settings.calm)

    def features(self, backbone: Backbone, pairs: Sequence[EncodedPair], folder: Path) -> Features:
        """What the head learns from, or is measured on, kept in `folder`."""
        tell = self.progress
        return compute_features(
            backbone, pairs, folder,
            uncertain=self.settings.uncertain, settled=self.settings.settled, candidates=self.settings.candidates,
            seed=self.seed, progress=None if tell is None else lambda done, of: tell("features", done, of, {}),
        )  # fmt: skip

    def fit(self, head: VectorHead, objective: Objective, checkpoint: Path) -> Curve:
        """Train what of the head is not frozen, from the checkpoint if there is one."""
        settings, steps = self.settings, self.settings.steps
        learning = [parameter for parameter in head.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(
            learning, lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=settings.weight_decay
        )
        state = _State(
            head.train(), optimizer, random.Random(self.seed if self.batch_seed is None else self.batch_seed)
        )
        state.load(checkpoint)
        for step in range(state.step + 1, steps + 1):
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * self.rate(step, steps)
            examples = state.rng.sample(range(len(objective)), min(settings.batch, len(objective)))
            loss = objective(head, examples, state.rng)
            loss.total.backward()
            torch.nn.utils.clip_grad_norm_(learning, 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            state.step = step
            logged = state.log(loss, step % self.log_steps == 0 or step == steps)
            if logged:
                _log.info("head step %d of %d: loss %.4f accuracy %.3f", step, steps, *logged.values())
            if self.progress is not None:
                self.progress("head", step, steps, logged)
            if step % self.save_steps == 0 or step == steps:
                state.save(checkpoint)
        head.eval()
        return state.curve


def lm_head_of(backbone: Backbone) -> torch.Tensor:
    """The base's lm_head as training reads it: float32 [V, D] on the CPU."""
    weight_VD: torch.Tensor = backbone.head.weight
    return weight_VD.detach().float().cpu()


@dataclass
class _State:
    """Where a training is; what a checkpoint holds."""

    head: VectorHead
    optimizer: torch.optim.Optimizer
    rng: random.Random
    step: int = 0
    curve: Curve = field(default_factory=list)
    since: list[tuple[float, float]] = field(default_factory=list)

    def log(self, loss: Loss, due: bool) -> dict[str, float]:
        """Note a step; where a point of the curve is due, what it says."""
        self.since.append((loss.shown, loss.accuracy))
        if not due:
            return {}
        mean_loss, mean_right = np.mean(self.since, axis=0).tolist()
        self.curve.append({"step": self.step, "loss": mean_loss, "accuracy": mean_right})
        self.since.clear()
        return {"loss": mean_loss, "accuracy": mean_right}

    def load(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one."""
        if not path.exists():
            return
        saved = torch.load(path, weights_only=True)
        self.head.load_state_dict(saved["head"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rng.setstate(saved["rng"])
        torch.set_rng_state(saved["torch_rng"])
        self.step, self.curve, self.since = saved["step"], saved["curve"], saved["since"]

    def save(self, path: Path) -> None:
        """Write a checkpoint whole, or leave the one before."""
        saved: dict[str, Any] = {"step": self.step, "head": self.head.state_dict()}
        saved |= {"optimizer": self.optimizer.state_dict(), "rng": self.rng.getstate()}
        saved |= {"torch_rng": torch.get_rng_state(), "curve": self.curve, "since": self.since}
        try:
            with replacing(path) as file:
                torch.save(saved, file)
        except (OSError, RuntimeError) as error:  # torch reports a full disk in its own way
            raise CheckpointError(
                f"The checkpoint of step {self.step} could not be written to {str(path)!r}: {error} The one before is "
                "whole: make room and start the same command again."
            ) from error
