"""The kinds of store a `PreferenceMemory` may have below it. A new kind only joins `STORES`.

Each factory is given the test's request and returns a `Place`, whose memories all have the same store below them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from fakes import WordEmbedder
from pad_memory import PreferenceMemory

__all__ = ["SLOW", "STORES", "Place"]


@dataclass(frozen=True)
class Place:
    """Where the memories of one test are.

    Args:
        where: the keywords that say so; none: a folder of the memory's own, gone with it.
        lasting: whether what one memory recorded is there for the next.
        tenant: keeps the tests apart that share a server.
    """

    where: dict[str, Any] = field(default_factory=dict)
    lasting: bool = True
    tenant: str = "default"

    def open(self, *, tenant: str = "", **options: Any) -> PreferenceMemory:
        return PreferenceMemory(**self.where, embedder=WordEmbedder(), tenant=self.tenant + tenant, **options)


def folder(request: pytest.FixtureRequest) -> Place:
    return Place({"path": request.getfixturevalue("tmp_path") / "memory"})


def temporary(request: pytest.FixtureRequest) -> Place:
    return Place(lasting=False)


def chroma_server(request: pytest.FixtureRequest) -> Place:
    return Place({"url": request.getfixturevalue("running_server").url}, tenant=uuid.uuid4().hex)


STORES: dict[str, Callable[[pytest.FixtureRequest], Place]] = {
    "a folder": folder,
    "a temporary folder": temporary,
    "a Chroma server": chroma_server,
}
SLOW = {"a Chroma server"}  # they start a process
