"""LlamaIndex: an LLM, an embedding and a memory block that know their user. Needs the extra `llama-index`."""

from __future__ import annotations

from pad_langchain.errors import MissingDependencyError

try:
    import llama_index.core  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f'LlamaIndex is not installed ({error}). Install it: pip install "pad-langchain[llama-index]"'
    ) from error

from pad_langchain.llama_index.llm import PADLLM
from pad_langchain.llama_index.memory import PADEmbedding, PreferenceMemoryBlock

__all__ = ["PADLLM", "PADEmbedding", "PreferenceMemoryBlock"]
