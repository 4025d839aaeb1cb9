"""What scorers read of a model on llama.cpp: hidden states of whole texts, and logits of the vocabulary."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from pad_langchain.engine.llama_cpp.binding import FORKED, Context, Weights
from pad_langchain.engine.llama_cpp.cores import free_cores
from pad_langchain.engine.settings import LlamaSettings
from pad_langchain.errors import EngineClosedError
from pad_langchain.models.gguf import GgufFile

__all__ = ["Reader"]

_PART = 128  # tokens of one call; each has logits, whether they are wanted or not
_LEAST = 512  # tokens that the context holds at first
_ROWS = 8192  # of the output matrix, dequantised at once


class Reader:
    """Reads texts in a context of its own, while an engine on the same weights goes on. Thread-safe."""

    device = torch.device("cpu")
    file: GgufFile
    model: Weights
    settings: LlamaSettings
    context: int
    vocab_size: int
    _after: Any

    def __init__(self) -> None:
        self._reading, self._process = threading.Lock(), os.getpid()
        self._texts: Context | None = None

    def hidden(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Return the last hidden states of whole sequences: token ids [B, T] → [B, T, D] float32.

        Padding has to be on the right.

        Raises:
            EngineMemoryError: there is no memory for the keys and values of a sequence.
            EngineClosedError: the process was forked after the model was loaded.
        """
        if os.getpid() != self._process:
            raise EngineClosedError(FORKED)
        with self._reading:
            rows = [self._read(row) for row in ids_BT.tolist()]
        return torch.from_numpy(np.stack(rows))

    def raw_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Apply the output matrix: hidden states [..., D] → [..., V] float32, before `finish`."""
        rows = [hidden.float() @ part_ND.T for part_ND in self._output()]
        logits, bias_V = torch.cat(rows, dim=-1), self.file.output_bias()
        return logits if bias_V is None else logits + torch.from_numpy(bias_V)

    def finish(self, logits: torch.Tensor) -> torch.Tensor:
        """Apply what the architecture does after its output matrix, such as scaling: [..., V] → [..., V]."""
        return self._after(logits)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits over the vocabulary: hidden states [..., D] → [..., V] float32."""
        return self.finish(self.raw_logits(hidden))

    def vocabulary_features(self, V_DR: torch.Tensor) -> torch.Tensor:
        """Return what each feature of a head adds to each logit: [D, R] → [V, R] float32.

        See `arithmetic.head.vocabulary_features`.
        """
        return torch.cat([part_ND @ V_DR.float() for part_ND in self._output()])

    def _output(self) -> Any:
        """The output matrix, a part of its rows at a time."""
        for start in range(0, self.vocab_size, _ROWS):
            yield torch.from_numpy(self.file.output_rows(np.arange(start, min(start + _ROWS, self.vocab_size))))

    def _read(self, ids: list[int]) -> np.ndarray:
        """The hidden states [T, D] of one sequence."""
        if self._texts is None or self._texts.cells < len(ids):
            self._texts = None  # its memory goes first
            cells = min(max(_LEAST, 1 << (len(ids) - 1).bit_length()), self.context)
            threads = self.settings.threads or free_cores()
            self._texts = Context(
                self.model, replace(self.settings, unified_kv=True), threads, max(cells, len(ids)), _PART
            )
        parts = []
        for start in range(0, len(ids), _PART):
            part = ids[start : start + _PART]
            _, hidden_ND = self._texts.decode(part, range(start, start + len(part)), [0] * len(part))
            parts.append(hidden_ND.copy())
        self._texts.cut(0)
        return np.concatenate(parts)
