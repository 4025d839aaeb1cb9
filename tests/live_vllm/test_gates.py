"""vLLM's own classes: their signatures are those of the record, and no wrong gate passes the front end's check."""

from __future__ import annotations

import json
import os
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import vllm
from hypothesis import given, settings
from hypothesis import strategies as st
from vllm import SamplingParams
from vllm.v1.sample.logits_processor import interface as v1
from vllm.v1.worker.gpu.sample.logits_processor import interface as v2

from vllm_facts import facts

RECORD = Path(__file__).parents[1] / "data" / "vllm_facts.json"


def test_the_installed_vllm_is_the_one_of_the_record() -> None:
    assert facts(Path(vllm.__file__).parent) == json.loads(RECORD.read_text())


def test_the_plugin_is_one_of_both_interfaces_and_found_by_its_entry_points() -> None:
    from pad_vllm import PadProcessor

    assert issubclass(PadProcessor, v1.LogitsProcessor)
    assert issubclass(PadProcessor, v2.LogitsProcessor)
    for group in ("vllm.general_plugins", "vllm.endpoint_plugins"):
        (found,) = (each for each in entry_points(group=group) if each.name == "pad_vllm")
        assert callable(found.load())


def test_v1_puts_tokens_that_were_scheduled_ahead_into_the_list_that_the_plugin_has() -> None:
    """vLLM for CPUs does not schedule ahead, so its own function is called."""
    from vllm.v1.worker.gpu_input_batch import InputBatch

    answers = [[5, -1], [8]]
    batch = SimpleNamespace(
        sampling_metadata=SimpleNamespace(output_token_ids=answers),
        req_ids=["a", "b"],
        prev_req_id_to_index={"a": 1},
        sampled_token_ids_cpu=torch.tensor([[9], [7]]),
        async_copy_ready_event=SimpleNamespace(synchronize=lambda: None),
    )
    first, second = answers
    InputBatch.update_async_output_token_ids(batch)
    assert (first, second) == ([5, 7], [8])


@pytest.fixture(scope="module")
def right(expected: dict[str, Any]) -> dict[str, Any]:
    """What a right request of the demo pair brings."""
    os.environ["PAD_PERSRM"] = expected["demo"]["persrm"]
    return next(case["xargs"] for case in expected["demo"]["mixed"] if case["xargs"])


_not_a_number = st.one_of(st.text(max_size=5), st.none(), st.booleans(), st.just(float("nan")), st.just(float("-inf")))
_beyond = st.floats(1e3, 1e30)


@st.composite
def wrong(draw: Any, right: dict[str, Any]) -> dict[str, Any]:
    """A request that is right but for one thing."""
    gate = list(right["pad_gate"])
    kind = draw(st.sampled_from(["length", "value", "large", "beta", "alpha", "top_k", "head", "key"]))
    if kind == "length":
        return right | {
            "pad_gate": draw(st.lists(st.floats(-1, 1), max_size=2 * len(gate)).filter(lambda g: len(g) != len(gate)))
        }
    if kind in ("value", "large"):
        gate[draw(st.integers(0, len(gate) - 1))] = draw(_not_a_number if kind == "value" else _beyond)
        return right | {"pad_gate": gate}
    if kind == "beta":
        return right | {"pad_beta": draw(_not_a_number | st.just(1e7))}
    if kind == "alpha":
        return right | {"pad_alpha": draw(_not_a_number | st.floats(1.001, 9) | st.floats(-9, -0.001))}
    if kind == "top_k":
        return right | {
            "pad_top_k": draw(_not_a_number | st.integers(-(2**63), 0) | st.integers(1001, 2**63) | st.floats(1, 9))
        }
    if kind == "head":
        return right | {"pad_head": draw((_not_a_number | st.integers(-9, 9)).filter(lambda name: name is not None))}
    return right | {f"pad_{draw(st.text('abcdxyz', min_size=1, max_size=4))}": 1}


def test_no_wrong_gate_of_a_thousand_passes(right: dict[str, Any]) -> None:
    from pad_vllm import PadProcessor

    PadProcessor.validate_params(SamplingParams(extra_args=right))
    tried = 0

    @settings(max_examples=1000, deadline=None, database=None)
    @given(wrong(right))
    def refused(said: dict[str, Any]) -> None:
        nonlocal tried
        tried += 1
        with pytest.raises(ValueError, match="pad_"):
            PadProcessor.validate_params(SamplingParams(extra_args=said))

    refused()
    assert tried >= 1000
