"""Causal LMs and tokenizers from folders, hub ids or objects, with errors a user can act on."""

from __future__ import annotations

import json
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import InvalidRequestError, MissingDependencyError, ModelLoadError
from pad_langchain.paths import absolute, is_path, model_place

if TYPE_CHECKING:
    import torch

__all__ = [
    "SOURCE",
    "VERSION",
    "attention_of",
    "context_size",
    "load_causal_lm",
    "load_tokenizer",
    "pick_device",
    "pick_dtype",
]

# Packages that loading in these ways needs; not all of them every time.
NEEDS = {"gguf_file": "gguf", "device_map": "accelerate", "quantization_config": "accelerate bitsandbytes"}
# Keywords that say how files are fetched, the same for whatever is loaded …
SOURCE = frozenset({"cache_dir", "force_download", "local_files_only", "proxies", "token"})
# … and which files of one model; its weights and its tokenizer have to come from the same.
VERSION = frozenset({"code_revision", "gguf_file", "revision", "subfolder", "trust_remote_code"})


def pick_device(device: str) -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU.

    Raises:
        InvalidRequestError: torch does not know the device, or has none of that kind.
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


def pick_dtype(dtype: Any, device: torch.device) -> torch.dtype:
    """ "auto" is bfloat16 on CUDA and float32 on the CPU; a name or a torch dtype is taken as it is.

    Raises:
        InvalidRequestError: not a floating-point dtype.
    """
    import torch

    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    picked = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(picked, torch.dtype) or not picked.is_floating_point:
        raise InvalidRequestError(f"dtype has to be 'auto', 'float32', 'bfloat16' or 'float16', but is {dtype!r}.")
    return picked


def load_causal_lm(
    model: Any, tokenizer: Any | None = None, *, device: str = "auto", dtype: Any = "auto", **kwargs: Any
) -> tuple[Any, Any]:
    """A model and its tokenizer; a loaded model is returned as it is and must come with its tokenizer.

    Args:
        kwargs: passed to transformers' `from_pretrained` for the model, and those that say which files (`SOURCE`,
            `VERSION`) for its tokenizer as well. `device_map` (several devices) or `quantization_config` (4 or 8 bits)
            decide where the model goes; `device` then only decides on the dtype.

    Raises:
        ModelLoadError: not found, or not readable.
        MissingDependencyError: a keyword needs a package that is not installed.
        InvalidRequestError: a loaded model without its tokenizer, or with keywords for loading it.
    """
    if not isinstance(model, str) and not hasattr(model, "__fspath__"):
        if tokenizer is None:
            raise InvalidRequestError(
                f"A loaded model ({type(model).__name__}) needs its tokenizer: pass "
                f"tokenizer=AutoTokenizer.from_pretrained(…)."
            )
        if kwargs:
            raise InvalidRequestError(
                f"{sorted(kwargs)!r} are for loading a model, but this {type(model).__name__} is loaded. Pass its "
                "folder or hub id, or load it with them."
            )
        return model, tokenizer
    from transformers import AutoModelForCausalLM

    model = model_place(str(model))
    place = pick_device(device)
    precision = pick_dtype(dtype, place)
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(model, dtype=precision, **kwargs)
    except ImportError as error:
        raise _missing(kwargs, error) from error
    except (OSError, ValueError, KeyError) as error:
        if not kwargs.keys() & NEEDS.keys() or "accelerate" not in str(error):
            raise ModelLoadError(_message("model", model, error)) from error
        raise _missing(kwargs, error) from error
    if place.type != "cpu" and not kwargs.keys() & {"device_map", "quantization_config"}:
        loaded.to(place)
    if tokenizer is None:
        tokenizer = load_tokenizer(model, **{name: kwargs[name] for name in kwargs.keys() & (SOURCE | VERSION)})
    return loaded, tokenizer


def load_tokenizer(path: Any, **kwargs: Any) -> Any:
    """A tokenizer from a folder or hub id.

    Args:
        kwargs: which files, as the model's (`SOURCE`, `VERSION`).

    Raises:
        ModelLoadError: not found, or not readable.
        MissingDependencyError: it needs a package that is not installed.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(model_place(str(path)), **kwargs)
    except ImportError as error:
        raise MissingDependencyError(
            f"The tokenizer {str(path)!r} needs a package that is not installed: {_first_line(error)}"
        ) from error
    except (OSError, ValueError, KeyError) as error:
        raise ModelLoadError(_message("tokenizer", path, error)) from error


def context_size(model: str, **settings: Any) -> int | None:
    """The context of a model in tokens, without loading it: from its folder, or from the hub's local cache.

    Args:
        settings: those that the model is loaded with; `revision`, `subfolder` and `cache_dir` say which files.

    Returns:
        None where it is not known, such as for a hub id that was never downloaded.
    """
    if settings.get("gguf_file"):
        return None  # its config is in the file itself
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


def attention_of(config: Any) -> str | None:
    """How a model with this config computes attention: "sdpa", "eager", "flash_attention_2", …

    transformers takes `attn_implementation` in public and names what came of it nowhere else.
    """
    kind: str | None = attrgetter("_attn_implementation")(config)
    return kind


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
        "LM (config.json, *.safetensors, tokenizer.json), a hub id that is reachable or cached, or a loaded model."
    )
