"""What rows ask for, as tensors or numpy arrays. It is made when rows join or leave, and read in every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pad_langchain.arithmetic.arrays import Array, array
from pad_langchain.arithmetic.drawing import draw
from pad_langchain.arithmetic.scoring import Cuts, Shares
from pad_langchain.engine.local.row import Row

__all__ = ["Layout", "Sampling"]


@dataclass(frozen=True, eq=False)
class Sampling:
    """How N rows of a batch choose, one value per row. The fields ending in N are the settings of `Request`.

    Args:
        rows: these rows.
        places: where they are in the batch, which may have other rows.
        at_N: the places as a tensor. None means the rows are the whole batch, in order.
        most: the largest of `k_N`.
        cuts: `k_N` and `alpha_N` as numbers of Python. None means they are tensors.
        greedy: whether all rows take their best token.
        logprobs: whether any row reports log-probabilities, of its tokens or of its candidates.
        lazy: whether any row may go without the guide.
        clipped: whether any row bounds its rewards.
        constrained: whether any row has a grammar, which may leave it one candidate.
    """

    rows: tuple[Row, ...]
    places: tuple[int, ...]
    at_N: Array | None
    k_N: Array
    beta_N: Array
    alpha_N: Array
    clip_N: Array
    lazy_N: Array
    temperature_N: Array
    top_p_N: Array
    most: int
    cuts: Cuts | None
    greedy: bool
    logprobs: bool
    lazy: bool
    clipped: bool
    constrained: bool

    @classmethod
    def of(cls, batch: Sequence[Row], places: Sequence[int], device: torch.device | None) -> Sampling:
        """Collect the settings of the rows at these places of a batch on a device. None means as numpy arrays."""
        rows = tuple(batch[place] for place in places)
        requests = [row.request for row in rows]

        def floats(values: Sequence[float]) -> Array:
            return array(values, "float32", device)

        k_N = array([request.top_k for request in requests], "int64", device)
        alpha_N = floats([request.alpha for request in requests])
        return cls(
            rows=rows,
            places=tuple(places),
            at_N=None if len(places) == len(batch) else array(places, "int64", device),
            k_N=k_N,
            beta_N=floats([request.beta for request in requests]),
            alpha_N=alpha_N,
            clip_N=floats([request.clip or math.inf for request in requests]),
            lazy_N=array([request.lazy for request in requests], "bool", device),
            temperature_N=floats([request.temperature for request in requests]),
            top_p_N=floats([request.top_p for request in requests]),
            most=max((request.top_k for request in requests), default=0),
            cuts=Cuts.of(k_N, alpha_N) if device is None else None,
            greedy=all(request.temperature == 0 for request in requests),
            logprobs=any(request.logprobs or request.candidates for request in requests),
            lazy=any(request.lazy for request in requests),
            clipped=any(request.clip is not None for request in requests),
            constrained=any(row.grammar is not None for row in rows),
        )

    def draw(self, scores_NK: Array) -> Array:
        """Choose one column of each row by its own random number: [N, K] → [N]. See `arithmetic.drawing`."""
        if self.greedy:
            return scores_NK.argmax(-1)
        device = scores_NK.device if isinstance(scores_NK, torch.Tensor) else None
        uniform_N = array([row.uniform for row in self.rows], "float64", device)
        return draw(scores_NK, self.temperature_N, self.top_p_N, uniform_N)

    def take(self, values_B: Array) -> Array:
        """Take these rows' values from the batch's: [B, …] → [N, …]."""
        return values_B if self.at_N is None else values_B[self.at_N]


@dataclass(frozen=True, eq=False)
class Layout:
    """Which row of a batch each row of the guide (G in all) and of the base's model (R in all) belongs to.

    Args:
        owners: per row of the base's model the place of its row in the batch, section after section. `owner_R` is the
            same on the device.
        reader_G: per guide row the place of its row in the batch.
        shares: how guide rows add up to rewards of the guided rows.
        alike: whether each guided row has exactly one guide row, with weight 1.
        own_G1: which guide rows are compared with the guide's own reference. None means none of them.
        apart_G: the guide rows whose own reference is a row of the base's model. None means there are none.
    """

    owners: tuple[int, ...]
    owner_R: Array
    reader_G: Array
    shares: Shares
    alike: bool
    own_G1: Array | None
    apart_G: Array | None

    @classmethod
    def of(cls, rows: Sequence[Row], riding: bool, inputs: torch.device | None, head: torch.device | None) -> Layout:
        """Make the layout of a batch.

        Args:
            rows: those of the batch.
            riding: whether guide rows are rows of the base's model.
            inputs, head: the devices on which tokens go in and logits come out. None means numpy arrays.
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
            weight_G=array(weights, "float32", head),
            row_G=array(numbers, "int64", head),
            best_B=array(best, "bool", head) if any(best) else None,
        )
        return cls(
            owners=owners,
            owner_R=array(owners, "int64", inputs),
            reader_G=array(readers, "int64", inputs),
            shares=shares,
            alike=numbers == list(range(len(guided))) and set(weights) <= {1.0},
            own_G1=array(own, "bool", head)[:, None] if any(own) else None,
            apart_G=array(apart, "int64", head) if apart else None,
        )
