"""SmolLM2-135M and its shipped head."""

from __future__ import annotations

from typing import Any

import pytest

from in_vllm import Served


@pytest.fixture(scope="module")
def served(expected: dict[str, Any]) -> Served:
    return Served(expected["smollm2"], max_num_seqs=16)


@pytest.mark.parametrize("kind", ["mixed", "penalised", "long", "grammar"])
def test_the_tokens_of_our_engine(served: Served, kind: str) -> None:
    assert served.differing(served.told[kind]) == []
