"""A base on servers and a head here → an engine."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from pad_langchain.arithmetic.head_file import CONFIG_NAME, WEIGHTS_NAME
from pad_langchain.engine.remote import RemoteBase, RemoteEngine
from pad_langchain.engine.settings import EngineSettings, RemoteSettings, split_settings
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.models.loading import SOURCE, VERSION
from pad_langchain.persrm.files import local_folder
from pad_langchain.persrm.head import VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_memory.embedding import Embedder

__all__ = ["load_remote"]

# Of EngineSettings; the others say how models compute.
_LIMITS = frozenset({"max_batch", "max_queue", "max_batch_tokens"})


def load_remote(
    model: Any,
    reward_model: Any | None,
    url: str | Sequence[str],
    *,
    tokenizer: Any | None = None,
    embedder: Embedder | None = None,
    **keywords: Any,
) -> tuple[RemoteEngine, PersRM | None]:
    """Read a base's tokenizer and a head, and put an engine on servers on them. No server is asked anything yet.

    Args:
        model: what the servers serve: a folder, a hub id or a GGUF file. Its weights are not read.
        reward_model: a head's folder or hub id. None means the base decodes alone.
        url: the address of a server, or of several.
        tokenizer: instead of the model's own. None means that one.
        embedder: embeds preferences. None means the sentence embedder that the head names, loaded when first needed.
        keywords: settings of the connection (`RemoteSettings`), `max_batch`, `max_queue` and `max_batch_tokens` of
            `EngineSettings`, and those that say which files are read and how they are fetched.

    Returns:
        the engine, and the head of its guide as a PersRM that cannot score. It is None where `reward_model` is None.

    Raises:
        InvalidRequestError: an address is none, or a keyword is for models that are loaded here.
        ModelLoadError: files were not found or cannot be read.
        IncompatibleModelError: the PersRM is no head, or does not fit the base.
    """
    limits, connection, others = split_settings(keywords, (EngineSettings, RemoteSettings))
    if no_use := sorted((limits.keys() - _LIMITS) | (others.keys() - SOURCE - VERSION)):
        raise InvalidRequestError(
            f"{no_use!r} are for models that are loaded in this process, but the model is at {url!r}. Leave them out, "
            "and set the like where the server is started."
        )
    if not isinstance(model, str | PathLike):
        raise InvalidRequestError(
            f"With url, model has to name the tokenizer's folder, hub id or GGUF file, but is a {type(model).__name__}."
        )
    base = RemoteBase.load(model, tokenizer, **others)
    if reward_model is None:
        return RemoteEngine(base, url, **limits, **connection), None
    folder = _head_folder(reward_model, others)
    persrm = PersRM(base, base.tokenizer, head=VectorHead.from_pretrained(folder), embedder=embedder)
    fingerprint = hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest()
    return RemoteEngine(base, url, persrm.as_guide(), fingerprint=fingerprint, **limits, **connection), persrm


def _head_folder(reward_model: Any, keywords: Mapping[str, Any]) -> Path:
    """Where a head's files are.

    Raises:
        IncompatibleModelError: it is another PersRM than a head.
    """
    way = (
        "Servers steer by a head: pass its folder (pad-langchain adapt makes one for any base), pass None to tell "
        "preferences in the prompt, or decode in this process (without url)."
    )
    if reward_model == "self":
        raise IncompatibleModelError(f"reward_model='self' needs a second row of the base for each answer. {way}")
    if not isinstance(reward_model, str | PathLike):
        raise IncompatibleModelError(f"With url, reward_model cannot be a {type(reward_model).__name__}. {way}")
    fetching = keywords.keys() & SOURCE - {"proxies"}  # the hub's client takes those from the environment only
    folder = local_folder(str(reward_model), **{name: keywords[name] for name in fetching})
    if not (folder / CONFIG_NAME).exists():
        raise IncompatibleModelError(f"{str(reward_model)!r} is no head: it has no {CONFIG_NAME}. {way}")
    if not (folder / WEIGHTS_NAME).exists():
        raise ModelLoadError(f"The head in {str(folder)!r} has no {WEIGHTS_NAME}. Copy the whole folder.")
    return folder
