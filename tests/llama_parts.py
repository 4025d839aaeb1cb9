"""Tiny models as GGUF files, and engines on llama.cpp for them. Where llama.cpp is not installed, tests skip."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine
from pad_langchain.models.gguf import GgufFile
from pad_langchain.testing import TinyPair

__all__ = ["llama_engine", "needs_llama_cpp", "tiny_base", "write_gguf"]

_REASON = "llama-cpp-python is not installed"
_FOLDER = tempfile.TemporaryDirectory()


def needs_llama_cpp() -> None:
    """Skip the test, or the module, where there is no llama.cpp."""
    pytest.importorskip("llama_cpp", reason=_REASON)


def write_gguf(model: Any, tokenizer: Any, name: str, kind: str = "f32", **settings: Any) -> GgufFile:
    """A loaded model as a GGUF file, in a folder that lasts as long as the tests."""
    from gguf_models import to_gguf

    folder = Path(_FOLDER.name) / name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return GgufFile(to_gguf(folder, folder / f"{kind}.gguf", kind, **settings))


@cache
def tiny_base(pair: TinyPair, kind: str = "f32", **settings: Any) -> LlamaBase:
    """A tiny pair's model on llama.cpp, on one thread and as exact as it can be."""
    needs_llama_cpp()
    file = write_gguf(pair.model, pair.tokenizer, f"tiny-{id(pair)}", kind)
    return LlamaBase(file, **{"threads": 1, "kv_type": "f32", "flash_attention": False, **settings})


def llama_engine(pair: TinyPair, *, guided: bool = True, **settings: Any) -> LlamaCppEngine:
    """An engine on a tiny pair's model, guided by its head."""
    base = tiny_base(pair)
    return LlamaCppEngine(base, pair.tokenizer, pair.guide() if guided else None, **settings)
