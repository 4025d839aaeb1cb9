"""A head folder that the first version wrote loads, and steers as it did."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from pad_langchain.persrm.head import VectorHead
from places import DATA

FOLDER = DATA / "head_0_1"


def test_a_head_of_the_first_version_loads_and_steers_as_it_did() -> None:
    expected = json.loads((FOLDER / "expected.json").read_text())
    head = VectorHead.from_pretrained(FOLDER)
    assert (head.config.beta, head.config.alpha) == (1.5, 0.02)
    assert head.config.calibration == {"center": {"brevity": 0.25}, "scale": {"brevity": 1.5}}
    with torch.no_grad():
        gate_R = head.gate(torch.tensor(expected["embeddings"]), expected["weights"])
        steered_BD = head(torch.linspace(-1, 1, head.config.hidden_size)[None], gate_R[None])
    assert gate_R.tolist() == pytest.approx(expected["gate"], abs=2e-5)
    assert steered_BD[0].tolist() == pytest.approx(expected["steered"], abs=2e-5)


def test_it_is_written_again_as_it_was(tmp_path: Path) -> None:
    VectorHead.from_pretrained(FOLDER).save_pretrained(tmp_path)
    for name in ("persrm_head.json", "persrm_head.safetensors"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()
