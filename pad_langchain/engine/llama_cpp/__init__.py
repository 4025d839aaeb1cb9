"""The engine on llama.cpp, for GGUF models: a CPU's own speed, a head's guidance, no torch weights."""

from pad_langchain.engine.llama_cpp.base import LlamaBase
from pad_langchain.engine.llama_cpp.engine import LlamaCppEngine
from pad_langchain.engine.settings import LlamaSettings

__all__ = ["LlamaBase", "LlamaCppEngine", "LlamaSettings"]
