"""Weights loaded once in a process: faces with the same models share one pair, so their callers share batches."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from pad_langchain.defaults import DEMO_MODEL, model_folder, reward_folder
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models import loading

if TYPE_CHECKING:
    from pad_langchain.persrm.build import Pair

__all__ = ["context_size", "shared_pair"]

_pairs: dict[tuple[str, ...], Pair] = {}
_lock = threading.Lock()


def _unlock() -> None:
    """In a forked child: nobody is loading, whoever was in the parent."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def context_size(model: str) -> int | None:
    """Return the context of `model`, a name of ours included, in tokens; None where it is not known without loading."""
    return loading.context_size(model_folder(model))


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
