"""`LlamaBase`: a GGUF model on llama.cpp, as guides and scorers read it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch

from pad_langchain.arithmetic.arrays import Array, tanh, top
from pad_langchain.engine.llama_cpp.binding import Context, Weights
from pad_langchain.engine.llama_cpp.reading import Reader
from pad_langchain.engine.llama_cpp.tokenizer import tokenizer_of
from pad_langchain.engine.llama_cpp.vocabulary import Vocabulary, holds
from pad_langchain.engine.settings import LlamaSettings
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models.gguf import GgufFile

__all__ = ["LlamaBase"]

LONGEST = 8192  # tokens of context where nobody asks for more
_PROBE = 64  # of the likeliest tokens, whose logits have to come out of the output matrix as well
_TOLERANCE = 0.03  # relative; llama.cpp rounds activations to 8 bits where weights are quantised


class LlamaBase(Reader):
    """A model on llama.cpp: its weights, and the rows of its output matrix.

    Args:
        file: the opened GGUF file.
        settings: those of `LlamaSettings`.

    Raises:
        MissingDependencyError: llama.cpp is not installed.
        ModelLoadError: llama.cpp cannot read the file.
        IncompatibleModelError: the model is of a kind that cannot be guided here.
        InvalidRequestError: a setting is out of its range.
    """

    head_device = torch.device("cpu")  # where hidden states and logits are read

    def __init__(self, file: GgufFile, **settings: Any) -> None:
        super().__init__()
        self.file, self.settings = file, LlamaSettings(**settings)
        self.model = Weights(file.path, self.settings.gpu_layers)
        self.hidden_size, self.vocab_size = self.model.hidden_size, self.model.vocab_size
        if (file.hidden_size, file.vocab_size) != (self.hidden_size, self.vocab_size):
            raise IncompatibleModelError(
                f"The output matrix in {str(file.path)!r} is {[file.vocab_size, file.hidden_size]}, but llama.cpp "
                f"makes logits and hidden states of {[self.vocab_size, self.hidden_size]}. Use another model."
            )
        trained = self.model.context or LONGEST
        wanted = self.settings.context_length
        if wanted is not None and wanted > trained:
            raise InvalidRequestError(
                f"context_length has to be at most the {trained} tokens that {str(file.path)!r} was trained with, but "
                f"is {wanted}."
            )
        self.context: int = wanted or min(trained, LONGEST)
        file.close()
        self._after = _After()

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The rows of its output matrix. They take memory from the first use on."""
        rows = self._rows()
        self.file.close()  # most rows are read by now
        return rows

    def _rows(self, *, at_once: bool = True) -> Vocabulary:
        bias_V = self.file.output_bias()
        return Vocabulary(self.file.output_rows, self.vocab_size, self.hidden_size, bias_V, at_once=at_once)

    @cached_property
    def tokenizer(self) -> Any:
        """The file's tokenizer, as llama.cpp reads texts (see `llama_cpp.tokenizer`).

        Raises:
            ModelLoadError: the file has no tokenizer, or one that contradicts itself.
            IncompatibleModelError: the tokenizer is of a kind that cannot be made here.
        """
        return tokenizer_of(self.file, self.model)

    def candidate_logits(self, hidden_BD: Array, candidates_BK: Array) -> Array:
        """Return the logits of K tokens per row: hidden states [B, D] and token ids [B, K] → [B, K] float32.

        Tensors give a tensor, numpy arrays give an array.
        """
        return self._after(self.vocabulary.logits(hidden_BD, candidates_BK))

    def feature_rows(self, V_DR: torch.Tensor) -> Vocabulary | None:
        """Prepare what features of a head add to logits: [D, R] → rows that are multiplied with weights of features.

        Call it after `check_logits`. None means the logits are capped, so that what is added depends on them.
        """
        if self._after.cap is not None:
            return None
        file, scaled_DR = self.file, V_DR.detach().float() * self._after.scale
        small = holds(self.vocab_size, self.hidden_size)  # reading it takes a moment only

        def read(ids: np.ndarray) -> np.ndarray:
            rows_NR = (torch.from_numpy(file.output_rows(ids)) @ scaled_DR).numpy()
            if small:
                file.close()  # all of its pages together are as much memory as what is kept
            return rows_NR

        rows = Vocabulary(read, self.vocab_size, V_DR.shape[1], at_once=small)
        file.close()
        return rows

    def check_logits(self, context: Context) -> None:
        """Compare llama.cpp's logits with the output matrix on a few tokens, and find out what is done after it.

        Raises:
            IncompatibleModelError: no known operation makes them equal.
        """
        ids = np.arange(4) % self.vocab_size
        context.read(ids[:-1].tolist(), range(3), [0] * 3)
        logits, hidden = context.decode([int(ids[-1])], [3], [0])
        theirs_1V, hidden_1D = logits.copy(), hidden.copy()
        context.cut(0)
        theirs_1K, top_1K = top(theirs_1V, min(_PROBE, self.vocab_size))
        ours_1K = self._rows(at_once=False).logits(hidden_1D, top_1K)
        self.file.close()
        errors = {}
        for after in self._known_ways():
            error = np.linalg.norm(theirs_1K - after(ours_1K)) / max(float(np.linalg.norm(theirs_1K)), 1e-6)
            errors[float(error)] = after
        best = min(errors, key=lambda error: error if error == error else float("inf"))
        if not best < _TOLERANCE:  # NaN fails as well
            raise IncompatibleModelError(
                f"The logits of the architecture {self.file.architecture!r} are not its output matrix applied to its "
                f"last hidden state (relative difference {best:.3g}, allowed {_TOLERANCE}). Guidance cannot be "
                "computed for it. Use another model."
            )
        self._after = errors[best]

    def _known_ways(self) -> list[_After]:
        """The operations that architectures apply after the output matrix, with this file's numbers."""
        ways = [_After()]
        name, said = self.file.architecture, self.file.metadata
        if cap := said.get(f"{name}.final_logit_softcapping"):
            ways.append(_After(cap=cap))
        if scale := said.get(f"{name}.logit_scale"):
            ways += [_After(scale), _After(1 / scale)]
        return ways


@dataclass(frozen=True)
class _After:
    """What an architecture does after its output matrix: it scales logits, then caps them softly. None means no cap."""

    scale: float = 1.0
    cap: float | None = None

    def __call__(self, logits: Array) -> Array:
        scaled = logits if self.scale == 1.0 else logits * self.scale
        return scaled if self.cap is None else tanh(scaled / self.cap) * self.cap
