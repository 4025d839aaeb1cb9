"""Weights loaded once in a process: faces with the same models share one pair, so their callers share batches."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.defaults import NAMES, model_folder, reward_folder
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, MissingDependencyError, ModelLoadError
from pad_langchain.models import loading
from pad_langchain.models.fingerprint import fingerprint

if TYPE_CHECKING:
    from pad_langchain.persrm.build import Pair

__all__ = ["context_size", "said", "shared_pair", "unload", "weights"]

LOOK = 0.05  # seconds for which files count as they were: callers that come together look once

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class _Place:
    """Where one pair is kept. Whoever loads it holds its lock, and only callers of the same pair wait for that."""

    model: str
    settings: Mapping[str, Any]  # kept, because objects in them may stand in the key by their address
    lock: threading.Lock = field(default_factory=threading.Lock)
    pair: Pair | None = None
    weights: tuple[str | None, ...] = ()
    looked: float = -math.inf  # when its files were looked at last, seconds of the monotonic clock
    memories: weakref.WeakSet[Any] = field(default_factory=weakref.WeakSet)

    def outdated(self, weights: Sequence[str | None]) -> bool:
        """Whether the pair cannot answer any more: its engine was closed, or its files are others now."""
        if self.pair is None or self.pair.engine.closed:
            return True
        # Files that are gone change nothing: what was loaded from them goes on.
        return any(now not in (None, then) for now, then in zip(weights, self.weights, strict=True))

    def drop(self) -> list[Callable[[], bool]]:
        """Forget the pair, and have memories forget its PersRM; what still decodes ends first.

        Returns:
            what says of each of its models, and of the thread that frees them, whether it is gone.
        """
        pair, self.pair = self.pair, None
        if pair is None:
            return []
        for memory in list(self.memories):
            if pair.persrm is not None and memory.scorer is pair.persrm:
                memory.scorer = None
        models = {backbone.model for backbone in pair.engine.models}
        models |= {pair.persrm.backbone.model} if pair.persrm else set()
        return [*(partial(_is_gone, weakref.ref(model)) for model in models), pair.engine.ended()]


_places: dict[tuple[str, ...], _Place] = {}
_lock = threading.Lock()  # of the dict, held for no time
_loading = threading.Lock()  # transformers sets defaults of the whole process while it loads: one model at a time


def _unlock() -> None:
    """In a forked child: nobody is loading, whoever was in the parent."""
    global _lock, _loading
    _lock, _loading = threading.Lock(), threading.Lock()
    for place in _places.values():
        place.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def context_size(model: str, **settings: Any) -> int | None:
    """Return the context of `model`, a name of ours included, in tokens; None where it is not known without loading.

    Args:
        settings: those that the model is loaded with (see `loading.context_size`).
    """
    try:
        return loading.context_size(model_folder(model), **settings)
    except (MissingDependencyError, ModelLoadError):  # said when it loads
        return None


def weights(model: str, reward_model: str | None, settings: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the fingerprints of the base's and the PersRM's files as they are now.

    None stands for files that are not here, "" for a PersRM that has none of its own.

    Raises:
        InvalidRequestError: the model is not named by a text.
    """
    _check_name(model)
    reward = reward_folder(model, reward_model, settings)
    own = "" if reward is None or reward == "self" else fingerprint(reward)
    return fingerprint(model_folder(model), settings), own


