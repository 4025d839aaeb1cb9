"""Small GGUF files for tests: a transformers folder, or a tokenizer alone, as llama.cpp's converter would write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import MODEL_ARCH, MODEL_ARCH_NAMES, GGMLQuantizationType, GGUFWriter, TokenType
from safetensors import safe_open

__all__ = ["KINDS", "to_gguf", "write_tokenizer", "write_vocabulary"]

KINDS = {
    "f32": GGMLQuantizationType.F32,
    "f16": GGMLQuantizationType.F16,
    "q8_0": GGMLQuantizationType.Q8_0,
    "q4_0": GGMLQuantizationType.Q4_0,
    "q4_1": GGMLQuantizationType.Q4_1,
}
_FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7}
_LLAMA_3 = ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor")
_ARCHITECTURES = {"mistral": "llama", "gemma3_text": "gemma3"}  # the others are named as in transformers


def to_gguf(
    folder: str | Path,
    path: str | Path,
    kind: str = "f32",
    pre: str = "gpt-2",
    *,
    metadata: Mapping[str, Any] | None = None,
    split: int = 0,
) -> Path:
    """Write a small saved causal LM (llama, mistral, qwen2, qwen3, gemma2, gemma3) and its tokenizer as GGUF.

    Args:
        folder: as `save_pretrained` of model and tokenizer left it.
        path: the file. With `split` its name is a stem: the files are path-00001-of-00003.gguf and so on.
        kind: how matrices are stored, one of `KINDS`; a row that no whole number of blocks fills is stored as "f16".
        pre: llama.cpp's name for how the tokenizer splits text; "" leaves it out. Sentencepiece has none.
        metadata: keys that are written instead of, or beside, the model's own; None leaves a key out.
        split: tensors a file at most; 0 writes one file.

    Returns:
        the file, of several the first.
    """
    folder, path = Path(folder), Path(path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    name = _ARCHITECTURES.get(config["model_type"], config["model_type"])
    writer = _Writer(path, name, split, metadata or {})
    writer.add_name(folder.name or "tiny")
    writer.add_file_type(_FILE_TYPES[kind])
    _write_shape(writer, config, name)
    write_tokenizer(writer, folder, pre, config["vocab_size"])
    _write_tensors(writer, folder, config, name, KINDS[kind])
    writer.finish()
    return path if not split else sorted(path.parent.glob(f"{path.stem}-00001-of-*.gguf"))[0]


def write_vocabulary(
    folder: str | Path,
    path: str | Path,
    pre: str = "gpt-2",
    *,
    metadata: Mapping[str, Any] | None = None,
    vocab_size: int | None = None,
) -> Path:
    """Write a tokenizer's folder as a GGUF without tensors: llama.cpp reads it with `vocab_only`."""
    writer = _Writer(Path(path), "llama", 0, metadata or {})
    for add in (writer.add_block_count, writer.add_head_count):
        add(1)
    writer.add_context_length(512)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    write_tokenizer(writer, Path(folder), pre, vocab_size)
    writer.finish()
    return Path(path)


class _Writer(GGUFWriter):
    """A writer whose keys a test may replace or leave out."""

    def __init__(self, path: Path, architecture: str, split: int, said: Mapping[str, Any]) -> None:
        self._said = {}
        super().__init__(path, architecture, split_max_tensors=split)
        self._said = dict(said)

    def add_key_value(self, key: str, val: Any, vtype: Any, sub_type: Any = None) -> None:
        if key not in self._said:
            super().add_key_value(key, val, vtype, sub_type)

    def finish(self) -> None:
        said, self._said = self._said, {}
        for key, value in said.items():
            if key == "general.architecture":
                self.kv_data[0].pop(key)
            if value is not None:
                super().add_key_value(key, value, gguf.GGUFValueType.get_type(value))
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_tensors_to_file()
        self.close()


def _write_shape(writer: GGUFWriter, config: Mapping[str, Any], name: str) -> None:
    heads = config["num_attention_heads"]
    size = config.get("head_dim") or config["hidden_size"] // heads
    rope = config.get("rope_parameters") or {}
    rope = rope.get("full_attention", rope)  # Gemma 3 has one for each kind of layer
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(rope.get("rope_theta", config.get("rope_theta", 10000.0)))
    if rope.get("rope_type") in ("linear", "yarn"):
        writer.add_rope_scaling_type(gguf.RopeScalingType(rope["rope_type"]))
        writer.add_rope_scaling_factor(rope["factor"])
        if "original_max_position_embeddings" in rope:
            writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    elif rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", _llama_3_factors(rope, size))
    writer.add_rope_dimension_count(size)
    writer.add_key_length(size)
    writer.add_value_length(size)
    if name.startswith("gemma"):
        writer.add_sliding_window(config["sliding_window"])
        for add, key in (
            (writer.add_attn_logit_softcapping, "attn_logit_softcapping"),
            (writer.add_final_logit_softcapping, "final_logit_softcapping"),
        ):
            if config.get(key):
                add(config[key])


