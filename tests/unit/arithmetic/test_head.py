"""A head's arithmetic by numbers worked out by hand, its folder, and that `arithmetic` stands alone."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from pad_langchain import arithmetic
from pad_langchain.arithmetic import head, head_file
from pad_langchain.defaults import WEIGHTS
from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.persrm.head import HeadConfig, VectorHead

# Four hidden dimensions, two features.
H_D = [1.0, 2.0, 0.0, -1.0]
U_RD = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 1.0]]
V_DR = [[0.0, 1.0], [1.0, 0.0], [0.0, 0.0], [0.0, 2.0]]
GATE_R = [2.0, -1.0]


@pytest.mark.parametrize("array", [torch.tensor, np.array])
def test_steering_by_hand(array):
    hidden_BD, gates_BR, u_RD, v_DR = (array(values) for values in ([H_D], [GATE_R], U_RD, V_DR))
    assert head.features(hidden_BD, u_RD).tolist() == [[1.0, 1.0]]
    # U h ⊙ g = (2, -1), which V maps to (-1, 2, 0, -2)
    assert head.steer(hidden_BD, gates_BR, u_RD, v_DR).tolist() == [[0.0, 4.0, 0.0, -3.0]]
    assert head.steer(hidden_BD, 0 * gates_BR, u_RD, v_DR).tolist() == [H_D]
    assert head.steer(hidden_BD[None], gates_BR[None], u_RD, v_DR).tolist() == [[[0.0, 4.0, 0.0, -3.0]]]


@pytest.mark.parametrize("array", [torch.tensor, np.array])
def test_gates_add_up_by_weight(array):
    gates_PR = array([[1.0, 0.0, 2.0], [3.0, -4.0, 0.0]])
    assert head.gate(gates_PR).tolist() == [4.0, -4.0, 2.0]
    assert head.gate(gates_PR, [2.0, -0.5]).tolist() == [0.5, 2.0, 4.0]
    assert head.gate(gates_PR, array([1.0, 0.0])).tolist() == [1.0, 0.0, 2.0]
    assert head.gate(gates_PR[:0], []).tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="has 1 for 2"):
        head.gate(gates_PR, [1.0])


def test_a_gate_mixes_prototypes_by_roots_of_their_shares():
    wished_PQ = torch.tensor([[math.log(9), math.log(16)]])  # shares .36 and .64, so .6 and .8
    turned_PQ = wished_PQ.flip(-1)
    G_QR = torch.tensor([[5.0, 0.0, 10.0], [0.0, 5.0, 10.0]])
    assert head.gates(wished_PQ, turned_PQ, G_QR)[0].tolist() == pytest.approx([-1.0, 1.0, 0.0], abs=1e-5)
    assert torch.equal(head.gates(turned_PQ, wished_PQ, G_QR), -head.gates(wished_PQ, turned_PQ, G_QR))


def test_a_gate_is_as_strong_as_the_prototypes_it_is_read_as():
    wished_PQ, turned_PQ, gates_QR = torch.tensor([[0.0, 0.0], [9.0, -9.0]]), torch.zeros(2, 2), torch.eye(2)
    plain_PR = head.gates(wished_PQ, turned_PQ, gates_QR)
    strong_PR = head.gates(wished_PQ, turned_PQ, gates_QR, torch.tensor([3.0, 1.0]))
    # The first is read as half of each, the second as the first prototype.
    assert torch.allclose(strong_PR, torch.tensor([[2.0], [3.0]]) * plain_PR, atol=1e-5)


def test_a_gate_learns_where_a_share_is_nothing():
    wished_PQ = torch.tensor([[200.0, 0.0]], requires_grad=True)
    head.gates(wished_PQ, torch.zeros(1, 2), torch.eye(2)).sum().backward()
    assert torch.isfinite(wished_PQ.grad).all()


def test_reading_by_hand():
    # Standardised (1, 0, 0, -1); hidden units 20 and -10, of which GELU leaves 20 and 0.
    embedding_PE = torch.tensor([[3.0, 1.0, 0.0, -1.0]])
    center_E, spread_E = torch.tensor([1.0, 1.0, 0.0, 1.0]), torch.tensor([2.0, 1.0, 1.0, 2.0])
    inner = torch.tensor([[20.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 10.0]]), torch.zeros(2)
    outer = torch.tensor([[1.0, 0.0], [0.5, 1.0], [0.0, 3.0]]), torch.tensor([0.0, 1.0, 2.0])
    assert head.read(embedding_PE, center_E, spread_E, inner, outer).tolist() == [[20.0, 11.0, 2.0]]
    dropped = head.read(embedding_PE, center_E, spread_E, inner, outer, torch.zeros_like)
    assert dropped.tolist() == [[0.0, 1.0, 2.0]]


def test_features_add_to_logits_what_steering_does(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(head, "ROWS_AT_ONCE", 2)
    head_VD = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    h_D, u_RD, v_DR, gate_R = (torch.tensor(values) for values in (H_D, U_RD, V_DR, GATE_R))
    features_VR = head.vocabulary_features(head_VD, v_DR)
    assert features_VR.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 4.0]]
    steered_V = head_VD @ head.steer(h_D, gate_R, u_RD, v_DR)
    assert (head_VD @ h_D + features_VR @ (head.features(h_D, u_RD) * gate_R)).tolist() == steered_V.tolist()


# The folder

CONFIG = {"hidden_size": 4, "vocab_size": 9, "rank": 2, "embedding_size": 3, "mlp_size": 5, "prototypes": 6}


def write(folder: Path, **changes: object) -> None:
    VectorHead(HeadConfig(**CONFIG)).save_pretrained(folder)
    config = json.loads((folder / "persrm_head.json").read_text()) | changes
    (folder / "persrm_head.json").write_text(json.dumps(config))


def test_a_folder_holds_what_it_always_held(tmp_path: Path):
    write(tmp_path)
    defaults = {"embedder": "all-MiniLM-L6-v2", "beta": 1.0, "alpha": 0.0, "calibration": None, "format_version": 1}
    assert json.loads((tmp_path / "persrm_head.json").read_text()) == CONFIG | defaults
    assert {name: list(tensor.shape) for name, tensor in head_file.read_weights(tmp_path).items()} == {
        "G_QR": [6, 2],
        "U_RD": [2, 4],
        "V_DR": [4, 2],
        "center_E": [3],
        "spread_E": [3],
        "f.0.weight": [5, 3],
        "f.0.bias": [5],
        "f.3.weight": [6, 5],
        "f.3.bias": [6],
    }
    assert head_file.read_config(tmp_path) == HeadConfig(**CONFIG)


def test_what_cannot_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(head_file, "save_file", fail)
    with pytest.raises(OSError, match="No space"):
        VectorHead(HeadConfig(**CONFIG)).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_shipped_head_is_the_sum_of_its_parts():
    """It was written before this module was; reading its files and calling the functions is the module's forward."""
    weights = head_file.read_weights(WEIGHTS / "persrm")
    module = VectorHead.from_pretrained(WEIGHTS / "persrm")
    assert head_file.read_config(WEIGHTS / "persrm") == module.config
    embeddings_PE = torch.randn(3, module.config.embedding_size)
    standard = weights["center_E"], weights["spread_E"]
    layers = [(weights[f"f.{n}.weight"], weights[f"f.{n}.bias"]) for n in (0, 3)]
    read = [head.read(sign * embeddings_PE, *standard, *layers) for sign in (1, -1)]
    gates_PR = head.gates(read[0], read[1], weights["G_QR"])
    hidden_BD = torch.randn(3, module.config.hidden_size)
    with torch.no_grad():
        assert torch.equal(gates_PR, module.gates(embeddings_PE))
        steered_BD = head.steer(hidden_BD, gates_PR, weights["U_RD"], weights["V_DR"])
        assert torch.equal(steered_BD, module(hidden_BD, gates_PR))
        assert not torch.allclose(steered_BD, hidden_BD, atol=0.1)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"format_version": 2}, IncompatibleModelError, "has format version 2, this package reads 1. Upgrade"),
        ({"depth": 3}, ModelLoadError, r"No readable persrm_head.json .*\['depth'\] are not known"),
        ({"rank": 7}, ModelLoadError, "The weights persrm_head.safetensors .* do not load"),
    ],
)
def test_a_config_that_does_not_fit(tmp_path: Path, changes: dict[str, int], error: type[Exception], message: str):
    write(tmp_path, **changes)
    with pytest.raises(error, match=message):
        VectorHead.from_pretrained(tmp_path)


