"""Guided decoding in transformers' own `generate()`."""

from pad_langchain.hf.config import PADConfig
from pad_langchain.hf.model import PADForCausalLM

__all__ = ["PADConfig", "PADForCausalLM"]
