"""GGUF files as models: what they say, their tokenizer, and their weights for torch."""

from pad_langchain.models.gguf.file import GgufFile, find_gguf

__all__ = ["GgufFile", "find_gguf"]
