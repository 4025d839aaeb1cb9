"""Model Runner V2, whose kernels run in Triton's interpreter here: mixed batch, preemption, prefix cache."""

from __future__ import annotations

from typing import Any

import pytest

from in_vllm import Served


@pytest.fixture(scope="module")
def served(expected: dict[str, Any]) -> Served:
    return Served(
        expected["demo"],
        max_num_seqs=8,
        num_gpu_blocks_override=20,
        max_num_batched_tokens=64,
        enable_chunked_prefill=True,
        enable_prefix_caching=True,
    )


def test_it_is_the_second_runner(served: Served) -> None:
    assert served.llm.llm_engine.vllm_config.use_v2_model_runner


def test_guided_and_plain_requests_in_one_batch(served: Served) -> None:
    assert served.differing(served.told["mixed"][:20]) == []


def test_what_repeats_cost(served: Served) -> None:
    assert served.differing(served.told["penalised"][:10]) == []


def test_prompts_in_parts_and_from_the_cache(served: Served) -> None:
    cases = served.told["long"][:2]
    assert served.differing(cases) == []
    assert served.differing(cases) == []
