"""Dequantised weights of GGUF files for torch, made once in the user's cache folder and used by every later start.

    <cache>/gguf/<sha256 of the file>-<dtype>/      config.json, *.safetensors, source.json

A folder appears when it is complete. The process that makes one holds its lock, and others wait for it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from safetensors import SafetensorError

from pad_langchain.errors import ModelLoadError
from pad_langchain.models.gguf.hashes import sha256_of
from pad_langchain.paths import cache_folder

if TYPE_CHECKING:
    import torch

    from pad_langchain.models.gguf.file import GgufFile

__all__ = ["Dequantised", "clear_dequantised", "dequantised", "torch_folder"]

_SOURCE = "source.json"
_SPARE = 64 << 20  # bytes that are left free

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dequantised:
    """One model in the cache.

    Args:
        source: the GGUF file that it was made from, as it was named then.
        dtype: the type of its weights, such as "float32".
        size: its size in bytes.
        used: when a start used it last, in Unix seconds.
    """

    folder: Path
    source: str
    dtype: str
    size: int
    used: float


def torch_folder(file: GgufFile, dtype: torch.dtype) -> Path:
    """Return the folder with a file's weights in this type, for transformers to load. The first call makes it.

    Raises:
        IncompatibleModelError: the model cannot be run in torch.
        ModelLoadError: there is no room for the weights, or the folder cannot be written. Nothing is left behind.
    """
    precision = str(dtype).removeprefix("torch.")
    folder = _root() / f"{_content(file)}-{precision}"
    if not (folder / _SOURCE).exists():
        with _said(file, folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{folder}.lock"):
                if not (folder / _SOURCE).exists():
                    _make(file, folder, dtype)
    try:
        (folder / _SOURCE).touch()  # its time says when it was used
    except OSError:
        logger.debug("%s cannot be touched.", folder)
    return folder


def dequantised() -> list[Dequantised]:
    """Return what the cache holds, the last used first."""
    found = []
    for path in _root().glob(f"*/{_SOURCE}"):
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
            size = sum(each.stat().st_size for each in path.parent.iterdir())
            found.append(Dequantised(path.parent, said["source"], said["dtype"], size, path.stat().st_mtime))
        except (OSError, ValueError, KeyError):  # somebody clears it just now
            continue
    return sorted(found, key=lambda one: -one.used)


def clear_dequantised() -> int:
    """Remove all models of the cache and the remains of killed processes. Return how many bytes were freed.

    This waits for a model that is being made. A loaded model goes on, as its weights are mapped or in memory.

    Raises:
        ModelLoadError: a folder cannot be removed.
    """
    freed = 0
    for folder in [each for each in _root().glob("*") if each.is_dir()]:
        key = folder.name.split(".")[0]
        try:
            with FileLock(f"{_root() / key}.lock"):
                if folder.exists():
                    freed += sum(each.stat().st_size for each in folder.rglob("*"))
                    (folder / _SOURCE).unlink(missing_ok=True)  # from here on nobody takes it for complete
                    shutil.rmtree(folder)
        except OSError as error:
            raise ModelLoadError(f"{str(folder)!r} cannot be removed: {error}") from error
    return freed


def _root() -> Path:
    return cache_folder() / "gguf"


def _content(file: GgufFile) -> str:
    """A name that is the same for the same bytes, wherever they are stored."""
    hashes = [sha256_of(part.path) for part in file.parts]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _make(file: GgufFile, folder: Path, dtype: torch.dtype) -> None:
    from pad_langchain.models.gguf.weights import bytes_of, write_checkpoint

    for left in folder.parent.glob(f"{folder.name}.*.partial"):
        shutil.rmtree(left, ignore_errors=True)  # by a process that was killed: we hold the lock
    need, free = bytes_of(file, dtype) + _SPARE, shutil.disk_usage(folder.parent).free
    if free < need:
        raise OSError(f"{need / 1e9:.1f} GB are needed and {free / 1e9:.1f} GB are free")
    logger.info("Dequantising %s to %s in %s, once.", file.path, dtype, folder)
    begun = time.monotonic()
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}.", suffix=".partial"))
    try:
        write_checkpoint(file, partial, dtype)
        said = {"source": str(file.path), "dtype": folder.name.rpartition("-")[2]}
        (partial / _SOURCE).write_text(json.dumps(said), encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)  # one that lost a file
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    logger.info("Dequantised %s in %.1f s.", file.path, time.monotonic() - begun)


@contextmanager
def _said(file: GgufFile, folder: Path) -> Iterator[None]:
    """Turn errors of the disk into errors that say what the user can do."""
    try:
        yield
    except ModelLoadError:
        raise
    except (OSError, SafetensorError) as error:
        raise ModelLoadError(
            f"The weights of {str(file.path)!r} cannot be kept for torch in {str(folder.parent)!r}: {error}. Make room "
            "(pad-langchain cache clear), name another folder in PAD_LANGCHAIN_CACHE, or run the file on llama.cpp, "
            'which keeps nothing: pip install "pad-langchain[llama-cpp]".'
        ) from error
