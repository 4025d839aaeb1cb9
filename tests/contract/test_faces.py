"""Every face keeps the contract of `faces.py`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("faces")

from faces import FACES, Ask, Compared, Shop, Steered  # noqa: E402


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    opened = Shop.open(tmp_path_factory.mktemp("pair"))
    yield opened
    opened.memory.close()


@pytest.fixture(params=list(FACES))
def ask(request: pytest.FixtureRequest) -> Ask:
    return FACES[request.param]


class TestSteered(Steered):
    pass


class TestCompared(Compared):
    pass
