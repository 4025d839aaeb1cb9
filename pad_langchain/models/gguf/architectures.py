"""A model's shape in a GGUF file → its transformers config, for the architectures that are run in torch.

An architecture is here once its logits from a file have been compared with those of transformers' own weights. An
unknown key is refused, as it may change what the model computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pad_langchain.errors import IncompatibleModelError

if TYPE_CHECKING:
    from pad_langchain.models.gguf.file import GgufFile

__all__ = ["FREQUENCIES", "READABLE", "config_of"]

FREQUENCIES = "rope_freqs.weight"  # what Llama 3.1 and later divide the rotary frequencies by
_KEYS = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
}
# Read below, or of no effect on what is computed.
_SEEN = frozenset(
    {"attention.value_length", "attention.sliding_window_pattern", "rope.dimension_count", "rope.freq_base"}
    | {"rope.freq_base_swa", "rope.scaling.type", "rope.scaling.factor", "rope.scaling.original_context_length"}
    | {"rope.scaling.finetuned", "vocab_size", "expert_count", "expert_used_count"}
)


def config_of(file: GgufFile) -> Any:
    """Return the transformers config of the model in a file.

    Raises:
        IncompatibleModelError: the architecture, or one of its settings, cannot be run in torch here.
    """
    if file.architecture not in READABLE:
        raise IncompatibleModelError(
            f"{str(file.path)!r} is of architecture {file.architecture!r}, which cannot be run in torch from a GGUF "
            f"file. Those that can are {', '.join(sorted(READABLE))}. llama.cpp reads more: "
            'pip install "pad-langchain[llama-cpp]". Or pass the model\'s own folder or hub id.'
        )
    said = _Shape(file)
    said.check()
    return READABLE[file.architecture](said)


class _Shape:
    """The values under a file's keys of its architecture."""

    def __init__(self, file: GgufFile) -> None:
        self.file, prefix = file, f"{file.architecture}."
        self.values = {key[len(prefix) :]: value for key, value in file.metadata.items() if key.startswith(prefix)}

    def check(self) -> None:
        unknown = sorted(self.values.keys() - _KEYS.keys() - _SEEN)
        size = self.head_dim
        if unknown:
            raise self.refusal(f"says {unknown!r}, which torch would not take into account")
        if self.values.get("expert_count"):
            raise self.refusal("is a mixture of experts")
        if {self.values.get("attention.value_length", size), self.values.get("rope.dimension_count", size)} != {size}:
            raise self.refusal("has heads whose keys, values and rotary parts differ in size")
        if lists := sorted(key for key, value in self.values.items() if isinstance(value, np.ndarray | list)):
            raise self.refusal(f"has layers of several kinds ({lists!r})")

    def refusal(self, what: str) -> IncompatibleModelError:
        return IncompatibleModelError(
            f"{str(self.file.path)!r} ({self.file.architecture}) {what}: it cannot be run in torch from a GGUF file. "
            'llama.cpp may read it: pip install "pad-langchain[llama-cpp]". Or pass the model\'s own folder or hub id.'
        )

    def has(self, tensor: str) -> bool:
        return tensor in self.file.tensors

    @property
    def head_dim(self) -> int:
        heads = self.file.need(f"{self.file.architecture}.attention.head_count", int)
        return int(self.values.get("attention.key_length", self.file.hidden_size // heads))

    @property
    def common(self) -> dict[str, Any]:
        """The settings that all architectures have."""
        named = {name: self.values[key] for key, name in _KEYS.items() if key in self.values}
        ids = {role: self.file.metadata.get(f"tokenizer.ggml.{role}") for role in ("bos_token_id", "eos_token_id")}
        return {
            "num_key_value_heads": self.values["attention.head_count"],
            **named,
            **ids,
            "head_dim": self.head_dim,
            "vocab_size": self.file.vocab_size,
            "tie_word_embeddings": not self.has("output.weight"),
            "pad_token_id": self.file.metadata.get("tokenizer.ggml.padding_token_id"),
        }

    @property
    def rotary(self) -> dict[str, Any]:
        """The rope_parameters of transformers."""
        theta = float(self.values.get("rope.freq_base", 10000.0))
        kind, factor = self.values.get("rope.scaling.type", "none"), self.values.get("rope.scaling.factor")
        if self.has(FREQUENCIES):
            return {"rope_theta": theta, **self.llama_3_factors()}
        if kind == "none" or not factor:
            return {"rope_theta": theta, "rope_type": "default"}
        if kind not in ("linear", "yarn"):
            raise self.refusal(f"scales positions by {kind!r}")
        original = {"original_max_position_embeddings": self.values.get("rope.scaling.original_context_length")}
        return {
            "rope_theta": theta,
            "rope_type": kind,
            "factor": float(factor),
            **(original if kind == "yarn" and None not in original.values() else {}),
        }

    def llama_3_factors(self) -> dict[str, Any]:
        """The settings that give the factors in the file. Llama 3.1 and 3.2 differ in the largest one."""
        stored = self.file.floats(FREQUENCIES)
        factor = float(stored.max())
        low, high, length = 1.0, 4.0, 8192
        theta = float(self.values.get("rope.freq_base", 10000.0))
        waves = 2 * np.pi * theta ** (np.arange(0, self.head_dim, 2) / self.head_dim)
        smooth = np.clip((length / waves - low) / (high - low), 0.0, 1.0)
        if stored.shape != waves.shape or not np.allclose(1 / ((1 - smooth) / factor + smooth), stored, rtol=1e-4):
            raise self.refusal(f"scales positions by a {FREQUENCIES} that is not Llama 3's")
        return {
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low,
            "high_freq_factor": high,
            "original_max_position_embeddings": length,
        }


def _llama(said: _Shape) -> Any:
    from transformers import LlamaConfig

    biases = {"attention_bias": said.has("blk.0.attn_q.bias"), "mlp_bias": said.has("blk.0.ffn_up.bias")}
    return LlamaConfig(rope_parameters=said.rotary, **{**biases, **said.common})


def _qwen_2(said: _Shape) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(rope_parameters=said.rotary, **said.common)


def _qwen_3(said: _Shape) -> Any:
    from transformers import Qwen3Config

    return Qwen3Config(rope_parameters=said.rotary, **said.common)


def _gemma_2(said: _Shape) -> Any:
    from transformers import Gemma2Config

    caps = {"attn_logit_softcapping": 50.0, "final_logit_softcapping": 30.0}  # llama.cpp's, where a file names none
    scale = {"query_pre_attn_scalar": _query_scale(said, largest=46)}
    return Gemma2Config(rope_parameters=said.rotary, **{**caps, **scale, **said.common})


def _gemma_3(said: _Shape) -> Any:
    from transformers import Gemma3TextConfig

    near = {"rope_theta": float(said.values.get("rope.freq_base_swa", 10000.0)), "rope_type": "default"}
    return Gemma3TextConfig(
        rope_parameters={"full_attention": said.rotary, "sliding_attention": near},
        query_pre_attn_scalar=_query_scale(said, largest=62),
        **said.common,
    )


def _query_scale(said: _Shape, largest: int) -> int:
    """The number whose root divides queries. The largest model of a family has its own, which no file tells."""
    if said.values["block_count"] != largest:
        return said.head_dim
    return int(said.file.hidden_size // said.values["attention.head_count"])


READABLE: dict[str, Callable[[_Shape], Any]] = {
    "llama": _llama,
    "qwen2": _qwen_2,
    "qwen3": _qwen_3,
    "gemma2": _gemma_2,
    "gemma3": _gemma_3,
}
