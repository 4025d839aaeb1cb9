"""What steers beside the preferences and has no words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pad_langchain.engine import checks

__all__ = ["ResidualGate"]


@dataclass(frozen=True, eq=False)
class ResidualGate:
    """A gate in a head's own features, learned from a user's choices (see `pad_memory.profile.taste`).

    Args:
        maker: whose features these are, the head's fingerprint. Another head refuses them.
        gate: [R] finite numbers, of any length: the head bounds them.

    Raises:
        InvalidRequestError: the maker is no text, or the gate no vector of finite numbers.
    """

    maker: str
    gate: np.ndarray

    def __post_init__(self) -> None:
        checks.text("A residual gate's maker", self.maker)
        try:
            with np.errstate(over="ignore"):
                gate_R = np.asarray(self.gate, dtype=np.float32)
        except (TypeError, ValueError):
            gate_R = np.zeros(0, dtype=np.float32)
        if gate_R.ndim != 1 or not len(gate_R) or not np.isfinite(gate_R).all():
            checks.refuse("A residual gate", self.gate, "a vector of finite numbers")
        object.__setattr__(self, "gate", gate_R)
