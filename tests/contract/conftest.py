"""A place for memories on every kind of store, and a memory there that scores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes import PoleScorer
from memory_places import SLOW, STORES, Place
from pad_memory import PreferenceMemory
from servers import Server


@pytest.fixture(scope="session")
def running_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server"))
    yield server
    server.stop()


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in STORES])
def place(request: pytest.FixtureRequest) -> Place:
    return STORES[request.param](request)


@pytest.fixture
def written(place: Place) -> Iterator[PreferenceMemory]:
    with place.open(scorer=PoleScorer()) as memory:
        yield memory
