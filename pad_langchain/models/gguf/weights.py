"""The weights of a GGUF file, dequantised, as a folder that transformers loads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.gguf.architectures import FREQUENCIES, config_of

if TYPE_CHECKING:
    import numpy as np
    import torch

    from pad_langchain.models.gguf.file import GgufFile

__all__ = ["bytes_of", "write_checkpoint"]

_SHARD = 1 << 30  # bytes of a file of weights, about


def bytes_of(file: GgufFile, dtype: torch.dtype) -> int:
    """Return how many bytes the weights of a file take in another type."""
    from math import prod

    return sum(prod(tensor.shape) for tensor in file.tensors.values()) * dtype.itemsize


def write_checkpoint(file: GgufFile, folder: Path, dtype: torch.dtype) -> None:
    """Write config.json, generation_config.json and *.safetensors into an empty folder.

    Raises:
        IncompatibleModelError: the model cannot be run in torch, or has tensors that its architecture does not have.
        OSError: there is no room, or no permission.
    """
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    config = config_of(file)
    names = _names(file, config)
    config.dtype = dtype
    config.save_pretrained(folder)
    ends = sorted(file.end_tokens)
    GenerationConfig(eos_token_id=ends or None, pad_token_id=config.pad_token_id).save_pretrained(folder)
    shards: dict[str, str] = {}
    for number, shard in enumerate(_shards(file, config, names, dtype)):
        where = f"model-{number:05d}.safetensors"
        save_file(shard, folder / where, metadata={"format": "pt"})
        shards |= dict.fromkeys(shard, where)
    index = {"metadata": {}, "weight_map": shards}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _names(file: GgufFile, config: Any) -> dict[str, str]:
    """The names of the file's tensors by their names in transformers, one for one.

    Raises:
        IncompatibleModelError: a tensor is missing, left over, or of another shape.
    """
    import gguf
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        state = AutoModelForCausalLM.from_config(config).state_dict()
    if config.tie_word_embeddings:
        state.pop("lm_head.weight", None)
    architecture = next(each for each, name in gguf.MODEL_ARCH_NAMES.items() if name == file.architecture)
    known = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    names = {name: str(known.get_name(name, (".weight", ".bias"))) for name in state}
    missing = sorted(set(names.values()) - file.tensors.keys())
    left = sorted(file.tensors.keys() - set(names.values()) - {FREQUENCIES})
    shapes = sorted(
        there for name, there in names.items() if not missing and file.tensors[there].shape != tuple(state[name].shape)
    )
    if missing or left or shapes:
        raise IncompatibleModelError(
            f"The tensors of {str(file.path)!r} are not those of a {file.architecture} model in transformers: "
            f"{missing[:4]!r} are missing, {left[:4]!r} are left over, {shapes[:4]!r} are of another shape. llama.cpp "
            'may read it: pip install "pad-langchain[llama-cpp]". Or pass the model\'s own folder or hub id.'
        )
    return names


def _shards(
    file: GgufFile, config: Any, names: dict[str, str], dtype: torch.dtype
) -> Iterator[dict[str, torch.Tensor]]:
    import torch

    shard: dict[str, torch.Tensor] = {}
    for name, there in names.items():
        array = _as_transformers(file.floats(there), there, file.architecture, config)
        shard[name] = torch.from_numpy(array.copy()).to(dtype)
        if sum(tensor.nbytes for tensor in shard.values()) >= _SHARD:
            yield shard
            shard = {}
    if shard:
        yield shard


def _as_transformers(array: np.ndarray, name: str, architecture: str, config: Any) -> np.ndarray:
    """Undo what llama.cpp's converter does to a tensor."""
    if architecture == "llama" and ".attn_q." in name:
        return _halves(array, config.num_attention_heads)
    if architecture == "llama" and ".attn_k." in name:
        return _halves(array, config.num_key_value_heads)
    if architecture in ("gemma2", "gemma3") and name.endswith("norm.weight"):
        return array - 1  # transformers adds it when it runs
    return array


def _halves(array: np.ndarray, heads: int) -> np.ndarray:
    """Reorder each head's rows from pairs to all first halves, then all second halves, as transformers has them."""
    pairs = array.reshape(heads, array.shape[0] // heads // 2, 2, *array.shape[1:])
    return pairs.swapaxes(1, 2).reshape(array.shape)
