"""Teach a head's f to read wordings, before any pair is shown: which poles does a text ask for?

Pairs would teach that too, but slowly: each shows two wordings and costs a softmax at every token. A reader knows
nothing of the base, so one that is taught serves the heads of other bases as well.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812

from pad_langchain.persrm.head import VectorHead
from pad_langchain.training.config import HeadSettings, Progress

__all__ = ["Lessons", "teach_reader"]

_log = logging.getLogger(__name__)
PEAK_RATE = 2e-3


@dataclass(frozen=True, eq=False)
class Lessons:
    """Wordings and what they ask for.

    Args:
        about_NE: [N, E] embeddings of what each wording is about, wanted or not.
        poles_NQ: [N, Q] shares of the poles that is, each row of sum 1. The last column stands for no pole.
    """

    about_NE: torch.Tensor
    poles_NQ: torch.Tensor


def teach_reader(head: VectorHead, lessons: Lessons, settings: HeadSettings, progress: Progress | None = None) -> None:
    """Teach f to name poles and freeze it: a few small readers that learn apart, then side by side in f.

    Their mean reads new words better than any of them, and side by side they are one MLP again. The head's prototypes
    are the lessons' poles, and its input is standardised already.
    """
    parts = [_teach_one(head, lessons, settings, place, progress) for place in range(settings.readers)]
    head.f.load_state_dict(
        {
            "0.weight": torch.cat([first.weight for first, _ in parts]),
            "0.bias": torch.cat([first.bias for first, _ in parts]),
            "3.weight": torch.cat([last.weight for _, last in parts], dim=1) / settings.readers,
            "3.bias": torch.stack([last.bias for _, last in parts]).mean(0),
        }
    )
    head.f.requires_grad_(False)


def _teach_one(
    head: VectorHead, lessons: Lessons, settings: HeadSettings, place: int, progress: Progress | None
) -> tuple[torch.nn.Linear, torch.nn.Linear]:
    """The reader at a place among the readers: its first and its last layer."""
    size, steps = head.config.mlp_size // settings.readers, settings.reader_steps
    count, poles = lessons.poles_NQ.shape
    first, last = torch.nn.Linear(lessons.about_NE.shape[1], size), torch.nn.Linear(size, poles)
    none_Q = F.one_hot(torch.tensor(poles - 1), poles).float()
    reader = torch.nn.Sequential(first, torch.nn.GELU(), torch.nn.Dropout(0.3), last)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=PEAK_RATE, weight_decay=settings.reader_decay)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = PEAK_RATE * (1 - step / steps)
        index_N = torch.randint(count, (settings.reader_batch,))
        # A wording turned around is about the opposite of something, which has no pole to name.
        turned_N1 = torch.rand(settings.reader_batch, 1) < settings.turned
        about_NE = lessons.about_NE[index_N] * torch.where(turned_N1, -1.0, 1.0)
        logits_NQ = reader((about_NE - head.center_E) / head.spread_E)
        loss = F.cross_entropy(logits_NQ, torch.where(turned_N1, none_Q, lessons.poles_NQ[index_N]))
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if progress is not None:
            progress("reader", place * steps + step + 1, settings.readers * steps, {})
    _log.info("reader: loss %.4f", loss.item())
    return first, last
