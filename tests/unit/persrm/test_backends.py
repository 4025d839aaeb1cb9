"""What runs a model: which engine is chosen, what is said of it, and what is refused."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest

from gguf_models import to_gguf
from pad_langchain import ChatPAD
from pad_langchain.engine.settings import LlamaSettings, split_settings
from pad_langchain.errors import InvalidRequestError, MissingDependencyError
from pad_langchain.models.gguf import GgufFile
from pad_langchain.persrm import backends
from pad_langchain.persrm.backends import choose
from pad_langchain.testing import tiny_model, tiny_tokenizer


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory) -> GgufFile:
    place = tmp_path_factory.mktemp("gguf")
    tiny_model().save_pretrained(place / "own")
    tiny_tokenizer().save_pretrained(place / "own")
    return GgufFile(to_gguf(place / "own", place / "tiny.gguf"))


@pytest.fixture
def binding(monkeypatch):
    """Sets whether a binding of llama.cpp is installed."""

    def set_to(there: bool) -> None:
        monkeypatch.setattr(backends, "_has_binding", lambda: there)

    set_to(True)
    return set_to


@pytest.mark.parametrize(
    ("there", "settings", "picked", "why"),
    [
        (True, {}, "llama.cpp", "it is a GGUF file, and the binding is installed"),
        (False, {}, "torch", r'no binding of llama.cpp is installed (pip install "pad-langchain[llama-cpp]")'),
        (True, {"backend": "torch"}, "torch", "backend='torch'"),
        (True, {"backend": "llama.cpp", "threads": 2}, "llama.cpp", "backend='llama.cpp'"),
        (True, {"dtype": "bfloat16"}, "torch", "dtype='bfloat16' is a setting of torch"),
        (True, {"device": "cuda"}, "torch", "device='cuda' is a setting of torch"),
        (True, {"device": "cpu"}, "llama.cpp", "it is a GGUF file, and the binding is installed"),
        (True, {"compile": True}, "torch", "compile=True is a setting of torch"),
        (True, {"compile": False, "max_batch": 2, "prefix_tokens": 0}, "llama.cpp", "it is a GGUF file"),
        (True, {"device_map": "auto"}, "torch", "['device_map'] are keywords of transformers"),
        (True, {"local_files_only": True}, "llama.cpp", "it is a GGUF file"),
    ],
)
def test_a_gguf_file_runs_where_it_can_and_the_log_says_why(there, settings, picked, why, tiny_gguf, binding, caplog):
    caplog.set_level(logging.INFO, logger="pad_langchain")
    binding(there)
    asked = {name: settings[name] for name in settings.keys() & {"device", "dtype"}}
    keywords = {name: value for name, value in settings.items() if name not in (*asked, "backend")}
    choice = choose(settings.get("backend", "auto"), tiny_gguf.path, tiny_gguf, None, keywords, **asked)
    assert choice.backend == picked
    assert f"{str(tiny_gguf.path)!r} runs on {picked}: {why}" in caplog.text
    assert choice.llama == {name: keywords[name] for name in keywords if name == "threads"}


def test_other_models_run_in_torch(binding, caplog):
    caplog.set_level(logging.INFO, logger="pad_langchain")
    assert choose("auto", "org/model", None, None, {}).backend == "torch"
    assert "'org/model' runs on torch: it is no GGUF file." in caplog.text


def test_a_text_persrm_needs_torch(tiny_gguf, binding, tmp_path):
    (tmp_path / "text").mkdir()
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "persrm_head.json").write_text("{}")
    assert choose("auto", tiny_gguf.path, tiny_gguf, str(tmp_path / "text"), {}).backend == "torch"
    assert choose("auto", tiny_gguf.path, tiny_gguf, SimpleNamespace(kind="text"), {}).backend == "torch"
    assert choose("auto", tiny_gguf.path, tiny_gguf, tmp_path / "head", {}).backend == "llama.cpp"
    assert choose("auto", tiny_gguf.path, tiny_gguf, "self", {}).backend == "llama.cpp"
    with pytest.raises(InvalidRequestError, match=r"cannot be: '.*text' is a text PersRM"):
        choose("llama.cpp", tiny_gguf.path, tiny_gguf, str(tmp_path / "text"), {})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"backend": "vulkan"}, "backend has to be 'auto', 'torch' or 'llama.cpp', but is 'vulkan'"),
        ({"backend": "llama.cpp", "dtype": "float32"}, "cannot be: dtype='float32' is a setting of torch"),
        ({"backend": "torch", "threads": 2}, r"\['threads'\] are settings of llama.cpp.* backend='torch'"),
        ({"dtype": "float32", "kv_type": "q8_0"}, r"\['kv_type'\] are settings of llama.cpp.* dtype='float32'"),
    ],
)
def test_settings_that_mean_nothing_together_are_refused(settings, says, tiny_gguf, binding):
    dtype = settings.get("dtype", "auto")
    keywords = {name: value for name, value in settings.items() if name not in ("backend", "dtype")}
    with pytest.raises(InvalidRequestError, match=says):
        choose(settings.get("backend", "auto"), tiny_gguf.path, tiny_gguf, None, keywords, dtype=dtype)


def test_llama_cpp_is_refused_for_other_models_and_without_its_binding(tiny_gguf, binding):
    with pytest.raises(InvalidRequestError, match=r"backend='llama.cpp' runs GGUF files, but the model is 'org/model'"):
        choose("llama.cpp", "org/model", None, None, {})
    with pytest.raises(
        InvalidRequestError, match=r"\['threads'\] are settings of llama.cpp, but 'org/model' runs in torch"
    ):
        choose("auto", "org/model", None, None, {"threads": 2})
    binding(False)
    with pytest.raises(MissingDependencyError, match=r'pip install "pad-langchain\[llama-cpp\]"'):
        choose("llama.cpp", tiny_gguf.path, tiny_gguf, None, {})


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"threads": 0}, "threads has to be an integer of at least 1, or None, but is 0"),
        ({"threads": True}, "threads has to be an integer"),
        ({"gpu_layers": -2}, "gpu_layers has to be a number of layers, or -1 for all"),
        ({"context_length": 0}, "context_length has to be an integer of at least 1"),
        ({"flash_attention": "on"}, "flash_attention has to be True or False"),
        ({"kv_type": "int8"}, "kv_type has to be 'f32', 'f16'"),
        ({"kv_type": "q8_0", "flash_attention": False}, "flash_attention has to be True or None with kv_type='q8_0'"),
        ({"gpu_layer": 3}, "The engine has no setting 'gpu_layer'. Did you mean 'gpu_layers'"),
    ],
)
def test_a_face_refuses_bad_settings_where_they_are_written(settings, says):
    with pytest.raises((InvalidRequestError, ValueError), match=says):
        ChatPAD(engine_settings=settings)
    with pytest.raises(InvalidRequestError, match=says):
        split_settings(settings)


def test_settings_are_parted_by_who_obeys_them():
    given = {"max_batch": 4, "threads": 2, "kv_type": "q8_0", "revision": "v2"}
    assert split_settings(given) == ({"max_batch": 4}, {"threads": 2, "kv_type": "q8_0"}, {"revision": "v2"})
    assert LlamaSettings().kv_type == "f16"


def test_a_face_knows_the_backends():
    assert ChatPAD(backend="torch").backend == "torch"
    with pytest.raises(ValueError, match="backend"):
        ChatPAD(backend="vulkan")


def test_a_folder_that_holds_a_file_is_its_model(tiny_gguf, binding, tmp_path):
    (tmp_path / "only.gguf").write_bytes(Path(tiny_gguf.path).read_bytes())
    assert ChatPAD(model=str(tmp_path)).profile["max_input_tokens"] == 512
    assert ChatPAD(model=str(tmp_path / "only.gguf")).profile["max_input_tokens"] == 512


@pytest.mark.parametrize("name", ["n_ctx", "num_thread", "n_gpu_layers"])
def test_what_others_call_a_setting_of_llama_cpp_leads_to_ours(name):
    with pytest.raises(ValueError, match=r"Here it is engine_settings=\{'"):
        ChatPAD(**{name: 2})
