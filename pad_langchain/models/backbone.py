"""A causal LM as engines use it: hidden states, and logits from them."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch

from pad_langchain.arithmetic.head import vocabulary_features
from pad_langchain.errors import IncompatibleModelError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.compiled import DecodeGraph
from pad_langchain.models.cpu.lean import lean_decoder
from pad_langchain.models.kv.prefixes import PrefixStore

__all__ = ["Backbone", "Tally"]


@dataclass
class Tally:
    """What a model has done: forwards, and prompt tokens that were run or taken from the prefix store."""

    forwards: int = 0
    prefilled: int = 0
    reused: int = 0


class Backbone:
    """A loaded causal LM split in two: the decoder (tokens → hidden states) and the head (hidden states → logits).

    Args:
        model: a transformers causal LM. It is put into evaluation mode.

    Raises:
        IncompatibleModelError: the model's logits are not its head applied to its last hidden state, or it keeps a
            state that single rows cannot leave (linear attention).
    """

    def __init__(self, model: Any) -> None:
        self.model = model.eval()
        self.decoder = lean_decoder(model)
        self.head = model.get_output_embeddings()
        config = model.config.get_text_config()
        self.prefixes, self.tally = PrefixStore(), Tally()
        self.graph: DecodeGraph | None = None  # runs the decode steps of the rows, if an engine says so
        self.hidden_size: int = config.hidden_size
        self.vocab_size: int = self.head.weight.shape[0]
        # None where the architecture has no limit of its own
        self.context: int | None = getattr(config, "max_position_embeddings", None)
        self._scale = (getattr(config, "logit_scale", None) or 1.0) / (getattr(config, "logits_scaling", None) or 1.0)
        self._cap: float | None = getattr(config, "final_logit_softcapping", None)
        if any("linear" in kind or "mamba" in kind for kind in getattr(config, "layer_types", None) or ()):
            raise IncompatibleModelError(
                f"{type(model).__name__} has linear-attention layers ({sorted(set(config.layer_types))}), whose state "
                "cannot be batched row by row here. Use a model with attention layers only."
            )
        self._check_head()

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "graph": None}  # compiled for these very buffers; a copy's engine makes its own

    @property
    def device(self) -> torch.device:
        """The device that takes token ids."""
        return self.model.get_input_embeddings().weight.device

    @property
    def head_dtype(self) -> torch.dtype:
        """The dtype of the head's input: the head's own, or the model's if the head is int8."""
        dtype: torch.dtype = self.head.weight.dtype
        return dtype if dtype.is_floating_point else self.model.dtype

    @property
    def head_device(self) -> torch.device:
        """The device on which hidden states become logits."""
        return self.head.weight.device

    def at_head(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return hidden states on the head's device, which may differ in a model spread over several devices."""
        return hidden.to(self.head_device)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the logits over the vocabulary: hidden states [..., D] → [..., V] float32."""
        return self.finish(self.raw_logits(hidden))

    def raw_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Return the head's output before `finish`: hidden states [..., D] → [..., V] float32."""
        return self.head(self.at_head(hidden).to(self.head_dtype)).float()

    def vocabulary_features(self, V_DR: torch.Tensor) -> torch.Tensor:
        """Return what each feature of a head adds to each logit: [D, R] → [V, R] float32.

        See `arithmetic.head.vocabulary_features`.
        """
        return vocabulary_features(self.head_rows(), V_DR)

    def feature_rows(self, V_DR: torch.Tensor) -> None:
        """Return None: a head steers the hidden state, and `candidate_logits` reads the same rows for all."""

    def candidate_logits(self, hidden_BD: torch.Tensor, candidates_BK: torch.Tensor) -> torch.Tensor:
        """Return the logits of K tokens per row: hidden states [B, D] and token ids [B, K] → [B, K] float32.

        Only those rows of the head are read. The result is float32 whatever the weights are.
        """
        rows_BKD = self.head_rows(candidates_BK)
        logits_BK = torch.bmm(rows_BKD, hidden_BD.float()[:, :, None])[:, :, 0]
        if self.head.bias is not None:
            logits_BK = logits_BK + self.head.bias[candidates_BK].float()
        return self.finish(logits_BK)

    def head_rows(self, tokens: torch.Tensor | slice = slice(None)) -> torch.Tensor:
        """Return the head's rows for tokens, [..., D] float32. int8 weights are multiplied by their scales."""
        rows, scale_V = self.head.weight.detach()[tokens].float(), getattr(self.head, "scale_O", None)
        return rows if scale_V is None else rows * scale_V[tokens][..., None]

    def hidden(
        self, ids_BT: torch.Tensor, mask_BT: torch.Tensor | None = None, adapter: Adapter | None = None
    ) -> torch.Tensor:
        """Return the last hidden states of whole sequences, without a cache: [B, T] → [B, T, D]. Thread-safe.

        Args:
            ids_BT: token ids, padded on the right.
            mask_BT: 1 for tokens, 0 for padding. None means there is no padding.
            adapter: acts on all rows. None means nothing does.
        """
        with adapter.on() if adapter is not None else nullcontext():
            return self.decoder(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False).last_hidden_state

    def finish(self, logits: torch.Tensor) -> torch.Tensor:
        """Apply what the architecture does after its head: scaling or soft-capping, for most nothing. [..., V]."""
        logits = logits * self._scale if self._scale != 1.0 else logits
        return torch.tanh(logits / self._cap) * self._cap if self._cap else logits

    @torch.inference_mode()
    def _check_head(self) -> None:
        """Compare our logits with the model's own on four tokens, as architectures differ in what follows the head."""
        ids_BT = torch.arange(4, device=self.device)[None] % self.vocab_size
        theirs_V = self.model(input_ids=ids_BT, use_cache=False).logits[0, -1].float()
        ours_V = self.logits(self.hidden(ids_BT)[0, -1])
        error = float((theirs_V.to(ours_V.device) - ours_V).norm() / theirs_V.norm().clamp_min(1e-6))
        if not error < 0.02:  # NaN fails as well
            raise IncompatibleModelError(
                f"The logits of {type(self.model).__name__} are not its output embedding applied to its last hidden "
                f"state (relative difference {error:.3g}, allowed 0.02). Guidance cannot be computed for this "
                "architecture."
            )
