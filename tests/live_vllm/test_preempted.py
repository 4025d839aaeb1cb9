"""Little memory, prompts in parts and prompts that are known: the same tokens."""

from __future__ import annotations

from typing import Any

import pytest

from in_vllm import Served


@pytest.fixture(scope="module")
def served(expected: dict[str, Any]) -> Served:
    return Served(
        expected["demo"],
        max_num_seqs=16,
        num_gpu_blocks_override=24,
        max_num_batched_tokens=64,
        enable_chunked_prefill=True,
        enable_prefix_caching=True,
    )


def test_requests_that_are_preempted_and_resumed(served: Served) -> None:
    assert served.differing(served.told["mixed"]) == []
    before = served.counted("vllm:num_preemptions")
    assert before > 0
    assert served.differing(served.told["penalised"]) == []
    assert served.counted("vllm:num_preemptions") > before


def test_prompts_in_parts_and_from_the_cache(served: Served) -> None:
    cases = served.told["long"]
    assert min(len(case["prompt"]) for case in cases) > 256
    assert served.differing(cases) == []
    before = served.counted("vllm:prefix_cache_hits")
    assert served.differing(cases[:1]) == []
    assert served.differing(cases[:1]) == []
    assert served.counted("vllm:prefix_cache_hits") > before