def _write_tensors(
    writer: GGUFWriter, folder: Path, config: Mapping[str, Any], name: str, kind: GGMLQuantizationType
) -> None:
    architecture = next(arch for arch, each in MODEL_ARCH_NAMES.items() if each == name)
    names = gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118  it is no dict
                if key == "lm_head.weight" and config.get("tie_word_embeddings"):
                    continue
                array = opened.get_tensor(key).float().numpy()
                if architecture is MODEL_ARCH.LLAMA and key.endswith(("q_proj.weight", "q_proj.bias")):
                    array = _interleaved(array, heads)
                elif architecture is MODEL_ARCH.LLAMA and key.endswith(("k_proj.weight", "k_proj.bias")):
                    array = _interleaved(array, kv_heads)
                elif name.startswith("gemma") and key.endswith("norm.weight"):
                    array = array + 1
                stored = GGMLQuantizationType.F32 if array.ndim == 1 else kind
                if array.shape[-1] % gguf.GGML_QUANT_SIZES[stored][0]:
                    stored = GGMLQuantizationType.F16
                packed = gguf.quants.quantize(np.ascontiguousarray(array), stored)
                writer.add_tensor(names.get_name(key, (".weight", ".bias")), packed, raw_dtype=stored)


def _llama_3_factors(rope: Mapping[str, Any], size: int) -> np.ndarray:
    """What Llama 3.1 divides each rotary frequency by: nothing for short waves, all for long ones."""
    waves = 2 * np.pi * rope["rope_theta"] ** (np.arange(0, size, 2) / size)
    length, low, high = (rope[name] for name in _LLAMA_3)
    factors = []
    for wave in waves:
        if wave < length / high:
            factors.append(1.0)
        elif wave > length / low:
            factors.append(rope["factor"])
        else:
            smooth = (length / wave - low) / (high - low)
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def _interleaved(array: np.ndarray, heads: int) -> np.ndarray:
    """llama.cpp turns neighbouring components of a head, transformers those that are half a head apart."""
    halves = array.reshape(heads, 2, array.shape[0] // heads // 2, *array.shape[1:])
    return halves.swapaxes(1, 2).reshape(array.shape)


def write_tokenizer(writer: GGUFWriter, folder: Path, pre: str, vocab_size: int | None = None) -> None:
    """Write what a GGUF holds of a fast tokenizer: tokens, kinds, merges or scores, ends, chat template.

    Args:
        vocab_size: rows of the model's matrices; those beyond the tokens become unused tokens.
    """
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = json.loads(tokenizer.backend_tokenizer.to_str())
    model, added = said["model"], tokenizer.added_tokens_decoder
    vocabulary = {index: token for token, index in tokenizer.get_vocab().items()}
    bytewise = "Metaspace" not in str(said["decoder"]) and "ByteFallback" not in str(said["decoder"])
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    ranks = {merge.replace(" ", ""): -float(rank) for rank, merge in reversed(list(enumerate(merges)))}
    tokens, kinds, scores = [], [], []
    for index in range(max(vocab_size or 0, max(vocabulary) + 1)):
        token = vocabulary.get(index, f"[PAD{index}]")
        tokens.append(token)
        scores.append(ranks.get(token, -1e6 if len(token) == 1 else 0.0))
        kinds.append(_kind(token, added.get(index), index in vocabulary, bytewise, model.get("unk_token")))
    writer.add_tokenizer_model("gpt2" if bytewise else "llama")
    if bytewise and pre:
        writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    if bytewise:
        writer.add_token_merges(merges)
    else:
        writer.add_token_scores(scores)
        writer.add_add_space_prefix(_has_prefix(said))
    for add, token in (
        (writer.add_bos_token_id, tokenizer.bos_token_id),
        (writer.add_eos_token_id, tokenizer.eos_token_id),
        (writer.add_unk_token_id, tokenizer.unk_token_id),
        (writer.add_pad_token_id, tokenizer.pad_token_id),
    ):
        if token is not None:
            add(token)
    writer.add_add_bos_token(bool(getattr(tokenizer, "add_bos_token", False)))
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _has_prefix(said: Mapping[str, Any]) -> bool:
    pre, normalizer = said.get("pre_tokenizer") or {}, str(said.get("normalizer"))
    return pre.get("prepend_scheme", "never") != "never" or "Prepend" in normalizer


def _kind(token: str, added: Any, known: bool, bytewise: bool, unknown: str | None) -> TokenType:
    if not known:
        return TokenType.UNUSED
    if added is not None and token != unknown:
        return TokenType.CONTROL if added.special else TokenType.USER_DEFINED
    if not bytewise and token == unknown:
        return TokenType.UNKNOWN
    if not bytewise and len(token) == 6 and token.startswith("<0x"):
        return TokenType.BYTE
    return TokenType.NORMAL
