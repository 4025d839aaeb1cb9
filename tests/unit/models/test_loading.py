"""Where a model goes and how it is loaded: passed on to transformers, and refused in words a user can act on."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from gguf_models import to_gguf
from pad_langchain.chat.engines import context_size
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import InvalidRequestError, MissingDependencyError, ModelLoadError
from pad_langchain.hf.model import PADForCausalLM
from pad_langchain.models import ends, loading
from pad_langchain.models.attention import attention_of
from pad_langchain.persrm.build import load_engine
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.testing import HashEmbedder, TinyPair, tiny_head, tiny_model, tiny_tokenizer
from places import DEMO


@pytest.fixture(scope="module")
def base(folders: tuple[str, str]) -> Path:
    return Path(folders[0])


def tokens(engine: TorchEngine) -> tuple[int, ...]:
    request = Request(
        messages=[{"role": "user", "content": "why is the sky blue?"}],
        preferences=[WeightedPreference("be concise")],
        max_tokens=12,
    )
    with engine:
        return engine.submit(request).result(60).token_ids


def test_a_device_map_places_the_model_and_changes_no_token(base: Path) -> None:
    pytest.importorskip("accelerate")
    placed = load_engine(base, "self", device="cpu", device_map={"": "cpu"}, max_batch=2)
    assert tokens(placed) == tokens(load_engine(base, "self", device="cpu"))


def test_keywords_for_transformers_reach_it_and_the_model_stays_where_they_put_it(
    pair: TinyPair, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def from_pretrained(path: Any, **kwargs: Any) -> Any:
        calls.append(kwargs)
        return pair.model

    def moved(*args: Any) -> None:
        pytest.fail("a model with a device map must not be moved")

    eight = BitsAndBytesConfig(load_in_8bit=True)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", from_pretrained)
    monkeypatch.setattr(loading, "pick_device", lambda device: torch.device("cuda"))
    monkeypatch.setattr(pair.model, "to", moved)
    more = {"device_map": "auto", "quantization_config": eight}
    with load_engine(base, prefix_tokens=0, pack_weights=False, **more) as engine:
        assert engine.settings.prefix_tokens == 0
    (call,) = calls
    assert call["device_map"] == "auto"
    assert call["quantization_config"] is eight
    assert "prefix_tokens" not in call


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed")
def test_bits_and_bytes_that_is_missing_is_named(base: Path) -> None:
    with pytest.raises(MissingDependencyError, match=r"quantization_config.*pip install accelerate bitsandbytes"):
        load_engine(base, quantization_config=BitsAndBytesConfig(load_in_4bit=True))


def test_accelerate_that_is_missing_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers.integrations.accelerate, "is_accelerate_available", lambda: False)
    with pytest.raises(MissingDependencyError, match=r"device_map.*pip install accelerate"):
        load_engine(base, device_map="auto")


def test_keywords_that_are_wrong_or_too_late_are_refused(pair: TinyPair, base: Path) -> None:
    with pytest.raises(InvalidRequestError, match=r"\['device_map'\] are for loading a model, but this Llama"):
        load_engine(pair.model, tokenizer=pair.tokenizer, device_map="auto")
    with pytest.raises(ModelLoadError, match="does not load"):
        load_engine(base, device_map="cuda-everywhere")


@pytest.mark.slow
def test_what_is_known_of_a_model_without_loading_it(base: Path, tmp_path: Path) -> None:
    assert loading.context_size(str(base)) == 512
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 77}}))
    assert loading.context_size(str(tmp_path)) == 77
    assert loading.context_size("no/such/model") is None
    code = f"from pad_langchain.models.loading import context_size; print(context_size({str(base)!r}))"
    code += "; import sys; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.stdout.split() == ["512", "False"], result.stderr


def test_what_a_loaded_model_says_of_itself(base: Path, pair: TinyPair) -> None:
    for kind in ("sdpa", "eager"):
        model = AutoModelForCausalLM.from_pretrained(base, attn_implementation=kind)
        assert attention_of(model.config) == kind
    model.generation_config.eos_token_id = None
    assert ends.configured_ends(model) == []
    assert ends.end_tokens(model, pair.tokenizer) == {pair.tokenizer.eos_token_id}
    model.generation_config.eos_token_id = 7
    assert ends.configured_ends(model) == [7]
    model.generation_config.eos_token_id = [7, 9]
    assert ends.end_tokens(model, pair.tokenizer) == {7, 9, pair.tokenizer.eos_token_id}
    assert ends.configured_ends(object()) == []


# ---- which files: the same for everything that belongs to one model


TEMPLATE = "{%% for message in messages %%}{{ '%s ' + message['content'] }}{%% endfor %%}"


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache of the hub with two versions of a model and of a head for it, each in a subfolder as well."""
    cache = tmp_path_factory.mktemp("hub")
    for seed, (revision, commit) in enumerate((("main", "a" * 40), ("v2", "b" * 40))):
        for inner in (".", "inner"):
            word = revision if inner == "." else revision + "inner"
            model = tiny_model(seed, max_position_embeddings=100 * (seed + 1) + len(inner))
            tokenizer = tiny_tokenizer()
            tokenizer.chat_template = TEMPLATE % word
            for name in ("chat", "persrm"):
                repository = cache / f"models--org--{name}"
                (repository / "refs").mkdir(parents=True, exist_ok=True)
                (repository / "refs" / revision).write_text(commit)
                folder = repository / "snapshots" / commit / inner
                if name == "chat":
                    model.save_pretrained(folder)
                    tokenizer.save_pretrained(folder)
                else:
                    tiny_head(model, seed, embedder=HashEmbedder()).save_pretrained(folder)
    return cache


