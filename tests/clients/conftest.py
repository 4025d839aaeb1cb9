"""What the tests of every client may ask for. It needs pytest and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from asked import MESSAGES
from served_elsewhere import Server
from waiting import until


@pytest.fixture(scope="session")
def server() -> Server:
    return Server()


@pytest.fixture(scope="session")
def whole(server: Server) -> dict[str, Any]:
    """The completion that the server answers to plain HTTP: what every client has to make of it."""
    answer: dict[str, Any] = json.loads(
        server.call("/v1/chat/completions", {"model": "pad-demo", "messages": MESSAGES})
    )
    return answer


@pytest.fixture(scope="session")
def said(whole: dict[str, Any]) -> str:
    """Its words."""
    text: str = whole["choices"][0]["message"]["content"]
    assert text
    return text


@pytest.fixture(autouse=True)
def _idle(server: Server) -> Iterator[None]:
    """No test leaves an answer behind."""
    yield
    until(lambda: server.running() == 0, 10)