def said(value: Any) -> str:
    """Return a setting, or a mapping of them, as a text that is another for another value.

    >>> said({"revision": "v2", "max_memory": {0: "1GB"}})
    "{'max_memory': {0: '1GB'}, 'revision': 'v2'}"
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{name!r}: {said(each)}" for name, each in value.items())) + "}"
    if isinstance(value, list | tuple):
        return f"{type(value).__name__}({', '.join(map(said, value))})"
    if isinstance(value, set | frozenset):
        return f"{type(value).__name__}({', '.join(sorted(map(said, value)))})"
    if type(value).__repr__ is object.__repr__ and hasattr(value, "__dict__"):  # which would say an address
        return f"{type(value).__qualname__}{said(vars(value))}"
    return repr(value)


def shared_pair(
    model: str,
    reward_model: str | None = "auto",
    *,
    device: str = "auto",
    dtype: str = "auto",
    backend: str = "auto",
    embedder: Any | None = None,
    memory: Any | None = None,
    **settings: Any,
) -> Pair:
    """Load base and PersRM, or return the pair this process has of them already. Blocks for seconds; thread-safe.

    They are loaded anew when their files have changed and when somebody closed the engine. Who asks for a model that
    is loaded does not wait for another one that loads.

    Args:
        model: a folder, a hub id, a GGUF file or the name of a default.
        reward_model: as `reward_folder` takes it.
        device, dtype, backend: as `persrm.build.load_pair` takes them.
        embedder: embeds preferences that come without a vector; a head refuses any but the one it was trained with.
        memory: a memory that the PersRM becomes the scorer of; it is taken out there when the pair is given up.
        settings: the keywords of `load_pair` (`url`, `max_batch_tokens`, `device_map`, …). Engines with other settings
            are other engines, with weights of their own.

    Raises:
        ModelLoadError: a model was not found or could not be read.
        IncompatibleModelError: base, PersRM and embedder do not fit each other.
    """
    _check_name(model)
    reward = reward_folder(model, reward_model, settings)
    place_said = {"device": device, "dtype": dtype, "backend": backend}
    key = (model_folder(model), str(reward), said({**place_said, **settings}))
    with _lock:
        place = _places.setdefault(key, _Place(model, settings))
    with place.lock:
        fresh = time.monotonic() - place.looked < LOOK and place.pair is not None and not place.pair.engine.closed
        now = place.weights if fresh else weights(model, reward_model, settings)
        place.looked = place.looked if fresh else time.monotonic()
        if place.outdated(now):
            if place.drop():
                gc.collect()  # there may be no room for both
            if (reward_model, reward) == ("auto", "self"):
                _say_cost(model)
            place.pair = _load(model, reward, embedder=embedder, **place_said, **settings)
            later = weights(model, reward_model, settings)
            # A folder that somebody writes to meanwhile is read again at the next call; a hub id is fetched by loading.
            is_here = [Path(str(name)).exists() for name in (model_folder(model), reward)]
            place.weights = tuple(a if here else b for here, a, b in zip(is_here, now, later, strict=True))
        if memory is not None:
            place.memories.add(memory)
        pair = place.pair
    assert pair is not None
    head = None if pair.persrm is None else pair.persrm.head
    if head is not None and embedder is not None and embedder.name != head.config.embedder:
        raise IncompatibleModelError(
            f"The PersRM in {reward!r} reads sentence embeddings of {head.config.embedder!r}, but the embedder is "
            f"{embedder.name!r}. Make the memory with the PersRM's embedder."
        )
    return pair


def _say_cost(model: str) -> None:
    logger.info(
        "%s has no PersRM and guides itself: an answer under preferences is two rows, at about half the speed. With "
        "reward_model=None they are only told in the prompt.",
        model,
    )


def unload(model: str | None = None, *, timeout: float = 10.0) -> bool:
    """Give the weights of a model back. What is being answered ends first; the next call loads them anew.

    Args:
        model: as the faces were told it; with all its PersRMs and engine settings. None: all models.
        timeout: seconds to wait for answers that are under way.

    Returns:
        Whether the weights are gone. They are not where an answer takes longer, or where the program itself still has
        an engine or a PersRM in its hands: then they go with the last of these.
    """
    with _lock:
        places = [place for place in _places.values() if model in (None, place.model)]
    gone: list[Callable[[], bool]] = []
    for place in places:
        with place.lock:
            gone += place.drop()
    end, pause = time.monotonic() + timeout, 0.01
    while gc.collect() is not None and not all(each() for each in gone) and time.monotonic() < end:
        time.sleep(pause)
        pause = min(2 * pause, 0.5)
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    _trim()
    return all(each() for each in gone)


def _is_gone(model: weakref.ref[Any]) -> bool:
    return model() is None


def _trim() -> None:
    """Hand freed memory back to the system, where the C library is one that may keep it (glibc's)."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library
        logger.debug("This C library gives freed memory back when it likes.")


def _check_name(model: object) -> None:
    if not isinstance(model, str) or not model:
        raise InvalidRequestError(
            f"model has to be a folder, a GGUF file, a hub id or one of {', '.join(NAMES)}, but is {model!r}."
        )


def _load(model: str, reward: str | None, **settings: Any) -> Pair:
    from pad_langchain.persrm.build import load_pair

    with _loading:
        return load_pair(model_folder(model), reward, **settings)
