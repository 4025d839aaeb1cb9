"""LlamaIndex's components as pickles that leave the living object alone and lose nothing without a word."""

from __future__ import annotations

from typing import Any, ClassVar

from llama_index.core.schema import BaseComponent

__all__ = ["Pickled"]


class Pickled(BaseComponent):
    """A component whose own parts travel or raise.

    LlamaIndex takes what cannot be pickled out of the state, which is the living object's, and a copy then runs
    without it.
    """

    _own_parts: ClassVar[tuple[str, ...]] = ("memory", "embedder")

    def __getstate__(self) -> dict[str, Any]:
        # Handlers of callbacks and the like are left out as LlamaIndex does it, but of a copy.
        state: dict[str, Any] = BaseComponent.__getstate__(self.model_copy())
        parts = vars(self)
        state["__dict__"].update({name: parts[name] for name in self._own_parts if name in parts})
        return state
