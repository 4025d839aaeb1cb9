"""What rows ask for, as tensors: made when rows join or leave, read in every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pad_langchain.arithmetic.scoring import Shares
from pad_langchain.engine.local.row import Row

__all__ = ["Layout", "Sampling"]


@dataclass(frozen=True, eq=False)
class Sampling:
    """How some rows of a batch choose, one value a row.

    Args:
        rows: these N rows, and `places`, where they are in the batch; it may have others.
        at_N: the places as a tensor; None: the whole batch, in order.
        most: the largest of `k_N`.
        lazy: whether any row may go without the guide.
        constrained: whether any row has a grammar, which may leave it one candidate.
    """

    rows: tuple[Row, ...]
    places: tuple[int, ...]
    at_N: torch.Tensor | None
    k_N: torch.Tensor
    beta_N: torch.Tensor
    alpha_N: torch.Tensor
    clip_N: torch.Tensor
    lazy_N: torch.Tensor
    temperature_N: torch.Tensor
    top_p_N: torch.Tensor
    most: int
    lazy: bool
    constrained: bool

    @classmethod
    def of(cls, batch: Sequence[Row], places: Sequence[int], device: torch.device) -> Sampling:
        """The settings of the rows at these places of a batch."""
        rows = tuple(batch[place] for place in places)
        requests = [row.request for row in rows]

        def floats(values: Sequence[float]) -> torch.Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        return cls(
            rows=rows,
            places=tuple(places),
            at_N=None if len(places) == len(batch) else torch.tensor(places, dtype=torch.long, device=device),
            k_N=torch.tensor([request.top_k for request in requests], dtype=torch.long, device=device),
            beta_N=floats([request.beta for request in requests]),
            alpha_N=floats([request.alpha for request in requests]),
            clip_N=floats([request.clip or math.inf for request in requests]),
            lazy_N=torch.tensor([request.lazy for request in requests], dtype=torch.bool, device=device),
            temperature_N=floats([request.temperature for request in requests]),
            top_p_N=floats([request.top_p for request in requests]),
            most=max((request.top_k for request in requests), default=0),
            lazy=any(request.lazy for request in requests),
            constrained=any(row.grammar is not None for row in rows),
        )

    def take(self, values_B: torch.Tensor) -> torch.Tensor:
        """The values of these rows among the batch's, [N, …]."""
        return values_B if self.at_N is None else values_B[self.at_N]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which of a batch's rows the rows below them belong to: those of the guide, G in all, and of the base's model.

    Args:
        owners: the place in the batch of each row of the base's model, section after section; `owner_R` on the device.
        reader_G: the place in the batch of each guide row's row.
        shares: how guide rows add up to rewards of the guided rows.
        own_G1: which guide rows are compared with the guide's own reference; None: none of them.
        apart_G: the guide rows whose own reference is a row of the base's model; None: there is none.
    """

    owners: tuple[int, ...]
    owner_R: torch.Tensor
    reader_G: torch.Tensor
    shares: Shares
    own_G1: torch.Tensor | None
    apart_G: torch.Tensor | None

    @classmethod
    def of(cls, rows: Sequence[Row], riding: bool, inputs: torch.device, head: torch.device) -> Layout:
        """The layout of a batch.

        Args:
            riding: whether guide rows are rows of the base's model.
            inputs, head: the devices on which tokens go in and logits come out.
        """
        readers = [place for place, row in enumerate(rows) for _ in range(row.guide_rows)]
        references = [place for place, row in enumerate(rows) for _ in range(row.reference_rows)]
        owners = (*range(len(rows)), *references, *(readers if riding else ()))
        guided = [row for row in rows if row.guide_rows]
        own = [row.request.reference == "reference" for row in guided for _ in range(row.guide_rows)]
        apart = [g for g, place in enumerate(readers) if rows[place].reference_rows]
        best = [row.request.combine == "max" for row in guided]
        weights = [weight for row in guided if row.plan is not None for weight in row.plan.weights]
        numbers = [n for n, row in enumerate(guided) for _ in range(row.guide_rows)]
        shares = Shares(
            weight_G=torch.tensor(weights, dtype=torch.float32, device=head),
            row_G=torch.tensor(numbers, dtype=torch.long, device=head),
            best_B=torch.tensor(best, device=head) if any(best) else None,
        )
        return cls(
            owners=owners,
            owner_R=torch.tensor(owners, dtype=torch.long, device=inputs),
            reader_G=torch.tensor(readers, dtype=torch.long, device=inputs),
            shares=shares,
            own_G1=torch.tensor(own, device=head)[:, None] if any(own) else None,
            apart_G=torch.tensor(apart, dtype=torch.long, device=head) if apart else None,
        )
