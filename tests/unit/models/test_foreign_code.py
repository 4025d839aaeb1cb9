"""Code in a model's folder does not run, unless the operator trusts it."""

from __future__ import annotations

import json
import sys

import pytest

from pad_langchain.errors import ModelLoadError
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.testing import tiny_pair

CODE = """
from pathlib import Path

from transformers import LlamaConfig, LlamaForCausalLM

Path({mark!r}).touch()


class OtherConfig(LlamaConfig):
    model_type = "other"


class Other(LlamaForCausalLM):
    config_class = OtherConfig
"""


@pytest.fixture
def foreign(tmp_path, monkeypatch):
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr("sys.path", [*sys.path])
    base, _ = tiny_pair().save(tmp_path)
    config = json.loads((base / "config.json").read_text())
    code = {"AutoConfig": "other.OtherConfig", "AutoModelForCausalLM": "other.Other"}
    config |= {"model_type": "other", "auto_map": code}
    (base / "config.json").write_text(json.dumps(config))
    (base / "other.py").write_text(CODE.format(mark=str(tmp_path / "it ran")))
    return base


def test_code_in_a_folder_does_not_run_by_itself(foreign, tmp_path):
    with pytest.raises(ModelLoadError, match="contains custom code"):
        load_causal_lm(str(foreign))
    assert not (tmp_path / "it ran").exists()


def test_code_that_the_operator_trusts_runs(foreign, tmp_path):
    load_causal_lm(str(foreign), trust_remote_code=True)
    assert (tmp_path / "it ran").exists()
