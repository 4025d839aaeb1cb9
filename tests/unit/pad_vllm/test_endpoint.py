"""`GET /pad/info` tells what a client compares with its own head before it sends gates."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fastapi import FastAPI
from fastapi.testclient import TestClient

from pad_langchain.models.fingerprint import of_vocabulary
from pad_langchain.testing import tiny_tokenizer
from pad_vllm import __version__
from pad_vllm.endpoint import PadEndpoint
from pad_vllm.heads import VARIABLE, Heads
from vllm_parts import D, V, save_head


def client_of(tokenizer: Any) -> Any:
    """What vLLM's engine client has of it."""
    model = SimpleNamespace(model="base", dtype=torch.bfloat16, get_hidden_size=lambda: D, get_vocab_size=lambda: V)
    return SimpleNamespace(model_config=model, renderer=SimpleNamespace(tokenizer=tokenizer))


async def app_of(tokenizer: Any) -> FastAPI:
    app, plugin = FastAPI(), PadEndpoint()
    plugin.attach_router(app)
    await plugin.init_state(client_of(tokenizer), app.state, Namespace())
    return app


async def test_it_tells_the_base_and_every_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_head(tmp_path / "v1")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    tokenizer = tiny_tokenizer()
    client = TestClient(await app_of(tokenizer))
    told = client.get("/pad/info").json()
    assert told["version"] == __version__
    steering, penalties = told["accepts"][:5], told["accepts"][5:]
    assert steering == ["pad_gate", "pad_beta", "pad_alpha", "pad_top_k", "pad_head"]
    assert penalties == ["pad_repetition_penalty", "pad_no_repeat_ngram"]
    assert told["base"] == {
        "model": "base",
        "hidden_size": D,
        "vocab_size": V,
        "dtype": "bfloat16",
        "tokenizer": of_vocabulary(tokenizer.get_vocab()),
    }
    assert told["heads"] == {"v1": Heads(tmp_path).get("v1").describe()}
    save_head(tmp_path / "v2", 1)
    save_head(tmp_path / "other", hidden_size=D + 8)  # of another base
    assert list(client.get("/pad/info").json()["heads"]) == ["v1", "v2"]


async def test_a_base_without_a_tokenizer_has_no_fingerprint(persrm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(persrm))
    told = TestClient(await app_of(None)).get("/pad/info").json()
    assert told["base"]["tokenizer"] is None


async def test_without_a_head_the_server_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(ValueError, match="is not set"):
        await app_of(None)
