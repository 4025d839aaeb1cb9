"""`GgufFile`: a model in one GGUF file, or in several that belong together, opened without loading its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pad_langchain.errors import IncompatibleModelError, ModelLoadError
from pad_langchain.models.gguf.header import MAGIC, Header, Tensor, read_header
from pad_langchain.paths import absolute

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["GgufFile", "find_gguf", "split_names"]

_PART = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf")
_ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")


def find_gguf(place: str | PathLike[str]) -> Path | None:
    """Find the GGUF file that a model's name stands for: the file itself, or the one in a folder without config.json.

    Of a model in several files it is the first, whichever is named. Projectors for images (mmproj-…) are ignored.

    Returns:
        None where the name stands for something else, such as a transformers folder or a hub id.

    Raises:
        ModelLoadError: the folder holds several models, or the file does not exist.
    """
    path = absolute(place)
    if path.is_file():
        return _first(path) if path.suffix.lower() == ".gguf" or _begins_as_gguf(path) else None
    if not path.is_dir():
        if str(place).lower().endswith(".gguf"):
            raise ModelLoadError(f"There is no GGUF file {str(place)!r}. Pass the path of one.")
        return None
    if (path / "config.json").exists():
        return None
    models = {_first(file) for file in path.glob("*.gguf") if not file.name.lower().startswith("mmproj")}
    if len(models) > 1:
        names = ", ".join(sorted(file.name for file in models))
        raise ModelLoadError(f"The folder {str(place)!r} holds several GGUF models: {names}. Pass the path of one.")
    return models.pop() if models else None


class GgufFile:
    """The metadata of a model in a GGUF file, and the rows of its output matrix. Thread-safe.

    Args:
        path: the file. Of a model in several files, any of them.

    Raises:
        ModelLoadError: the file does not exist, is not GGUF, has another version or is cut short, or one of several
            files is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = _first(absolute(path))
        first = read_header(self.path)
        self.parts: tuple[Header, ...] = (first, *map(read_header, _others(self.path, first)))
        self.metadata: Mapping[str, Any] = first.metadata
        self.tensors: dict[str, Tensor] = {}
        self._where: dict[str, Path] = {}
        for part in self.parts:
            self.tensors |= part.tensors
            self._where |= dict.fromkeys(part.tensors, part.path)
        self.architecture = str(self.need("general.architecture", str))
        self.hidden_size: int = self.need(f"{self.architecture}.embedding_length", int)
        length = self.metadata.get(f"{self.architecture}.context_length")
        self.context = length if isinstance(length, int) else None
        if (expected := self.metadata.get("split.tensors.count", len(self.tensors))) != len(self.tensors):
            raise ModelLoadError(
                f"{str(self.path)!r} says it has {expected} tensors, but {len(self.tensors)} are here."
            )

    def need(self, key: str, kind: type) -> Any:
        """Return the value of a key that every model has.

        Raises:
            ModelLoadError: the file lacks the key, or its value is of another type.
        """
        value = self.metadata.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ModelLoadError(
                f"The GGUF file {str(self.path)!r} is no language model: {key!r} is {value!r}, and has to be of type "
                f"{kind.__name__}."
            )
        return value

    def __repr__(self) -> str:
        return f"GgufFile({str(self.path)!r})"

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def vocab_size(self) -> int:
        """V, the number of rows of the output matrix."""
        return self._output.shape[0]

    @property
    def size(self) -> int:
        """The size of all its files in bytes."""
        return sum(part.path.stat().st_size for part in self.parts)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerFast:
        """Its tokenizer, with chat template and special tokens (see `gguf.tokenizer`).

        Raises:
            ModelLoadError: the file has no tokenizer, or one that contradicts itself.
            IncompatibleModelError: the tokenizer is of a kind that cannot be made here.
        """
        from pad_langchain.models.gguf.tokenizer import build_tokenizer

        return build_tokenizer(self)

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids of the tokens that end an answer, by its metadata."""
        named = (self.metadata.get(f"tokenizer.ggml.{name}") for name in _ENDS)
        return frozenset(token for token in named if isinstance(token, int) and 0 <= token < self.vocab_size)

    # ---- the output matrix

    @cached_property
    def _output(self) -> Tensor:
        """output.weight, or the embeddings if they are the same. Shape [V, D]."""
        found = self.tensors.get("output.weight") or self.tensors.get("token_embd.weight")
        if found is None or len(found.shape) != 2 or found.shape[1] != self.hidden_size:
            raise ModelLoadError(
                f"The GGUF file {str(self.path)!r} has no output matrix of {self.hidden_size} columns "
                f"({'no such tensor' if found is None else list(found.shape)})."
            )
        return found

    @cached_property
    def _rows(self) -> np.ndarray:
        """The output matrix as the file stores it, one row of bytes per token: [V, bytes]."""
        return self._bytes(self._output).reshape(self._output.shape[0], -1)

    def _bytes(self, tensor: Tensor) -> np.ndarray:
        where = self._where[tensor.name]
        packed = np.memmap(where, mode="r", dtype=np.uint8, offset=tensor.start, shape=(tensor.size,))
        return packed.view(np.ndarray)  # whose rows are picked in a third of the time

    def floats(self, name: str) -> np.ndarray:
        """Return a tensor, dequantised to float32, in its shape.

        Raises:
            IncompatibleModelError: its quantisation cannot be read here.
        """
        tensor = self.tensors[name]
        return self._floats(self._bytes(tensor).reshape(*tensor.shape[:-1], -1), tensor)

    def _floats(self, packed: np.ndarray, tensor: Tensor) -> np.ndarray:
        from gguf.quants import dequantize

        try:
            return np.asarray(dequantize(packed, tensor.kind), dtype=np.float32)
        except NotImplementedError as error:
            raise IncompatibleModelError(
                f"{tensor.name} of {str(self.path)!r} is stored as {tensor.kind.name}, which the gguf package cannot "
                "read. Use a file that stores it in another way, such as Q6_K or Q8_0."
            ) from error

    def output_rows(self, ids: np.ndarray) -> np.ndarray:
        """Return rows of the output matrix: token ids [n] → [n, D] float32. Only those rows are read.

        Raises:
            IncompatibleModelError: their quantisation cannot be read here.
        """
        return self._floats(np.ascontiguousarray(self._rows[ids]), self._output)

    def close(self) -> None:
        """Give the file's pages back to the system. They are mapped again when rows are asked for."""
        vars(self).pop("_rows", None)

    def output_bias(self) -> np.ndarray | None:
        """Return what is added to the logits, [V] float32. None means nothing."""
        bias = self.tensors.get("output.bias")
        return None if bias is None else self.floats(bias.name)


def _begins_as_gguf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _first(path: Path) -> Path:
    """The first of the files of a model in several."""
    return split_names(path)[0]


def _others(path: Path, first: Header) -> list[Path]:
    """The other files of a model in several."""
    count = int(first.metadata.get("split.count", 1))
    named = split_names(path)
    if count != len(named):
        raise ModelLoadError(
            f"{str(path)!r} is one of {count} files, which have to be named NAME-00001-of-{count:05d}.gguf and so on."
        )
    return named[1:]


def split_names(path: Path) -> list[Path]:
    """Return the files that belong together by their names, in order. A file that is not a part is alone."""
    if (part := _PART.fullmatch(path.name)) is None:
        return [path]
    count = int(part["count"])
    return [path.with_name(f"{part['stem']}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1)]
