"""Callers that start together: what forwards they share must not hang on how busy the machine is."""

from __future__ import annotations

from contextlib import AbstractContextManager

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.testing import paused


def together(engine: TorchEngine, count: int) -> AbstractContextManager[None]:
    """Let an idle engine begin only when `count` requests wait."""
    return paused(engine, until=count)
