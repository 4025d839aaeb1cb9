"""Causal LMs and tokenizers from folders, hub ids or objects, with errors a user can act on."""

from __future__ import annotations

import json
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import InvalidRequestError, MissingDependencyError, ModelLoadError
from pad_langchain.models.precision import pick_dtype
from pad_langchain.paths import absolute, is_path, model_place

if TYPE_CHECKING:
    import torch

__all__ = [
    "SOURCE",
    "VERSION",
    "attention_of",
    "context_size",
    "has_windows",
    "load_causal_lm",
    "load_tokenizer",
    "pick_device",
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


def load_causal_lm(
    model: Any,
    tokenizer: Any | None = None,
    *,
    device: str = "auto",
    dtype: Any = "auto",
    weights: str | None = None,
    **kwargs: Any,
) -> tuple[Any, Any]:
    """A model and its tokenizer; a loaded model is returned as it is and must come with its tokenizer.

    Args:
        weights: "int8" for int8 weights on the CPU (see `models.quantized`); None: in `dtype`.
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
        if given := sorted([*kwargs, *(["weights"] if weights is not None else [])]):
            raise InvalidRequestError(
                f"{given!r} are for loading a model, but this {type(model).__name__} is loaded. Pass its "
                "folder or hub id, or load it with them."
            )
        return model, tokenizer
    from transformers import AutoModelForCausalLM

    from pad_langchain.models.quantized import quantize

    model = model_place(str(model))
    place = pick_device(device)
    precision = pick_dtype(dtype, place)
    if weights is not None:
        _check_weights(weights, place, precision, kwargs)
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
    if weights is not None:
        quantize(loaded)
    if tokenizer is None:
        tokenizer = load_tokenizer(model, **{name: kwargs[name] for name in kwargs.keys() & (SOURCE | VERSION)})
    return loaded, tokenizer


def _check_weights(weights: Any, device: torch.device, dtype: torch.dtype, kwargs: dict[str, Any]) -> None:
    """Refuse `weights` that cannot be, before a model loads."""
    import torch

    from pad_langchain.models.quantized import check_int8

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


def has_windows(config: Any) -> bool:
    """Whether a model with this config has attention that does not see all that was before."""
    kinds = getattr(config, "layer_types", None)
    return any(kind != "full_attention" for kind in kinds) if kinds else bool(getattr(config, "sliding_window", None))


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
