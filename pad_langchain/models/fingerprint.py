"""Fingerprints: of the weights that a name stands for now, from its files' stats, and of a tokenizer's tokens."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pad_langchain.models.gguf import split_names

__all__ = ["fingerprint", "of_vocabulary"]

# What loading may read. Logs and optimizer states that a training writes beside them change no answer.
_READ = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".npz", ".json", ".jinja", ".model", ".txt", ".py")


def fingerprint(name: str, settings: Mapping[str, Any] | None = None) -> str | None:
    """Return a hash that changes with a model's files: of their names, sizes and times of change.

    The files are not read. For a hub id it is the commit in the local cache.

    Args:
        name: a folder, a file or a hub id.
        settings: keywords of loading, of which `revision`, `cache_dir` and `subfolder` count. None means none.

    Returns:
        None where this machine has no such files.
    """
    settings = settings or {}
    place, subfolder = Path(name), str(settings.get("subfolder") or "")
    if not place.exists():
        return _commit(name, settings)
    files = sorted(_files(place, subfolder))
    return hashlib.sha256(repr(files).encode()).hexdigest() if files else None


def _files(place: Path, subfolder: str) -> Iterator[tuple[str, int, int]]:
    if place.is_file():
        for part in filter(Path.is_file, split_names(place)):
            found = part.stat()
            yield part.name, found.st_size, found.st_mtime_ns
        return
    for label in {"", subfolder}:
        try:
            for entry in os.scandir(place / label):
                if entry.name.endswith(_READ) and entry.is_file():
                    found = entry.stat()
                    yield os.path.join(label, entry.name), found.st_size, found.st_mtime_ns
        except OSError:  # whoever loads it is told; a file that is being replaced is seen when it is there
            continue


def _commit(name: str, settings: Mapping[str, Any]) -> str | None:
    from huggingface_hub import try_to_load_from_cache

    from pad_langchain.arithmetic.head_file import CONFIG_NAME

    prefix = f"{settings['subfolder']}/" if settings.get("subfolder") else ""
    for config in ("config.json", "adapter_config.json", CONFIG_NAME):
        try:
            found = try_to_load_from_cache(
                name, prefix + config, cache_dir=settings.get("cache_dir"), revision=settings.get("revision")
            )
        except ValueError:  # not a hub id
            return None
        if isinstance(found, str):
            return str(Path(found).parent)
    return None


def of_vocabulary(vocabulary: Mapping[str, int]) -> str:
    """Return a hash of tokens and their ids. A model's own tokenizer and that of its GGUF file have the same."""
    listed = sorted((index, token) for token, index in vocabulary.items())
    return hashlib.sha256(repr(listed).encode()).hexdigest()
