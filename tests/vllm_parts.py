"""A head of a tiny base, and what a worker of vLLM makes of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from pad_langchain.persrm.head import HeadConfig, VectorHead
from vllm_fakes import FakeConfig, FakeHead, FakeModel

__all__ = ["D", "R", "V", "Worker", "save_head"]

D, V, R = 24, 60, 6


def save_head(folder: Path, seed: int = 0, **changes: Any) -> VectorHead:
    """Write a random head that steers."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": D, "vocab_size": V, "rank": R, "embedding_size": 8, "mlp_size": 8, "prototypes": 4}
    head = VectorHead(HeadConfig(**{**sizes, **changes}))
    with torch.no_grad():
        head.V_DR.normal_(std=0.5)
    head.save_pretrained(folder)
    return head.eval()


class Worker:
    """A model and its processor, as a worker of vLLM makes them. Where a model has no tap, use `vllm_fakes` alone.

    Args:
        layer: soft cap and scale.
    """

    def __init__(self, **layer: Any) -> None:
        from pad_vllm import PadProcessor

        torch.manual_seed(1)
        self.config = FakeConfig(D, V)
        self.processor: Any = PadProcessor(self.config, torch.device("cpu"), False)  # V1 makes it before the model
        self.head, self.bias = FakeHead(torch.randn(V, D)), torch.randn(V)
        self.model = FakeModel(self.config, self.head, self.bias, **layer)
        self.layer: Any = self.model.layer

    def step(self, rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A forward of random hidden states: they and the base's logits."""
        hidden_BD = torch.randn(rows, D)
        return hidden_BD, self.model.compute_logits(hidden_BD)
