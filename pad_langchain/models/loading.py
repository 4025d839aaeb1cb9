"""Causal LMs and tokenizers from folders, hub ids or objects, with errors a user can act on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import InvalidRequestError, MissingDependencyError, ModelLoadError
from pad_langchain.models.gguf import GgufFile, find_gguf, torch_folder
from pad_langchain.models.precision import pick_dtype
from pad_langchain.paths import absolute, is_path, model_place

if TYPE_CHECKING:
    import torch

__all__ = [
    "SOURCE",
    "VERSION",
    "context_size",
    "load_causal_lm",
    "load_config",
    "load_tokenizer",
    "open_gguf",
    "pick_device",
]

# Packages that loading in these ways needs; not all of them every time.
NEEDS = {"device_map": "accelerate", "quantization_config": "accelerate bitsandbytes"}
# Keywords that say how files are fetched, the same for whatever is loaded …
SOURCE = frozenset({"cache_dir", "force_download", "local_files_only", "proxies", "token"})
# … and which files of one model; its weights and its tokenizer have to come from the same.
VERSION = frozenset({"code_revision", "gguf_file", "revision", "subfolder", "trust_remote_code"})
# Unless told, transformers asks at the terminal whether a model's own code may run.
_ASK_NOBODY = {"trust_remote_code": False}
# What the hub's client takes of both.
_FETCHING = frozenset({"cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token"})


def pick_device(device: str) -> torch.device:
    """Return a torch device. "auto" is CUDA where there is one, else the CPU.

    Raises:
        InvalidRequestError: torch does not know the device, or the machine has none of that type.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise InvalidRequestError(
            f"device has to be 'auto', 'cpu', 'cuda' or 'cuda:<n>', but is {device!r}."
        ) from error
    if picked.type == "cuda" and not torch.cuda.is_available():
        raise InvalidRequestError(
            f"device is {device!r}, but torch {torch.__version__} finds no CUDA. Use 'cpu' or 'auto'."
        )
    return picked


