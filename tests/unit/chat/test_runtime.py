"""Where models are and how large their context is, without loading them."""

from __future__ import annotations

import json

import pytest

from pad_langchain import PADLLM, ChatPAD
from pad_langchain.chat.engines import context_size


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """A hub cache as a download leaves it, with one model's config in it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def add(config, repo="someone/model"):
        folder = tmp_path / f"models--{repo.replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("abc")
        (folder / "snapshots" / "abc").mkdir(parents=True)
        (folder / "snapshots" / "abc" / "config.json").write_text(json.dumps(config))
        return repo

    return add


def test_the_context_of_a_folder(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"max_position_embeddings": 77}))
    assert context_size(str(tmp_path)) == 77
    assert context_size("pad-demo") == ChatPAD().profile["max_input_tokens"]


def test_the_context_of_a_cached_hub_id(hub_cache):
    repo = hub_cache({"max_position_embeddings": 8192})
    assert context_size(repo) == 8192
    assert ChatPAD(model=repo).profile["max_input_tokens"] == 8192
    assert PADLLM(model=repo).metadata.context_window == 8192


def test_the_context_of_a_model_that_reads_images_too(hub_cache):
    assert context_size(hub_cache({"text_config": {"max_position_embeddings": 131072}})) == 131072


@pytest.mark.parametrize("name", ["someone/else", "/no/such/folder", "a/b/c", "x" * 200])
def test_what_is_not_there_has_no_known_context(hub_cache, name):
    hub_cache({"max_position_embeddings": 1})
    assert context_size(name) is None
    assert "max_input_tokens" not in ChatPAD(model=name).profile


def test_a_config_without_a_context(hub_cache):
    assert context_size(hub_cache({"model_type": "mamba"})) is None
