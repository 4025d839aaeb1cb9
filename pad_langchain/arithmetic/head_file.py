"""A head's folder: its config in `persrm_head.json`, its weights in `persrm_head.safetensors`.

| tensor | shape | what |
|---|---|---|
| center_E, spread_E | [E] | standardise an embedding |
| f.0.weight, f.0.bias | [M, E], [M] | f's inner layer |
| f.3.weight, f.3.bias | [Q, M], [Q] | f's outer layer |
| G_QR | [Q, R] | prototype gates |
| U_RD, V_DR | [R, D], [D, R] | features of a hidden state, and what they add to it |
| harm_KR | [K, R] | orthonormal directions of a gate that bear on harm, which rises along the first; may be missing |

All are float32. `arithmetic.head` says what is computed from them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

__all__ = [
    "CONFIG_NAME",
    "FORMAT_VERSION",
    "WEIGHTS_NAME",
    "HeadConfig",
    "NewerFormatError",
    "read_config",
    "read_weights",
    "write_head",
]

CONFIG_NAME = "persrm_head.json"
WEIGHTS_NAME = "persrm_head.safetensors"
FORMAT_VERSION = 1


class NewerFormatError(ValueError):
    """A newer version wrote the head. The message is its format version."""


@dataclass(frozen=True)
class HeadConfig:
    """Shapes of a head, what it was trained with, and what it recommends.

    Args:
        hidden_size: D of the base it reads.
        vocab_size: V of the base. A base of another size is refused.
        rank: R, the number of shared features.
        embedding_size: E of the sentence embedder.
        mlp_size: M, the width of f's one hidden layer.
        prototypes: Q, the number of prototype gates that preferences mix.
        embedder: name of the sentence embedder. Another one is refused.
        beta, alpha: guidance strength and plausibility cut in [0, 1], chosen on a development split.
        tokenizer: fingerprint of the base's vocabulary (`models.fingerprint.of_vocabulary`). Another vocabulary of the
            same size is refused. None means it is not known.
        calibration: what the head's margins mean to a preference memory (`pad_memory.Calibration.to_dict`). None means
            the memory's defaults.
        signs: whether a memory counts words and signs in an answer (`pad_memory.SignScorer`) instead of asking the head
            about the built-in catalogue. None means it asks the head.
        strengths: how strongly a preference that is read as each of the Q prototypes steers, 0 or more. It multiplies
            beta. None means 1.
        tellings: in which words a base is told a preference that is read as each of the Q prototypes; "" where it is
            not told, None where it is told in its own words. None for all means that.
        none_pole: whether the last prototype stands for no pole, so that the head can tell which preferences it knows.
            None means that every preference is taken for known.
        reach: length of the longest gate that a pole of the catalogue has, which a gate learned from a user's choices
            may have, too. None means that the head takes none.
        top_k, condition_base, wish_place, repetition_penalty, no_repeat_ngram, candidates: what it recommends beside
            beta and alpha (see `engine.types.Recommended`). None means nothing.
    """

    hidden_size: int
    vocab_size: int
    rank: int = 64
    embedding_size: int = 384
    mlp_size: int = 256
    prototypes: int = 32
    embedder: str = "all-MiniLM-L6-v2"
    beta: float = 1.0
    alpha: float = 0.0
    tokenizer: str | None = None
    calibration: dict[str, dict[str, float]] | None = None
    signs: bool | None = None
    strengths: list[float] | None = None
    tellings: list[str | None] | None = None
    none_pole: bool | None = None
    reach: float | None = None
    top_k: int | None = None
    condition_base: bool | None = None
    wish_place: str | None = None
    repetition_penalty: float | None = None
    no_repeat_ngram: int | None = None
    candidates: str | None = None
    format_version: int = FORMAT_VERSION


# Fields that older versions do not know. They are written only where they are set.
_LATER = frozenset(
    {
        "tokenizer",
        "signs",
        "strengths",
        "tellings",
        "none_pole",
        "reach",
        "top_k",
        "condition_base",
        "wish_place",
        "repetition_penalty",
        "no_repeat_ngram",
        "candidates",
    }
)


def read_config(folder: str | Path) -> HeadConfig:
    """Read `persrm_head.json`.

    Raises:
        OSError: there is no such file.
        ValueError: it is not JSON, lacks a field, or has an unknown one.
        NewerFormatError: its format version is above FORMAT_VERSION.
    """
    found = json.loads((Path(folder) / CONFIG_NAME).read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"it has to hold an object, but holds {type(found).__name__}.")
    if (version := found.get("format_version", 0)) > FORMAT_VERSION:
        raise NewerFormatError(version)
    unknown = found.keys() - {field.name for field in fields(HeadConfig)}
    missing = {field.name for field in fields(HeadConfig) if field.default is MISSING} - found.keys()
    if unknown or missing:
        raise ValueError(f"fields {sorted(unknown)} are not known and {sorted(missing)} are missing.")
    return HeadConfig(**found)


def read_weights(folder: str | Path) -> dict[str, torch.Tensor]:
    """Read `persrm_head.safetensors` onto the CPU: name → tensor, as the module's table lists them.

    Raises:
        OSError: there is no such file.
        ValueError: it is not a safetensors file.
    """
    try:
        return load_file(Path(folder) / WEIGHTS_NAME)
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def write_head(folder: str | Path, config: HeadConfig, weights: Mapping[str, torch.Tensor]) -> None:
    """Write config and weights, in float32, into a folder. The folder is made if needed.

    Both are written beside what is there, and take its place when both are whole. (The package has a function for
    this, but this folder imports nothing of it.)
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    partial = {name: folder / f".{name}.{os.getpid()}" for name in (WEIGHTS_NAME, CONFIG_NAME)}
    said = {name: value for name, value in asdict(config).items() if name not in _LATER or value is not None}
    floats = {name: tensor.detach().float().contiguous() for name, tensor in weights.items()}
    try:
        save_file(floats, partial[WEIGHTS_NAME])
        partial[CONFIG_NAME].write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
        for name, path in partial.items():
            path.replace(folder / name)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
