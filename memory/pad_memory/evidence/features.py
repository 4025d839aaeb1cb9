"""What a scorer's reward is linear in: φ of each answer, so that a gate g adds about g · φ to its reward.

The catalogue's margins say how an answer does in a few directions that have names. φ has all R directions that the
scorer knows: for a head it is the gradient of the reward with respect to the gate, at no gate. It is computed once and
kept with the event. Another scorer's φ is in other directions, so each says who made it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pad_memory.errors import InvalidEventError

__all__ = ["Features"]

_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True)
class Features:
    """φ of an event's answers, as it is stored.

    Args:
        maker: stands for what made them, a fingerprint. Only vectors of one maker compare.
        rows: for each response, the preferred one first, base64 of R float16, little-endian.

    Raises:
        InvalidEventError: the maker is blank, or a row is no base64 of finite numbers, or has another length.
    """

    maker: str
    rows: tuple[str, ...]

    def __post_init__(self) -> None:
        if not (isinstance(self.maker, str) and self.maker and self.rows):
            raise InvalidEventError(f"Features need a maker and rows, but have {self.maker!r} and {self.rows!r:.80}.")
        try:
            rows = [np.frombuffer(base64.b64decode(row, validate=True), "<f2") for row in self.rows]
        except (binascii.Error, TypeError, ValueError) as error:
            raise InvalidEventError(f"Features have a row that is no base64 of float16 numbers: {error}.") from error
        if len({len(row) for row in rows}) != 1 or not len(rows[0]) or not all(np.isfinite(row).all() for row in rows):
            raise InvalidEventError("Features have to be rows of one length, of finite numbers.")

    @classmethod
    def of(cls, maker: str, vectors_NR: np.ndarray) -> Features:
        """Pack vectors [N, R]; numbers beyond what float16 holds are cut."""
        packed = np.clip(vectors_NR, -_LARGEST, _LARGEST).astype("<f2")
        return cls(maker, tuple(base64.b64encode(row.tobytes()).decode() for row in packed))

    @cached_property
    def vectors_NR(self) -> np.ndarray:
        """The vectors [N, R], float64."""
        rows = [np.frombuffer(base64.b64decode(row), "<f2") for row in self.rows]
        return np.stack(rows).astype(np.float64)

    def to_dict(self) -> dict[str, Any]:
        return {"maker": self.maker, "rows": list(self.rows)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Features:
        return cls(data["maker"], tuple(data["rows"]))
