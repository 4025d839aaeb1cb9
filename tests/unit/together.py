"""Callers that start together: what forwards they share must not hang on how busy the machine is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pad_langchain.engine.torch.engine import TorchEngine


@contextmanager
def together(engine: TorchEngine, count: int) -> Iterator[None]:
    """Let an idle engine begin only when `count` requests wait."""
    admit = engine._admit

    def admit_all() -> None:
        with engine._changed:
            engine._changed.wait_for(lambda: len(engine._waiting) >= count, timeout=60)
        del engine._admit
        admit()

    engine._admit = admit_all  # type: ignore[method-assign]
    yield
