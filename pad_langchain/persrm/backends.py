"""Which engine runs a model: llama.cpp for GGUF files where its binding is installed, torch for everything else."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, Literal

from pad_langchain.arithmetic.head_file import CONFIG_NAME
from pad_langchain.engine import checks
from pad_langchain.engine.settings import EngineSettings, split_settings
from pad_langchain.errors import InvalidRequestError, MissingDependencyError
from pad_langchain.models.gguf import GgufFile
from pad_langchain.models.loading import SOURCE, VERSION
from pad_langchain.paths import absolute

__all__ = ["BACKENDS", "Backend", "Choice", "choose"]

Backend = Literal["auto", "torch", "llama.cpp"]
BACKENDS: tuple[str, ...] = ("auto", "torch", "llama.cpp")
INSTALL = 'pip install "pad-langchain[llama-cpp]"'
# Of EngineSettings; the others say how torch computes.
_OF_BOTH = frozenset({"max_batch", "max_queue", "max_batch_tokens", "prefix_tokens"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """What runs a model, and the keywords of loading by who obeys them.

    Args:
        backend: "torch" or "llama.cpp".
        engine: of `EngineSettings`. llama: of `LlamaSettings`. model: those of transformers.
    """

    backend: str
    engine: dict[str, Any]
    llama: dict[str, Any]
    model: dict[str, Any]


def choose(
    backend: str,
    model: Any,
    file: GgufFile | None,
    reward_model: Any,
    keywords: Mapping[str, Any],
    *,
    device: str = "auto",
    dtype: Any = "auto",
) -> Choice:
    """Choose the engine, and say in the log which it is and why.

    Args:
        backend: "auto", or what is asked for.
        model: as it was named, or a loaded one.
        file: the GGUF file that it stands for, if it does.
        reward_model: as `load_pair` takes it.
        keywords: `load_pair`'s others.
        device, dtype: "auto", or what is asked for.

    Raises:
        InvalidRequestError: the backend cannot run this model or PersRM, or does not know a setting.
        MissingDependencyError: llama.cpp is asked for, and its binding is not installed.
    """
    checks.choice(*BACKENDS)("backend", backend)
    engine, llama, others = split_settings(keywords)
    wants_torch = _wants_torch({"device": device, "dtype": dtype, **engine}, others, reward_model)
    if file is None:
        picked, why = "torch", "it is no GGUF file"
    elif backend != "auto":
        picked, why = backend, f"backend={backend!r}"
    elif wants_torch:
        picked, why = "torch", wants_torch
    elif not _has_binding():
        picked, why = "torch", f"no binding of llama.cpp is installed ({INSTALL})"
    else:
        picked, why = "llama.cpp", "it is a GGUF file, and the binding is installed"
    if backend == "llama.cpp":
        if file is None:
            raise InvalidRequestError(
                f"backend='llama.cpp' runs GGUF files, but the model is {_shown(model)}. Pass a GGUF file, or leave "
                "backend at 'auto'."
            )
        if wants_torch:
            raise InvalidRequestError(f"backend='llama.cpp' cannot be: {wants_torch}. Leave that out, or use 'torch'.")
        if not _has_binding():
            raise MissingDependencyError(f"backend='llama.cpp' needs a binding of llama.cpp. Run {INSTALL}.")
    if picked == "torch" and llama:
        raise InvalidRequestError(
            f"{sorted(llama)!r} are settings of llama.cpp, but {_shown(model)} runs in torch: {why}. Leave them out."
        )
    logger.info("%s runs on %s: %s.", _shown(model), picked, why)
    return Choice(picked, engine, llama, others)


def _wants_torch(told: Mapping[str, Any], others: Mapping[str, Any], reward_model: Any) -> str:
    """Why llama.cpp cannot do what is asked for, as the end of a sentence; "": it can."""
    defaults = {field.name: (field.default,) for field in fields(EngineSettings) if field.name not in _OF_BOTH}
    allowed: dict[str, tuple[Any, ...]] = {"device": ("auto", "cpu"), "dtype": ("auto",), **defaults}
    for name, value in told.items():
        if name in allowed and value not in allowed[name]:
            return f"{name}={value!r} is a setting of torch"
    if names := sorted(others.keys() - SOURCE - VERSION):
        return f"{names!r} are keywords of transformers"
    if isinstance(reward_model, str | PathLike):
        folder = absolute(reward_model)
        if folder.is_dir() and not (folder / CONFIG_NAME).exists():
            return f"{str(reward_model)!r} is a text PersRM, which torch runs"
    elif getattr(reward_model, "kind", "") == "text":
        return "it is steered by a text PersRM, which torch runs"
    return ""


def _has_binding() -> bool:
    return importlib.util.find_spec("llama_cpp") is not None


def _shown(model: Any) -> str:
    return repr(str(model)) if isinstance(model, str | PathLike) else f"a loaded {type(model).__name__}"
