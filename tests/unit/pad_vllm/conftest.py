"""A head on the disk, and vLLM's parts as fakes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import vllm_fakes
from pad_vllm.heads import VARIABLE, Heads
from vllm_parts import Worker, save_head


@pytest.fixture(scope="session")
def persrm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one head."""
    folder = tmp_path_factory.mktemp("heads") / "persrm"
    save_head(folder, beta=1.5, alpha=0.01)
    return folder


@pytest.fixture(scope="session")
def heads(persrm: Path) -> Heads:
    return Heads(persrm)


@pytest.fixture
def vllm(persrm: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """vLLM's parts, with the plugin loaded for the head."""
    monkeypatch.setenv(VARIABLE, str(persrm))
    with vllm_fakes.installed():
        from pad_vllm.tap import register

        register()
        yield


@pytest.fixture
def worker(vllm: None) -> Worker:
    return Worker()
