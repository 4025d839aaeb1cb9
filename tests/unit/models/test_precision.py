"""What dtype="auto" stands for, and that the log says so."""

from __future__ import annotations

import logging
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from pad_langchain.errors import InvalidRequestError
from pad_langchain.models import precision
from pad_langchain.models.precision import computes_in_bfloat16, fastest_dtype, pick_dtype
from pad_langchain.persrm.build import load_engine
from pad_langchain.testing import TinyPair, tiny_pair

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize("known", [{}, {"avx512_bf16": True}, {"amx_bf16": True}, {"avx512_bf16": False}])
def test_a_cpu_computes_in_bfloat16_where_it_has_the_instructions(
    monkeypatch: pytest.MonkeyPatch, known: dict[str, bool]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: MappingProxyType(known), raising=False)
    assert computes_in_bfloat16() == any(known.values())


@pytest.mark.parametrize("amx", [False, True])
def test_older_versions_of_torch_are_asked_otherwise(monkeypatch: pytest.MonkeyPatch, amx: bool) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False, raising=False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)
    assert computes_in_bfloat16() == amx
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert not computes_in_bfloat16()


@pytest.mark.parametrize(
    ("native", "weights", "expected", "said"),
    [
        (True, None, torch.bfloat16, "is bfloat16: this CPU computes in it"),
        (False, None, torch.float32, "is float32: this CPU does not compute in bfloat16"),
        (True, "int8", torch.float32, "is float32: what int8 weights are multiplied with"),
    ],
)
def test_auto_is_what_is_fastest_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    native: bool,
    weights: str | None,
    expected: torch.dtype,
    said: str,
) -> None:
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda: native)
    with caplog.at_level(logging.INFO, "pad_langchain"):
        assert fastest_dtype("auto", CPU, weights) == expected
    assert said in caplog.text
    assert fastest_dtype("float16", CPU) == torch.float16
    assert fastest_dtype("auto", CUDA) == torch.bfloat16
    assert pick_dtype("auto", CPU) == torch.float32  # of training, and of a PersRM that is loaded by itself
    with pytest.raises(InvalidRequestError, match="but is 'int8'"):
        fastest_dtype("int8", CPU)


@pytest.mark.parametrize("native", [False, True])
def test_an_engine_takes_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, native: bool) -> None:
    pair: TinyPair = tiny_pair()
    pair.model.save_pretrained(tmp_path)
    pair.tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(precision, "computes_in_bfloat16", lambda: native)
    small = precision.SMALL
    monkeypatch.setattr(precision, "SMALL", 0)

    def dtype(model: Any, **settings: Any) -> torch.dtype:
        with load_engine(model, "self", **settings) as engine:
            found: torch.dtype = engine.base.model.dtype
            return found

    assert dtype(tmp_path) == (torch.bfloat16 if native else torch.float32)
    assert dtype(tmp_path, dtype="float32") == torch.float32
    assert dtype(pair.model, tokenizer=pair.tokenizer) == torch.float32  # a loaded one stays as it is
    monkeypatch.setattr(precision, "SMALL", small)
    assert dtype(tmp_path) == torch.float32  # too small to gain
