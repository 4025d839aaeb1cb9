"""pad-vllm is built alone: its wheel holds the arithmetic, and works where pad-langchain is not."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

from environments import wheel_metadata
from pad_vllm import __version__
from places import ROOT

PLUGIN = ROOT / "pad_vllm"
# Reads a head, and steers one row with what the wheel holds.
PROBE = """
import importlib.util, json, sys
sys.path[:0] = sys.argv[1], sys.argv[3]
assert importlib.util.find_spec("pad_langchain") is None
import numpy, torch
from pad_vllm.heads import Heads
from pad_vllm.requests import read_guidance
from pad_vllm.steering import candidate_logits, groups_of, steer_rows

heads = Heads(sys.argv[2])
guidance = read_guidance({"pad_gate": [1.0] * heads.get().config.rank}, heads)
head = guidance.head
device = torch.device("cpu")
(group,) = groups_of({1: guidance}, lambda head: (head.U_RD, head.V_DR), device)
weight_VD, hidden_BD = torch.eye(60, 24), torch.ones(2, 24)
logits_BV = hidden_BD @ weight_VD.T
steer_rows(logits_BV, hidden_BD, lambda tokens, vectors: candidate_logits(weight_VD, None, tokens, vectors), group)
print(json.dumps({"modules": sorted(sys.modules), "finite": torch.isfinite(logits_BV).sum(1).tolist()}))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


def build(folder: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options, str(PLUGIN)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def contents(folder: Path) -> dict[str, bytes]:
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_holds_the_plugin_the_arithmetic_and_nothing_else(built: Path) -> None:
    about = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    held = contents(built)
    folder = f"pad_vllm-{__version__}.dist-info/"
    assert {name.removeprefix(folder) for name in held if name.startswith(folder)} == about
    assert held[f"{folder}licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    own = {path.name: path for path in [*PLUGIN.glob("*.py"), PLUGIN / "py.typed"]}
    carried = {f"arithmetic/{path.name}": path for path in (ROOT / "pad_langchain" / "arithmetic").glob("*.py")}
    wanted = {f"pad_vllm/{name}": path.read_bytes() for name, path in (own | carried).items()}
    assert {name: data for name, data in held.items() if not name.startswith(folder)} == wanted


@pytest.mark.slow
def test_the_sdist_makes_the_wheel_that_the_checkout_makes(built: Path, tmp_path: Path) -> None:
    build(tmp_path, "--wheel")
    assert contents(tmp_path) == contents(built)
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        assert not [member.name for member in archive if member.issym()]


@pytest.mark.slow
def test_it_depends_on_little_and_not_on_pad_langchain(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    required = wheel_metadata(wheel).requires or []
    assert {line.split(">")[0].split("<")[0] for line in required} == {"numpy", "safetensors", "torch", "vllm"}


@pytest.mark.slow
def test_unpacked_it_steers_where_pad_langchain_is_not(built: Path, persrm: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    # -S leaves the checkout out, which is found by a .pth file; -P the folder that this runs in.
    libraries = sysconfig.get_path("purelib")
    probe = [sys.executable, "-P", "-S", "-c", PROBE, str(tmp_path / "site"), str(persrm), libraries]
    done = subprocess.run(probe, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["finite"][0] == 60
    assert 1 <= told["finite"][1] <= 10
    assert not {"pad_langchain", "transformers", "pydantic", "vllm"} & set(told["modules"])
