"""The engine on llama.cpp, for GGUF models. It decodes under a head or under itself, without weights in torch."""

from pad_langchain.engine.llama_cpp.base import LlamaBase
from pad_langchain.engine.llama_cpp.engine import LlamaCppEngine
from pad_langchain.engine.settings import LlamaSettings

__all__ = ["LlamaBase", "LlamaCppEngine", "LlamaSettings"]