@pytest.mark.parametrize("revision", [None, "v2"])
@pytest.mark.parametrize("inner", [None, "inner"])
def test_weights_tokenizer_and_context_are_of_one_version(hub: Path, revision: str | None, inner: str | None) -> None:
    asked = {"cache_dir": hub, "local_files_only": True, "revision": revision, "subfolder": inner}
    asked = {name: value for name, value in asked.items() if value is not None}
    with load_engine("org/chat", dtype="float32", **asked) as engine:
        words = engine.tokenizer.decode(engine.prompts.render([{"role": "user", "content": "hello"}]))
        assert words == (revision or "main") + (inner or "") + " hello"
        own = tiny_model(0 if revision is None else 1)
        torch.testing.assert_close(engine.base.model.lm_head.weight, own.lm_head.weight)
        assert engine.context == context_size("org/chat", **asked)
    assert context_size("org/chat", cache_dir=hub, gguf_file="model.gguf") is None


@pytest.mark.parametrize("name", sorted((loading.SOURCE | loading.VERSION) - {"gguf_file"}))
def test_keywords_for_files_reach_the_tokenizer_and_others_do_not(
    name: str, pair: TinyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, Any]] = []

    def remembered(loaded: Any) -> Any:
        def from_pretrained(path: Any, **kwargs: Any) -> Any:
            calls.append(kwargs)
            return loaded

        return from_pretrained

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", remembered(pair.model))
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", remembered(pair.tokenizer))
    loading.load_causal_lm("org/chat", device="cpu", device_map="auto", **{name: "x"})
    weights, tokenizer = calls
    assert weights == {"trust_remote_code": False, "dtype": torch.float32, "device_map": "auto", name: "x"}
    assert tokenizer == {"trust_remote_code": False, name: "x"}


def test_a_persrm_is_fetched_as_the_base_is_and_has_a_version_of_its_own(hub: Path) -> None:
    source = {"cache_dir": hub, "local_files_only": True}
    with load_engine("org/chat", "org/persrm", revision="v2", embedder=HashEmbedder(), **source) as engine:
        assert engine.guide is not None
    made = PADForCausalLM.compose("org/chat", "org/persrm", embedder=HashEmbedder(), **source)
    assert made.config.guide == "head"
    heads = [
        PersRM.from_pretrained("org/persrm", base="org/chat", embedder=HashEmbedder(), **source, **version).head
        for version in ({}, {"revision": "v2"}, {"revision": "v2", "subfolder": "inner"})
    ]
    for head, seed in zip(heads, (0, 1, 1), strict=True):
        assert head is not None
        torch.testing.assert_close(head.V_DR, tiny_head(tiny_model(seed), seed, embedder=HashEmbedder()).V_DR)
    base, tokenizer = tiny_model(), tiny_tokenizer()  # loaded, so there is nothing to fetch
    loaded = PersRM.from_pretrained("org/persrm", base=base, tokenizer=tokenizer, embedder=HashEmbedder(), **source)
    assert loaded.backbone.model is base
    with pytest.raises(InvalidRequestError, match=r"unknown keywords \['revison'\]"):
        PersRM.from_pretrained("org/persrm", base="org/chat", revison="v2", **source)


def test_a_tokenizers_package_that_is_missing_is_named(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def from_pretrained(path: Any, **kwargs: Any) -> Any:
        raise ImportError("pip install sentencepiece")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", from_pretrained)
    with pytest.raises(MissingDependencyError, match=r"The tokenizer .* needs a package .*pip install sentencepiece"):
        loading.load_causal_lm(base, device="cpu")


def test_a_gguf_file_of_a_hub_repository_is_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, dict[str, Any]]] = []
    path = to_gguf(DEMO / "base", tmp_path / "model.gguf", "f16")

    def fetched(repository: str, name: str, **how: Any) -> str:
        asked.append((repository, name, how))
        if name != "model.gguf":
            raise OSError("offline and not cached")
        return str(path)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fetched)
    file = loading.open_gguf("org/chat", {"gguf_file": "model.gguf", "revision": "v2", "device_map": "auto"})
    assert file is not None
    assert file.path == path
    assert asked == [("org/chat", "model.gguf", {"revision": "v2"})]
    with pytest.raises(ModelLoadError, match=r"org/chat/other\.gguf.*offline and not cached"):
        loading.open_gguf("org/chat", {"gguf_file": "other.gguf"})