def load_causal_lm(
    model: Any,
    tokenizer: Any | None = None,
    *,
    device: str = "auto",
    dtype: Any = "auto",
    weights: str | None = None,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """Load a model and its tokenizer. A loaded model is returned as it is.

    A GGUF file is dequantised into the user's cache folder at its first use, and loaded from there.

    Args:
        model: a folder, a hub id, a GGUF file, or a loaded causal LM.
        tokenizer: the tokenizer of a loaded model. None means it is loaded with the model.
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", …
        dtype: "auto", a name such as "bfloat16", or a torch dtype. See `pick_dtype`.
        weights: "int8" for int8 weights on the CPU (see `models.cpu.quantized`). None means weights in `dtype`.
        kwargs: passed to transformers' `from_pretrained` for the model. Those that say which files it has (`SOURCE`,
            `VERSION`) are passed for its tokenizer as well. `device_map` (several devices) and `quantization_config`
            (4 or 8 bits) decide where the model goes. Then `device` only decides the dtype.

    Returns:
        the model and its tokenizer.

    Raises:
        ModelLoadError: the model was not found or cannot be read.
        MissingDependencyError: a keyword needs a package that is not installed.
        InvalidRequestError: a loaded model comes without its tokenizer, or with keywords for loading it.
    """
    if not isinstance(model, str) and not hasattr(model, "__fspath__"):
        _check_loaded(model, tokenizer, kwargs if weights is None else {**kwargs, "weights": weights})
        return model, tokenizer
    place = pick_device(device)
    precision = pick_dtype(dtype, place)
    if weights is not None:
        _check_weights(weights, place, precision, kwargs)
    if (file := open_gguf(model, kwargs)) is not None:
        model, tokenizer = torch_folder(file, precision), file.tokenizer if tokenizer is None else tokenizer
        kwargs = {name: value for name, value in kwargs.items() if name not in SOURCE | VERSION}
    model = model_place(str(model))
    loaded = _from_pretrained(model, dtype=precision, **_ASK_NOBODY | kwargs)
    if place.type != "cpu" and not kwargs.keys() & {"device_map", "quantization_config"}:
        loaded.to(place)
    if weights is not None:
        from pad_langchain.models.cpu.quantized import quantize

        quantize(loaded)
    if tokenizer is None:
        tokenizer = load_tokenizer(model, **{name: kwargs[name] for name in kwargs.keys() & (SOURCE | VERSION)})
    return loaded, tokenizer


def _from_pretrained(model: str, **kwargs: Any) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        return AutoModelForCausalLM.from_pretrained(model, **kwargs)
    except ImportError as error:
        raise _missing(kwargs, error) from error
    except (OSError, ValueError, KeyError) as error:
        if not kwargs.keys() & NEEDS.keys() or "accelerate" not in str(error):
            raise ModelLoadError(_message("model", model, error)) from error
        raise _missing(kwargs, error) from error


def _check_loaded(model: Any, tokenizer: Any | None, keywords: Mapping[str, Any]) -> None:
    """Refuse arguments that do not go with a loaded model."""
    if tokenizer is None:
        raise InvalidRequestError(
            f"A loaded model ({type(model).__name__}) needs its tokenizer: pass "
            f"tokenizer=AutoTokenizer.from_pretrained(…)."
        )
    if keywords:
        raise InvalidRequestError(
            f"{sorted(keywords)!r} are for loading a model, but this {type(model).__name__} is loaded. Pass its "
            "folder or hub id, or load it with them."
        )


def _check_weights(weights: Any, device: torch.device, dtype: torch.dtype, kwargs: dict[str, Any]) -> None:
    """Refuse `weights` that are not possible, before a model loads."""
    import torch

    from pad_langchain.models.cpu.quantized import check_int8

    if weights != "int8":
        raise InvalidRequestError(f"weights has to be 'int8' or None, but is {weights!r}.")
    if device.type != "cpu" or dtype != torch.float32:
        raise InvalidRequestError(
            f"weights='int8' computes in float32 on the CPU, but device is {str(device)!r} and dtype is {dtype}. Use "
            "device='cpu' with dtype 'auto' or 'float32'; on a GPU, pass quantization_config=."
        )
    if both := sorted(kwargs.keys() & {"device_map", "quantization_config"}):
        raise InvalidRequestError(f"weights='int8' cannot be combined with {both!r}. Pass one of them.")
    check_int8()


def load_config(path: Any, **kwargs: Any) -> tuple[Any, Any]:
    """Load the config of a folder's or hub id's language model, without its weights.

    Args:
        path: the folder or hub id.
        kwargs: which files, as for a model (`SOURCE`, `VERSION`).

    Returns:
        the config of the part that writes text, and the generation config, which is None where there is none.

    Raises:
        ModelLoadError: there is no config, or it cannot be read.
    """
    from transformers import AutoConfig, GenerationConfig

    place = model_place(str(path))
    try:
        config = AutoConfig.from_pretrained(place, **_ASK_NOBODY | kwargs).get_text_config()
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelLoadError(_message("config of the model", path, error)) from error
    try:
        return config, GenerationConfig.from_pretrained(place, **kwargs)
    except (OSError, ValueError):
        return config, None


def load_tokenizer(path: Any, **kwargs: Any) -> Any:
    """Load a tokenizer from a folder or hub id.

    Args:
        path: the folder or hub id.
        kwargs: which files, as for a model (`SOURCE`, `VERSION`).

    Raises:
        ModelLoadError: the tokenizer was not found or cannot be read.
        MissingDependencyError: it needs a package that is not installed.
    """
    from transformers import AutoTokenizer

    if (file := open_gguf(path, kwargs)) is not None:
        return file.tokenizer
    try:
        return AutoTokenizer.from_pretrained(model_place(str(path)), **_ASK_NOBODY | kwargs)
    except ImportError as error:
        raise MissingDependencyError(
            f"The tokenizer {str(path)!r} needs a package that is not installed: {_first_line(error)}"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise ModelLoadError(_message("tokenizer", path, error)) from error


def open_gguf(model: Any, keywords: Mapping[str, Any] | None = None) -> GgufFile | None:
    """Open the GGUF file that a model's name stands for.

    Args:
        model: an open `GgufFile`, a file, a folder that holds one, or a folder or hub id of which the keyword
            `gguf_file` names one.
        keywords: those of loading, of which `gguf_file`, `subfolder` and those of fetching count. None means none.

    Returns:
        None where the name stands for something else.

    Raises:
        ModelLoadError: there is no such file, or it is not a model that can be read.
    """
    if isinstance(model, GgufFile) or not isinstance(model, str | PathLike):
        return model if isinstance(model, GgufFile) else None
    said = keywords or {}
    if (name := said.get("gguf_file")) is None:
        path = find_gguf(model)
    elif absolute(model).exists():
        path = find_gguf(absolute(model) / str(said.get("subfolder") or "") / name)
    else:
        path = _fetched(str(model), name, said)
    return None if path is None else GgufFile(path)


def _fetched(model: str, name: str, keywords: Mapping[str, Any]) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    how = {each: keywords[each] for each in keywords.keys() & _FETCHING}
    try:
        return Path(hf_hub_download(model, name, **how))
    except (OSError, ValueError, HfHubHTTPError, HFValidationError) as error:
        raise ModelLoadError(_message("GGUF file", f"{model}/{name}", error)) from error


def context_size(model: str, **settings: Any) -> int | None:
    """Return the context of a model in tokens, without loading it.

    Args:
        model: a folder, a file, or a hub id in the local cache.
        settings: those that the model is loaded with, of which `revision`, `subfolder` and `cache_dir` count.

    Returns:
        None where it is not known, such as for a hub id that was never downloaded.
    """
    if settings.get("gguf_file") and not absolute(model).exists():
        return None  # its config is in a file that may not be here
    if (file := open_gguf(model, settings)) is not None:
        return file.context
    name = "/".join(filter(None, (settings.get("subfolder"), "config.json")))
    config = absolute(model) / name
    if not config.is_file():
        from huggingface_hub import try_to_load_from_cache

        try:
            cached = try_to_load_from_cache(model, name, settings.get("cache_dir"), settings.get("revision"))
        except ValueError:  # not a hub id
            return None
        if not isinstance(cached, str):
            return None
        config = Path(cached)
    known = json.loads(config.read_text(encoding="utf-8"))
    # Models that read images, too, keep their language model's settings apart.
    size = known.get("max_position_embeddings", known.get("text_config", {}).get("max_position_embeddings"))
    return size if isinstance(size, int) else None


def _missing(kwargs: dict[str, Any], error: Exception) -> MissingDependencyError:
    wanted = [name for name in NEEDS if name in kwargs]
    packages = NEEDS[wanted[-1]] if wanted else "accelerate"
    return MissingDependencyError(
        f"Loading the model with {sorted(kwargs)!r} needs a package that is not installed: {_first_line(error)} Run "
        f"pip install {packages}."
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _message(what: str, path: Any, error: Exception) -> str:
    gone = is_path(str(path)) and not absolute(path).exists()
    reason = "there is no such folder." if gone else _first_line(error)
    return (
        f"The {what} {str(path)!r} does not load: {reason} Pass the folder of a saved transformers causal "
        "LM (config.json, *.safetensors, tokenizer.json), a GGUF file, a hub id that is reachable or cached, or a "
        "loaded model."
    )