def test_files_that_do_not_read(tmp_path: Path):
    with pytest.raises(ModelLoadError, match=r"No readable persrm_head\.json"):
        VectorHead.from_pretrained(tmp_path)
    for text, message in (("[]", "holds list"), ("{}", r"\['hidden_size', 'vocab_size'\] are missing"), ("{", "No r")):
        (tmp_path / "persrm_head.json").write_text(text)
        with pytest.raises(ModelLoadError, match=message):
            VectorHead.from_pretrained(tmp_path)
    write(tmp_path)
    (tmp_path / "persrm_head.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelLoadError, match="do not load"):
        VectorHead.from_pretrained(tmp_path)
    save_file({"G_QR": torch.zeros(6, 2)}, tmp_path / "persrm_head.safetensors")
    with pytest.raises(ModelLoadError, match="do not load"):
        VectorHead.from_pretrained(tmp_path)


@pytest.mark.slow
def test_arithmetic_stands_alone(tmp_path: Path):
    """Copied into another package it runs, without this one and with nothing but numpy, torch and safetensors."""
    shutil.copytree(Path(arithmetic.__file__).parent, tmp_path / "carried")
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "for name in ('pad_langchain', 'pad_memory', 'transformers'):\n    sys.modules[name] = None\n"
        f"from carried import {', '.join(arithmetic.__all__)}\n"
        "print(head.features.__module__)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.stdout.strip() == "carried.head", result.stderr
