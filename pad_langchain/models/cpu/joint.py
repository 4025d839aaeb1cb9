"""Products of a model's linear layers, and siblings that read one input (q, k and v; gate and up) as one product."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

__all__ = ["Joint", "Norm", "Plain", "Product", "siblings"]

GROUPS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))


@dataclass(frozen=True, eq=False)
class Norm:
    """A model's RMSNorm in three operators: x · weight · √D / √(|x|² + D · ε).

    Args:
        weight_D: the norm's weight times √D.
        floor: √(D · ε).
    """

    weight_D: torch.Tensor
    floor: torch.Tensor

    @classmethod
    def of(cls, norm: Any) -> Norm:
        """Take over the weight and ε of a model's RMSNorm. Sums are in float32, whatever its weight is."""
        weight_D = norm.weight.detach().float() * len(norm.weight) ** 0.5
        return cls(weight_D, torch.tensor((len(norm.weight) * norm.variance_epsilon) ** 0.5))

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        """Return the normalised rows, [..., D] in the input's dtype."""
        return (input * self.weight_D).div_(self.length(input)).to(input.dtype)

    def length(self, input: torch.Tensor) -> torch.Tensor:
        """Return what each row times the weight is divided by: [..., D] → [..., 1] float32."""
        return torch.hypot(torch.linalg.vector_norm(input, 2, -1, True, dtype=torch.float32), self.floor)


class Product(Protocol):
    """A linear layer, or siblings side by side, as a decode step asks for it."""

    def __call__(self, input: torch.Tensor, /) -> torch.Tensor:
        """Return the product, [..., in] → [..., out]."""

    def of_normed(self, hidden_BD: torch.Tensor, norm: Norm) -> torch.Tensor:
        """Return the product of normalised hidden states, [B, D] → [B, out]."""

    def add_to(self, hidden_BD: torch.Tensor, input_BI: torch.Tensor) -> None:
        """Add the product of an input [B, in] to hidden states [B, D], in place."""


class Plain:
    """A `Product` by a map of an input to an output."""

    def __init__(self, product: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.product = product

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        return self.product(input)

    def of_normed(self, hidden_BD: torch.Tensor, norm: Norm) -> torch.Tensor:
        return self.product(norm(hidden_BD))

    def add_to(self, hidden_BD: torch.Tensor, input_BI: torch.Tensor) -> None:
        hidden_BD.add_(self.product(input_BI))


class _Last(threading.local):
    """The product that this thread made last, as its parts are asked for one after the other."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.joint: Joint | None = None
        self.input: torch.Tensor | None = None
        self.output: torch.Tensor | None = None


_last = _Last()


class Joint:
    """One product for sibling layers.

    Args:
        product: maps [..., in] to [..., sum of sizes].
        sizes: the number of outputs of each layer, in order.
    """

    def __init__(self, product: Product, sizes: Sequence[int]) -> None:
        self.product = product
        ends = list(itertools.accumulate(sizes, initial=0))
        self.columns = [slice(*pair) for pair in itertools.pairwise(ends)]

    def part(self, index: int, input: torch.Tensor) -> torch.Tensor:
        """Return the output of layer `index`. Those of its siblings for the same tensor are made with it."""
        if len(self.columns) == 1:
            return self.product(input)
        if _last.joint is not self or _last.input is not input:
            _last.joint, _last.input, _last.output = self, input, self.product(input)
        assert _last.output is not None
        made = _last.output[..., self.columns[index]]
        if index == len(self.columns) - 1:
            _last.clear()  # and do not keep a prompt's activations
        return made


def siblings(model: nn.Module, fits: Callable[[Any], bool], *, join: bool = True) -> list[list[Any]]:
    """Return the linear layers of a model that fit, in groups that read one input. Without `join`, one per group."""
    grouped: list[list[Any]] = []
    seen: set[int] = set()
    for parent in model.modules() if join else ():
        children = dict(parent.named_children())
        for names in GROUPS:
            group = [children[name] for name in names if name in children]
            if len(group) == len(names) and all(map(fits, group)) and _alike(group):
                grouped.append(group)
                seen.update(map(id, group))
    return grouped + [[module] for module in model.modules() if id(module) not in seen and fits(module)]


def _alike(group: Sequence[Any]) -> bool:
    """Whether layers can be joined: they have one width of input, and all or none has a bias."""
    return len({(module.in_features, module.bias is None) for module in group}) == 1
