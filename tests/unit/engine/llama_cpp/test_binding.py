"""What is told where llama.cpp is missing, is another one, or cannot load a file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from llama_parts import needs_llama_cpp, tiny_base, write_gguf
from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine, binding, cores
from pad_langchain.engine.llama_cpp.binding import Context, Weights, check_binding, load_binding
from pad_langchain.engine.settings import LlamaSettings
from pad_langchain.errors import (
    EngineMemoryError,
    IncompatibleModelError,
    InvalidRequestError,
    MissingDependencyError,
    ModelLoadError,
)
from pad_langchain.testing import tiny_pair

PAIR = tiny_pair()


def test_without_llama_cpp_the_install_line_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    monkeypatch.delitem(sys.modules, "llama_cpp.llama_cpp", raising=False)
    load_binding.cache_clear()
    with pytest.raises(
        MissingDependencyError, match=r"pip install \"pad-langchain\[llama-cpp\]\"\. Or use backend='torch'"
    ):
        load_binding()


def test_a_library_that_does_not_load_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise RuntimeError(f"Failed to load shared library of {name}")

    monkeypatch.setattr(binding, "import_module", broken)
    load_binding.cache_clear()
    with pytest.raises(MissingDependencyError, match=r"does not load: Failed to load .*--no-binary"):
        load_binding()


def test_a_binding_without_the_functions_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_llama_cpp()
    load_binding.cache_clear()
    library = load_binding()
    others = {name: getattr(library, name) for name in binding._NEEDED if name != "llama_get_embeddings"}
    with pytest.raises(MissingDependencyError, match=r"has no llama_get_embeddings; it has worked with 0\.3\.36"):
        check_binding(SimpleNamespace(**others))
    fields = [("embeddings", int), ("n_seq_max", int)]
    old = SimpleNamespace(_fields_=fields)
    others["llama_get_embeddings"] = None
    others["llama_context_default_params"] = lambda: old
    with pytest.raises(MissingDependencyError, match=r"llama_context_params\.kv_unified"):
        check_binding(SimpleNamespace(**others))


def file_of(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(content)
    return path


def test_a_file_that_llama_cpp_cannot_load_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    needs_llama_cpp()
    whole = tiny_base(PAIR).file.path.read_bytes()
    capfd.readouterr()
    for content in (b"GGUF\x03\x00\x00\x00", b"no model at all", whole[: len(whole) // 2]):
        with pytest.raises(ModelLoadError, match=r"llama\.cpp cannot load .*model\.gguf.*: .*Fetch the file again"):
            Weights(file_of(tmp_path, content))
    with pytest.raises(ModelLoadError, match="absent"):
        Weights(tmp_path / "absent.gguf")
    assert capfd.readouterr().err == ""  # llama.cpp's own words are in the error and in the log


def test_what_llama_cpp_says_goes_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    needs_llama_cpp()
    with caplog.at_level(logging.DEBUG, logger="pad_langchain.engine.llama_cpp.binding"):
        Weights(tiny_base(PAIR).file.path)
    assert any("llama_model_loader" in record.message for record in caplog.records)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("llama_model_has_encoder", "has an encoder"),
        ("llama_model_is_recurrent", "is recurrent"),
        ("llama_model_is_hybrid", "is in part recurrent"),
        ("llama_model_is_diffusion", "writes by diffusion"),
    ],
)
def test_other_kinds_of_models_are_refused_by_name(monkeypatch: pytest.MonkeyPatch, function: str, words: str) -> None:
    needs_llama_cpp()
    load_binding.cache_clear()
    monkeypatch.setattr(load_binding(), function, lambda _: True)
    with pytest.raises(IncompatibleModelError, match=rf"llama .*{words}"):
        Weights(tiny_base(PAIR).file.path)


def test_a_gpu_needs_a_llama_cpp_for_one() -> None:
    needs_llama_cpp()
    load_binding.cache_clear()
    if load_binding().llama_supports_gpu_offload():
        pytest.skip("this llama.cpp was built for a GPU")
    file = tiny_base(PAIR).file
    with pytest.raises(MissingDependencyError, match=r"gpu_layers=-1 needs a llama\.cpp that was built for a GPU"):
        LlamaBase(file, gpu_layers=-1)


def test_no_room_on_a_gpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_llama_cpp()
    load_binding.cache_clear()
    library = load_binding()
    monkeypatch.setattr(library, "llama_supports_gpu_offload", lambda: True)
    monkeypatch.setattr(library, "llama_model_load_from_file", lambda path, params: None)
    with pytest.raises(ModelLoadError, match="or lower gpu_layers if the GPU has no room"):
        Weights(tiny_base(PAIR).file.path, 10)


def test_no_memory_for_keys_and_values_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_llama_cpp()
    load_binding.cache_clear()
    base = tiny_base(PAIR)
    monkeypatch.setattr(load_binding(), "llama_init_from_model", lambda model, params: None)
    with pytest.raises(EngineMemoryError, match=r"keys and values of 512 tokens as f32 .* Lower max_batch_tokens"):
        Context(base.model, base.settings, 1, 512, 2)


def test_more_tokens_than_cells_are_told_and_leave_the_rest_as_it_is() -> None:
    needs_llama_cpp()
    base = tiny_base(PAIR)
    context = Context(base.model, base.settings, 1, 256, 2)
    context.read(range(200), range(200), [0] * 200)
    with pytest.raises(EngineMemoryError, match="no room for 100 more tokens in 256 cells"):
        context.read(range(100), range(100), [1] * 100)
    logits, _ = context.decode([3], [200], [0])
    first = logits.copy()
    context.cut(0, 200)
    assert (context.decode([3], [200], [0])[0] == first).all()


def test_a_sequence_comes_back_as_it_was() -> None:
    needs_llama_cpp()
    base = tiny_base(PAIR)
    context = Context(base.model, base.settings, 1, 256, 3)
    context.read(range(20), range(20), [0] * 20)
    state = context.save(0)
    context.copy(0, 1, 20)
    context.load(state, 2)
    logits, hidden = context.decode([5, 5, 5], [20] * 3, [0, 1, 2])
    for other in (1, 2):
        assert abs(logits[other] - logits[0]).max() < 1e-4
        assert abs(hidden[other] - hidden[0]).max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"threads": 0}, "threads has to be an integer of at least 1, or None, but is 0"),
        ({"context_length": "8k"}, "context_length has to be"),
        ({"gpu_layers": -2}, "gpu_layers has to be a number of layers, or -1 for all"),
        ({"kv_type": "int4"}, "kv_type has to be 'f32', 'f16'"),
        ({"flash_attention": "on"}, "flash_attention has to be"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError, match=message):
        LlamaSettings(**settings)


def test_a_context_longer_than_the_models_is_refused() -> None:
    needs_llama_cpp()
    with pytest.raises(InvalidRequestError, match="at most the 512 tokens"):
        LlamaBase(tiny_base(PAIR).file, context_length=513)
    assert LlamaBase(tiny_base(PAIR).file, context_length=100).context == 100


def test_quantised_keys_and_values_decode() -> None:
    needs_llama_cpp()
    wide = tiny_pair().model
    file = write_gguf(type(wide)(_wide(wide.config)).eval(), PAIR.tokenizer, "wide")
    with LlamaCppEngine(LlamaBase(file, threads=1, kv_type="q8_0"), PAIR.tokenizer) as engine:
        from pad_langchain.engine.types import Request

        assert engine.submit(Request(prompt_ids=[9, 10, 11], max_tokens=5)).result(60).completion_tokens


def _wide(config: Any) -> Any:
    """Heads of a whole block of 32, as quantised keys and values need."""
    return type(config)(**{**config.to_dict(), "hidden_size": 128, "intermediate_size": 64, "head_dim": 32})


# Threads


@pytest.mark.parametrize(
    ("affinity", "quota", "load", "free"),
    [
        (4, "max 100000", 0.2, 4),
        (4, "max 100000", 2.1, 3),
        (2, "max 100000", 9.0, 1),
        (64, "200000 100000", 1.0, 2),
        (4, None, 1.4, 4),
    ],
)
def test_free_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, affinity: int, quota: str | None, load: float, free: int
) -> None:
    limit = tmp_path / "cpu.max"
    if quota is not None:
        limit.write_text(quota)
    monkeypatch.setattr(cores, "_QUOTA", limit)
    monkeypatch.setattr(cores.os, "sched_getaffinity", lambda _: set(range(affinity)), raising=False)
    monkeypatch.setattr(cores.os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    assert cores.free_cores() == free
