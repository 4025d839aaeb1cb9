"""Weights loaded once in a process: faces with the same models share one pair, so their callers share batches."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.defaults import DEMO_MODEL, model_folder, reward_folder
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError

if TYPE_CHECKING:
    from pad_langchain.persrm.build import Pair

__all__ = ["context_size", "shared_pair"]

_pairs: dict[tuple[str, ...], Pair] = {}
_lock = threading.Lock()


def context_size(model: str, **settings: Any) -> int | None:
    """Return the context of a model in tokens without loading it: from its folder, or from the hub's local cache.

    Args:
        settings: those that the model is loaded with; `revision`, `subfolder` and `cache_dir` say which files.

    Returns:
        None where it is not known, such as for a hub id that was never downloaded.
    """
    if settings.get("gguf_file"):
        return None  # its config is in the file itself
    name = "/".join(filter(None, (settings.get("subfolder"), "config.json")))
    config = Path(model_folder(model)) / name
    if not config.is_file():
        from huggingface_hub import try_to_load_from_cache

        try:
            cached = try_to_load_from_cache(model, name, settings.get("cache_dir"), settings.get("revision"))
        except ValueError:  # not a hub id
            return None
        if not isinstance(cached, str):
            return None
        config = Path(cached)
    settings = json.loads(config.read_text())
    # Models that read images, too, keep their language model's settings apart.
    size = settings.get("max_position_embeddings", settings.get("text_config", {}).get("max_position_embeddings"))
    return size if isinstance(size, int) else None


def shared_pair(
    model: str,
    reward_model: str | None = "auto",
    *,
    device: str = "auto",
    dtype: str = "auto",
    embedder: Any | None = None,
    **settings: Any,
) -> Pair:
    """Load base and PersRM, or return the pair this process has of them already. Blocks for seconds; thread-safe.

    Args:
        model: a folder, a hub id or `pad-demo`.
        reward_model: a folder, a hub id, "auto" (the demo's for the demo) or None.
        device, dtype: as `persrm.build.load_pair` takes them.
        embedder: embeds preferences that come without a vector; a head refuses any but the one it was trained with.
        settings: the keywords of `load_pair` (`max_batch_tokens`, `device_map`, …). Engines with other settings are
            other engines, with weights of their own.

    Raises:
        ModelLoadError: a model was not found or could not be read.
        IncompatibleModelError: base, PersRM and embedder do not fit each other.
    """
    if not isinstance(model, str) or not model:
        raise InvalidRequestError(f"model has to be a folder, a hub id or {DEMO_MODEL!r}, but is {model!r}.")
    reward = reward_folder(model, reward_model)
    key = (model, str(reward), device, dtype, *(f"{name}={settings[name]!r}" for name in sorted(settings)))
    with _lock:
        pair = _pairs.get(key)
        if pair is None:
            from pad_langchain.persrm.build import load_pair

            pair = load_pair(model_folder(model), reward, device=device, dtype=dtype, embedder=embedder, **settings)
            _pairs[key] = pair
    head = None if pair.persrm is None else pair.persrm.head
    if head is not None and embedder is not None and embedder.name != head.config.embedder:
        raise IncompatibleModelError(
            f"The PersRM in {reward!r} reads sentence embeddings of {head.config.embedder!r}, but the embedder is "
            f"{embedder.name!r}. Make the memory with the PersRM's embedder."
        )
    return pair
