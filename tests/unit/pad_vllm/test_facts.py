"""The fakes have the signatures of vLLM that were recorded, and what pad-vllm needs is among them.

`make test-vllm` compares the record with the installed vLLM.
"""

from __future__ import annotations

import ast
import inspect
import json
import tomllib
from typing import Any

import pytest

import vllm_fakes
from places import DATA, ROOT
from vllm_facts import CLASSES, V1, V2, facts

FACTS = json.loads((DATA / "vllm_facts.json").read_text())


@pytest.mark.parametrize(
    ("fake", "name"),
    [
        (vllm_fakes.V1LogitsProcessor, f"{V1}:LogitsProcessor"),
        (vllm_fakes.V2LogitsProcessor, f"{V2}:LogitsProcessor"),
        (vllm_fakes.LogitsProcessor, "model_executor/layers/logits_processor.py:LogitsProcessor"),
        (vllm_fakes.PluggableLayer, "model_executor/custom_op.py:PluggableLayer"),
    ],
)
def test_the_fakes_have_the_signatures_of_the_record(fake: type, name: str) -> None:
    methods = {method: said for method, said in FACTS[name].items() if callable(getattr(fake, method, None))}
    assert len(methods) >= 2
    for method, said in methods.items():
        assert _arguments(vars(fake)[method]) == said, method


@pytest.mark.parametrize(
    ("fake", "name"),
    [(vllm_fakes.BatchUpdate, f"{V1}:BatchUpdate"), (vllm_fakes.LogitsContext, f"{V2}:LogitsContext")],
)
def test_the_fakes_have_the_fields_of_the_record(fake: Any, name: str) -> None:
    assert list(fake.__dataclass_fields__) == [field for field in FACTS[name] if field != "bases"]


def test_the_masks_of_grammars_come_before_the_processors() -> None:
    for runner, last in (("gpu/model_runner.py:sample", "sampler"), ("gpu_model_runner.py:sample_tokens", "_sample")):
        order = FACTS[f"v1/worker/{runner}"]
        assert order.index("apply_grammar_bitmask") < order.index(last)


def test_tokens_of_steps_that_were_scheduled_ahead_are_filled_in_before_the_processors() -> None:
    order = FACTS["v1/worker/gpu_model_runner.py:_sample"]
    assert order == ["update_async_output_token_ids", "sampler"]


def test_a_gate_fits_into_the_type_of_extra_arguments() -> None:
    for name in ("completion", "chat_completion"):
        (found,) = (said for key, said in FACTS.items() if f"openai/{name}/" in key)
        assert "list[str | int | float]" in found["vllm_xargs"]


def test_the_entry_points_are_in_the_groups_that_vllm_loads() -> None:
    groups = tomllib.loads((ROOT / "pad_vllm" / "pyproject.toml").read_text())["project"]["entry-points"]
    wanted = {ast.literal_eval(said) for name, said in FACTS.items() if name.startswith("plugins/__init__")}
    assert set(groups) == wanted
    assert "vllm.logits_processors" not in groups, "it would load into every server of the environment"


def test_a_changed_signature_is_seen(tmp_path: Any) -> None:
    for file in CLASSES:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("")
    with pytest.raises((FileNotFoundError, ValueError)):
        facts(tmp_path)


def _arguments(method: Any) -> str:
    method = getattr(method, "__func__", method)
    return ", ".join(str(each) for each in inspect.signature(method).parameters.values())
