"""A running app for each module of tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import httpx
import openai
import pytest

from served_app import Served, serving, tiny_chat


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("server"), tiny_chat()) as running:
        yield running


@pytest.fixture
async def ada(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("ada") as client:
        yield client


@pytest.fixture
async def sdk(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's own client, with ada's key."""
    transport = httpx.ASGITransport(served.app)
    async with (
        httpx.AsyncClient(transport=transport) as http,
        openai.AsyncOpenAI(
            base_url="http://localhost/v1", api_key=served.keys["ada"], http_client=http, max_retries=0
        ) as client,
    ):
        yield client


@pytest.fixture
async def bob(served: Served) -> AsyncIterator[httpx.AsyncClient]:
    async with served.client("bob") as client:
        yield client
