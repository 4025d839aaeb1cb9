"""The files of a PersRM folder.

| kind | files |
|---|---|
| head | persrm_head.json, persrm_head.safetensors (see `arithmetic.head_file`) |
| text, merged | a causal LM; v_head.summary.{weight,bias} in value_head.safetensors, value_head.bin or its shards |
| text, adapter | PEFT's adapter_config.json and adapter_model.safetensors, value_head.safetensors if W is trained |

A text PersRM may have persrm.json: the template it was trained with, and the beta and alpha it recommends.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pad_langchain.arithmetic.head_file import CONFIG_NAME
from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.models.prompts import PERSRM_TEMPLATE
from pad_langchain.paths import absolute, is_path

__all__ = [
    "ADAPTER_CONFIG",
    "ADAPTER_WEIGHTS",
    "TEXT_CONFIG",
    "VALUE_HEAD_FILES",
    "VALUE_HEAD_KEYS",
    "TextConfig",
    "identity_value_head",
    "local_folder",
    "read_value_head",
    "save_adapter",
    "write_value_head",
]

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
TEXT_CONFIG = "persrm.json"
VALUE_HEAD_FILES = ("value_head.safetensors", "value_head.bin")
VALUE_HEAD_KEYS = ("v_head.summary.weight", "v_head.summary.bias")


@dataclass(frozen=True)
class TextConfig:
    """What a text PersRM was trained with and recommends.

    Args:
        base: the base it was trained for, "" if unknown.
        template: how it is told a preference.
        beta, alpha: guidance strength and plausibility cut.
    """

    base: str = ""
    template: str = PERSRM_TEMPLATE
    beta: float = 1.0
    alpha: float = 0.0
    format_version: int = 1

    def save(self, folder: Path) -> None:
        """Write persrm.json."""
        (folder / TEXT_CONFIG).write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> TextConfig:
        """Read persrm.json; the defaults where there is none, as in the released checkpoint.

        Raises:
            ModelLoadError: it is not readable. IncompatibleModelError: written by a newer version.
        """
        path = folder / TEXT_CONFIG
        if not path.exists():
            return cls()
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            known = {each.name for each in fields(cls)}
            config = cls(**{name: value for name, value in found.items() if name in known})
        except (OSError, ValueError, AttributeError) as error:
            raise ModelLoadError(f"No readable {TEXT_CONFIG} in {str(folder)!r}: {error}") from error
        if config.format_version > 1:
            raise IncompatibleModelError(
                f"The PersRM in {str(folder)!r} has format version {config.format_version!r}, this package reads 1. "
                "Upgrade pad-langchain."
            )
        return config


def save_adapter(
    folder: Path, adapted: Any, value_head: torch.nn.Linear | None, tokenizer: Any, config: TextConfig
) -> None:
    """Write a text PersRM as an adapter: PEFT's files, W and b, the tokenizer and persrm.json."""
    adapted.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if value_head is not None:
        write_value_head(value_head, folder)
    config.save(folder)


def identity_value_head(size: int) -> torch.nn.Linear:
    """W = identity and b = 0, for a hidden size: what a text PersRM without a value head has."""
    value_head = torch.nn.Linear(size, size).requires_grad_(False)
    value_head.weight.copy_(torch.eye(size))
    value_head.bias.zero_()
    return value_head


def write_value_head(value_head: torch.nn.Linear, folder: Path) -> None:
    """Write W [D, D] and b [D] in float32, under the names of the released checkpoint."""
    tensors = (value_head.weight.detach().float().cpu(), value_head.bias.detach().float().cpu())
    save_file(dict(zip(VALUE_HEAD_KEYS, tensors, strict=True)), folder / VALUE_HEAD_FILES[0])


def read_value_head(folder: Path) -> torch.nn.Linear | None:
    """W and b from value_head.safetensors, value_head.bin, or the model's own shards; None where there are none.

    Raises:
        ModelLoadError: a file does not read.
    """
    tensors: dict[str, torch.Tensor] = {}
    try:
        for file in sorted(folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as opened:
                held = set(opened.keys())
                tensors |= {key: opened.get_tensor(key) for key in VALUE_HEAD_KEYS if key in held}
        for file in [folder / VALUE_HEAD_FILES[1], *sorted(folder.glob("pytorch_model*.bin"))]:
            if len(tensors) < 2 and file.exists():
                loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
                tensors |= {key: loaded[key] for key in VALUE_HEAD_KEYS if key in loaded}
    except Exception as error:
        raise ModelLoadError(f"The value head in {str(folder)!r} does not read: {error}") from error
    if len(tensors) < 2:
        return None
    weight_DD, bias_D = (tensors[key].float() for key in VALUE_HEAD_KEYS)
    value_head = torch.nn.Linear(weight_DD.shape[1], weight_DD.shape[0])
    with torch.no_grad():
        value_head.weight.copy_(weight_DD)
        value_head.bias.copy_(bias_D)
    return value_head.requires_grad_(False)


def local_folder(path: str | Path, *, subfolder: str = "", **kwargs: Any) -> Path:
    """A local folder as it is, a hub id as the folder of its snapshot.

    Args:
        subfolder: where in it the files are.
        kwargs: which snapshot of a hub id: `revision`, `token`, `cache_dir`, `local_files_only`, `force_download`.

    Raises:
        ModelLoadError: neither.
    """
    if absolute(path).is_dir():
        return absolute(path) / subfolder
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        return Path(snapshot_download(str(path), **kwargs)) / subfolder
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        reason = "there is no such folder." if is_path(str(path)) else reason
        raise ModelLoadError(
            f"The PersRM {str(path)!r} is neither a folder nor a hub id that is reachable or cached: {reason} Pass a "
            f"folder with {CONFIG_NAME} (a head), {ADAPTER_CONFIG} (an adapter), or a causal LM and its v_head."
        ) from error
