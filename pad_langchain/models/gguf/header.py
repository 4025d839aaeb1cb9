"""The header of a GGUF file: its keys and values, and where each tensor is stored.

The `gguf` package takes seconds for the same, as it makes a numpy view per string of the vocabulary. This takes tenths.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from pad_langchain.errors import ModelLoadError

__all__ = ["MAGIC", "Header", "Tensor", "read_header"]

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
_ALIGNMENT = 32  # where a file names no other
_STRING, _ARRAY = 8, 9
_NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a file.

    Args:
        name: its name in the file.
        shape: its shape in numpy's order, with the contiguous axis last.
        kind: its `gguf.GGMLQuantizationType`.
        start: its first byte in the file.
        size: its size in bytes.
    """

    name: str
    shape: tuple[int, ...]
    kind: Any
    start: int
    size: int


@dataclass(frozen=True)
class Header:
    """A file's keys and values, and its tensors by name.

    Args:
        path: the file.
        metadata: the keys and their values: Python's numbers, texts and bools, numpy arrays of numbers, lists of texts.
        tensors: the tensors by name.
        values: the range of bytes of the keys and values, [start, end).
        count: how many keys there are.
    """

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    values: tuple[int, int]
    count: int


def read_header(path: Path) -> Header:
    """Read a file's header.

    Raises:
        ModelLoadError: the file does not exist, is not GGUF, has another version, is cut short, or breaks the format.
    """
    try:
        data = np.memmap(path, mode="r", dtype=np.uint8)
    except (OSError, ValueError) as error:  # ValueError: an empty file
        raise ModelLoadError(f"The GGUF file {str(path)!r} does not open: {error}") from error
    reader = _Reader(path, data)
    try:
        return reader.header()
    except (struct.error, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ModelLoadError(
            f"The GGUF file {str(path)!r} ends or breaks within its header ({data.size:,} bytes are here). "
            "It may have been cut while it was copied: fetch it again."
        ) from error


class _Reader:
    """Reads the file's bytes from front to back."""

    def __init__(self, path: Path, data: np.ndarray) -> None:
        self.path, self.view, self.size = path, memoryview(data.data), data.size
        self.at = 0

    def header(self) -> Header:
        if bytes(self.view[:4]) != MAGIC:
            raise self._refusal(f"begins with {bytes(self.view[:4])!r} and not with {MAGIC!r}, so it is no GGUF file")
        self.at = 4
        (version,) = self._unpack("<I")
        if version not in _VERSIONS:
            swapped = int.from_bytes(version.to_bytes(4, "big"), "little") in _VERSIONS
            what = "is written for big-endian machines" if swapped else f"is of GGUF version {version}"
            raise self._refusal(f"{what}; versions {' and '.join(map(str, _VERSIONS))}, little-endian, are read")
        tensors, keys = self._unpack("<QQ")
        begin = self.at
        metadata = dict(self._pair() for _ in self._counted(keys, 12))
        values = (begin, self.at)
        entries = [self._tensor() for _ in self._counted(tensors, 24)]
        alignment = metadata.get("general.alignment", _ALIGNMENT)
        if not isinstance(alignment, int) or alignment < 1:
            raise self._refusal(f"has an alignment of {alignment!r} bytes")
        start = -(-self.at // alignment) * alignment
        found = {name: self._placed(name, shape, kind, start + offset) for name, shape, kind, offset in entries}
        return Header(self.path, metadata, found, values, keys)

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        found = struct.unpack_from(layout, self.view, self.at)
        self.at += struct.calcsize(layout)
        return found

    def _counted(self, count: int, least: int) -> range:
        """The range of `count` things of at least `least` bytes each, refused if the file has no room for them."""
        if count * least > self.size - self.at:
            raise IndexError
        return range(count)

    def _text(self) -> str:
        (length,) = self._unpack("<Q")
        if length > self.size - self.at:
            raise IndexError
        self.at += length
        return bytes(self.view[self.at - length : self.at]).decode("utf-8", errors="replace")

    def _pair(self) -> tuple[str, Any]:
        key = self._text()
        (kind,) = self._unpack("<I")
        if kind != _ARRAY:
            return key, self._value(kind)
        kind, count = self._unpack("<IQ")
        if kind == _STRING:
            return key, [self._text() for _ in self._counted(count, 8)]
        if kind not in _NUMBERS:
            raise self._refusal(f"has an array of type {kind} under {key!r}, which is none of the format's")
        dtype = np.dtype(_NUMBERS[kind])
        self._counted(count, dtype.itemsize)
        array = np.frombuffer(self.view, dtype, count, self.at)
        self.at += array.nbytes
        return key, array

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._text()
        if kind not in _NUMBERS:
            raise self._refusal(f"has a value of type {kind}, which is none of the format's")
        dtype = np.dtype(_NUMBERS[kind])
        if dtype.itemsize > self.size - self.at:
            raise IndexError
        value = np.frombuffer(self.view, dtype, 1, self.at)[0].item()
        self.at += dtype.itemsize
        return value

    def _tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self._text()
        (axes,) = self._unpack("<I")
        if axes > 4:
            raise self._refusal(f"has a tensor {name!r} of {axes} axes, and 4 are allowed")
        shape = self._unpack(f"<{axes}Q")
        kind, offset = self._unpack("<IQ")
        return name, shape[::-1], kind, offset

    def _placed(self, name: str, shape: tuple[int, ...], kind: int, start: int) -> Tensor:
        from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

        try:
            known = GGMLQuantizationType(kind)
        except ValueError as error:
            raise self._refusal(
                f"stores {name!r} in a way (type {kind}) that the gguf package does not know"
            ) from error
        items, width = GGML_QUANT_SIZES[known]
        if not shape or shape[-1] % items:
            raise self._refusal(f"stores {name!r} of shape {list(shape)} in blocks of {items}, which do not fill a row")
        size = prod(shape) // items * width
        if start + size > self.size:
            raise ModelLoadError(
                f"The GGUF file {str(self.path)!r} is cut: its tensors need {start + size:,} bytes and more, "
                f"{self.size:,} are here. Fetch it again."
            )
        return Tensor(name, shape, known, start, size)

    def _refusal(self, what: str) -> ModelLoadError:
        return ModelLoadError(f"{str(self.path)!r} {what}.")
