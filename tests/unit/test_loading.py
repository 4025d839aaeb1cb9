"""Where a model goes and how it is loaded: passed on to transformers, and refused in words a user can act on."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError, MissingDependencyError, ModelLoadError
from pad_langchain.models import loading
from pad_langchain.persrm.build import load_engine
from pad_langchain.testing import TinyPair, tiny_pair


@pytest.fixture(scope="module")
def pair() -> TinyPair:
    return tiny_pair()


@pytest.fixture(scope="module")
def folder(pair: TinyPair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(pair.save(tmp_path_factory.mktemp("pair"))[0])


def tokens(engine: TorchEngine) -> tuple[int, ...]:
    request = Request(
        messages=[{"role": "user", "content": "why is the sky blue?"}],
        preferences=[WeightedPreference("be concise")],
        max_tokens=12,
    )
    with engine:
        return engine.submit(request).result(60).token_ids


def test_a_device_map_places_the_model_and_changes_no_token(folder: Path) -> None:
    pytest.importorskip("accelerate")
    placed = load_engine(folder, "self", device="cpu", device_map={"": "cpu"}, max_batch=2)
    assert tokens(placed) == tokens(load_engine(folder, "self", device="cpu"))


def test_keywords_for_transformers_reach_it_and_the_model_stays_where_they_put_it(
    pair: TinyPair, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def from_pretrained(path: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return pair.model

    def moved(*args: Any) -> None:
        pytest.fail("a model with a device map must not be moved")

    eight = BitsAndBytesConfig(load_in_8bit=True)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(loading, "pick_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr(pair.model, "to", moved)
    more = {"device_map": "auto", "quantization_config": eight}
    with load_engine(folder, prefix_tokens=0, pack_weights=False, **more) as engine:
        assert engine.settings.prefix_tokens == 0
    (call,) = calls
    assert call["device_map"] == "auto"
    assert call["quantization_config"] is eight
    assert "prefix_tokens" not in call


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_bits_and_bytes_that_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"quantization_config.*pip install accelerate bitsandbytes"):
        load_engine(folder, quantization_config=BitsAndBytesConfig(load_in_4bit=True))


def test_accelerate_that_is_missing_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.integrations.accelerate, "is_accelerate_available", lambda: False)
    with pytest.raises(MissingDependencyError, match=r"device_map.*pip install accelerate"):
        load_engine(folder, device_map="auto")


def test_keywords_that_are_wrong_or_too_late_are_refused(pair: TinyPair, folder: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"\['device_map'\] are for loading a model, but this Llama"):
        load_engine(pair.model, tokenizer=pair.tokenizer, device_map="auto")
    with pytest.raises(ModelLoadError, match="does not load"):
        load_engine(folder, device_map="cuda-everywhere")


def test_what_is_known_of_a_model_without_loading_it(folder: Path, tmp_path: Path) -> None:
    assert loading.context_size(str(folder)) == 512
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 77}}))
    assert loading.context_size(str(tmp_path)) == 77
    assert loading.context_size("no/such/model") is None
    code = f"from pad_langchain.models.loading import context_size; print(context_size({str(folder)!r}))"
    code += "; import sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["512", "False"], result.stderr


def test_what_a_loaded_model_says_of_itself(folder: Path, pair: TinyPair) -> None:
    for kind in ("sdpa", "eager"):
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation=kind)
        assert loading.attention_of(model.config) == kind
    model.generation_config.eos_token_id = None
    assert loading.configured_ends(model) == []
    assert loading.end_tokens(model, pair.tokenizer) == {pair.tokenizer.eos_token_id}
    model.generation_config.eos_token_id = 7
    assert loading.configured_ends(model) == [7]
    model.generation_config.eos_token_id = [7, 9]
    assert loading.end_tokens(model, pair.tokenizer) == {7, 9, pair.tokenizer.eos_token_id}
    assert loading.configured_ends(object()) == []
