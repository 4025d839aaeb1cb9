"""GGUF files as models: their metadata, their tokenizer, and their weights for torch."""

from pad_langchain.models.gguf.dequantised import Dequantised, clear_dequantised, dequantised, torch_folder
from pad_langchain.models.gguf.file import GgufFile, find_gguf, split_names
from pad_langchain.models.gguf.hashes import sha256_of

__all__ = [
    "Dequantised",
    "GgufFile",
    "clear_dequantised",
    "dequantised",
    "find_gguf",
    "sha256_of",
    "split_names",
    "torch_folder",
]
