"""Heads by name: read once, never changed under a name, new ones found without a restart."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from pad_langchain.arithmetic.head_file import CONFIG_NAME, WEIGHTS_NAME
from pad_vllm.heads import ROOM, VARIABLE, Heads, gate_bound, served
from vllm_parts import D, R, V, save_head


def test_a_folder_of_one_head(persrm: Path) -> None:
    heads = Heads(persrm)
    assert heads.names() == ["persrm"]
    head = heads.get()
    assert head is heads.get("persrm")
    assert head.fingerprint == hashlib.sha256((persrm / WEIGHTS_NAME).read_bytes()).hexdigest()
    assert (tuple(head.U_RD.shape), tuple(head.V_DR.shape)) == ((R, D), (D, R))
    told = head.describe()
    assert told["rank"] == R
    assert told["vocab_size"] == V
    assert told["hidden_size"] == D
    assert json.loads(json.dumps(told)) == told


def test_several_heads_have_names_and_one_has_to_be_said(tmp_path: Path) -> None:
    for seed, name in enumerate(["b", "a"]):
        save_head(tmp_path / name, seed)
    (tmp_path / "notes").mkdir()
    heads = Heads(tmp_path)
    assert heads.names() == ["a", "b"]
    assert heads.get("a").fingerprint != heads.get("b").fingerprint
    with pytest.raises(ValueError, match=r"one of \['a', 'b'\], but is None"):
        heads.get()


def test_a_new_head_is_found_while_serving(tmp_path: Path) -> None:
    save_head(tmp_path / "v1")
    heads = Heads(tmp_path)
    assert heads.get().name == "v1"
    with pytest.raises(ValueError, match="but is 'v2'"):
        heads.get("v2")
    save_head(tmp_path / "v2", 1)
    assert heads.get("v2").name == "v2"


def test_a_head_that_was_changed_is_refused_and_one_that_was_copied_anew_is_not(tmp_path: Path) -> None:
    save_head(tmp_path / "v1")
    heads = Heads(tmp_path)
    weights = tmp_path / "v1" / WEIGHTS_NAME
    shutil.copy(weights, tmp_path / "copy")
    os.replace(tmp_path / "copy", weights)
    heads.check(head := heads.get("v1"))
    heads.check(head)
    save_head(tmp_path / "v1", 1)
    with pytest.raises(ValueError, match="'v1' was changed while it was served"):
        heads.check(head)
    shutil.rmtree(tmp_path / "v1")
    with pytest.raises(ValueError, match="'v1' cannot be read any more"):
        heads.check(head)
    assert heads.get("v1") is head, "requests that were taken before go on"


def test_heads_of_other_bases_do_not_live_on_one_server(tmp_path: Path) -> None:
    save_head(tmp_path / "v1")
    heads = Heads(tmp_path)
    save_head(tmp_path / "v2", hidden_size=D + 8)
    with pytest.raises(ValueError, match="One server has one base"):
        heads.get("v2")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / WEIGHTS_NAME).write_bytes(b"nothing"), "No readable head"),
        (lambda folder: (folder / WEIGHTS_NAME).unlink(), "No readable head"),
        (lambda folder: (folder / CONFIG_NAME).write_text("{}"), "No readable head"),
        (lambda folder: _change(folder, rank=R + 1), "has to hold finite"),
        (lambda folder: _change(folder, format_version=99), "format version 99"),
    ],
)
def test_a_head_that_does_not_read_is_named(tmp_path: Path, spoil, said: str) -> None:
    save_head(tmp_path / "v1")
    spoil(tmp_path / "v1")
    with pytest.raises(ValueError, match=said):
        Heads(tmp_path)


def _change(folder: Path, **changes: int) -> None:
    config = json.loads((folder / CONFIG_NAME).read_text())
    (folder / CONFIG_NAME).write_text(json.dumps({**config, **changes}))


def test_a_place_without_heads_and_no_place_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="has none"):
        Heads(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ValueError, match="is not set"):
        served()


def test_no_sum_of_eight_preferences_is_beyond_the_bound_and_the_bound_is_reached() -> None:
    torch.manual_seed(0)
    G_QR = torch.randn(5, R)
    bound = gate_bound(G_QR, [0.5, 2.0, 1.0, 1.0, 1.0])
    sides_NQ = torch.randn(4096, 2, 5).mul(4).log_softmax(-1).div(2).exp()
    gates_NR = 2.0 * (sides_NQ[:, 0] - sides_NQ[:, 1]) @ G_QR
    assert ROOM * float(gates_NR.abs().max()) <= bound
    column_Q = G_QR[:, int((G_QR.clamp(min=0).norm(dim=0) + G_QR.clamp(max=0).norm(dim=0)).argmax())]
    up_Q, down_Q = (part / part.norm() for part in (column_Q.clamp(min=0), -column_Q.clamp(max=0)))
    assert float(ROOM * 2.0 * (up_Q - down_Q) @ column_Q) == pytest.approx(bound)
