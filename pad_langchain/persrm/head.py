"""The vector-conditioned head: a PersRM on the base's own hidden state (the paper's R = w_p · φ taken literally).

    g_R = Σ_i weight_i · ( s(e_i) − s(−e_i) )_Q · G_QR   s = √softmax(f), f a small MLP, e the sentence embedding
    q_V = lm_head( h_D + V_DR · ( (U_RD · h_D) ⊙ g_R ) )

The features know nothing of the preference and the gate nothing of the text; preferences add up as vectors. A wording
is read as a mixture of Q prototype gates G, so one that is worded mildly steers as much as one that is worded strongly;
the mixture's weights are of length 1, not of sum 1, so that what is read with doubt is not halved at every doubt.
The gate is odd in e: what is not wanted has the opposite vector and so steers the opposite way.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from pad_langchain.errors import IncompatibleModelError, ModelLoadError

__all__ = ["HeadConfig", "VectorHead"]

CONFIG_NAME = "persrm_head.json"
WEIGHTS_NAME = "persrm_head.safetensors"


@dataclass(frozen=True)
class HeadConfig:
    """Shapes of a head, what it was trained with, and what it recommends.

    Args:
        hidden_size: D of the base it reads.
        vocab_size: V of the base, to refuse another one.
        rank: R, the number of shared features.
        embedding_size: E of the sentence embedder.
        mlp_size: width of f's one hidden layer.
        prototypes: Q, the number of prototype gates that preferences mix.
        embedder: name of the sentence embedder; another one is refused.
        beta, alpha: guidance strength and plausibility cut chosen on a development split.
        calibration: what the head's margins mean to a preference memory (`pad_memory.Calibration.to_dict`), or None.
    """

    hidden_size: int
    vocab_size: int
    rank: int = 64
    embedding_size: int = 384
    mlp_size: int = 256
    prototypes: int = 32
    embedder: str = "all-MiniLM-L6-v2"
    beta: float = 1.0
    alpha: float = 0.0
    calibration: dict[str, dict[str, float]] | None = None
    format_version: int = 1


class VectorHead(nn.Module):
    """Gates over R bilinear features of the base's last hidden state, each preference a mixture of prototypes.

    A new head is the identity (V = 0): its reward is zero for every token and preference.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        self.f = nn.Sequential(
            nn.Linear(config.embedding_size, config.mlp_size),
            nn.GELU(),
            nn.Dropout(0.3),
            nn.Linear(config.mlp_size, config.prototypes),
        )
        self.G_QR = nn.Parameter(torch.randn(config.prototypes, config.rank) / 2)
        # Sentence embeddings are small and share a direction; f learns on what is left after standardising them.
        self.center_E: torch.Tensor
        self.spread_E: torch.Tensor
        self.register_buffer("center_E", torch.zeros(config.embedding_size))
        self.register_buffer("spread_E", torch.full((config.embedding_size,), config.embedding_size**-0.5))
        self.U_RD = nn.Parameter(torch.randn(config.rank, config.hidden_size) / config.hidden_size**0.5)
        self.V_DR = nn.Parameter(torch.zeros(config.hidden_size, config.rank))

    def standardize(self, embeddings_NE: torch.Tensor) -> None:
        """Set the center and spread of f's input to those of the training wordings' embeddings [N, E]."""
        self.center_E.copy_(embeddings_NE.mean(0))
        self.spread_E.copy_(embeddings_NE.std(0).clamp_min(1e-4))

    def gates(self, embeddings_PE: torch.Tensor) -> torch.Tensor:
        """The gate of each preference alone: [P, E] → [P, R]; that of -e is the opposite of that of e."""
        # The root of the softmax; taken like this, its gradient is finite where a share is 0.
        wished_PQ, turned_PQ = ((self.read(sign * embeddings_PE).log_softmax(-1) / 2).exp() for sign in (1, -1))
        return (wished_PQ - turned_PQ) @ self.G_QR

    def read(self, embeddings_PE: torch.Tensor) -> torch.Tensor:
        """The logits of each preference's prototypes: [P, E] → [P, Q]."""
        logits_PQ: torch.Tensor = self.f((embeddings_PE.to(self.U_RD.dtype) - self.center_E) / self.spread_E)
        return logits_PQ

    def gate(
        self, embeddings_PE: torch.Tensor, weights_P: torch.Tensor | Sequence[float] | None = None
    ) -> torch.Tensor:
        """Sum the weighted gates of P preferences: [P, E] → [R]. P = 0 gives zeros, the neutral gate."""
        gates_PR = self.gates(embeddings_PE)
        if weights_P is not None:
            gates_PR = gates_PR * torch.as_tensor(weights_P, dtype=gates_PR.dtype, device=gates_PR.device)[:, None]
        return gates_PR.sum(0)

    def forward(self, hidden_BD: torch.Tensor, gates_BR: torch.Tensor) -> torch.Tensor:
        """Steer hidden states: [B, D] and [B, R] → [B, D], in the head's own dtype (float32 when loaded)."""
        hidden_BD = hidden_BD.to(self.U_RD.dtype)
        return hidden_BD + ((hidden_BD @ self.U_RD.T) * gates_BR) @ self.V_DR.T

    def save_pretrained(self, folder: str | Path, **config_changes: Any) -> None:
        """Write config and weights into `folder`; `config_changes` sets e.g. the recommended beta and alpha."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self.config = replace(self.config, **config_changes)
        tensors = {name: tensor.detach().float().contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / WEIGHTS_NAME)
        (folder / CONFIG_NAME).write_text(json.dumps(asdict(self.config), indent=2) + "\n")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> VectorHead:
        """Read a head saved by `save_pretrained`, in evaluation mode.

        Raises:
            ModelLoadError: a file is missing or unreadable.
            IncompatibleModelError: written by a newer version.
        """
        folder = Path(folder)
        try:
            fields = json.loads((folder / CONFIG_NAME).read_text())
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"No readable {CONFIG_NAME} in {str(folder)!r}: {error}") from error
        if fields.get("format_version", 0) > 1:
            raise IncompatibleModelError(
                f"The head in {str(folder)!r} has format version {fields['format_version']!r}, this package reads 1. "
                "Upgrade pad-langchain."
            )
        head = cls(HeadConfig(**fields))
        try:
            head.load_state_dict(load_file(folder / WEIGHTS_NAME))
        except (OSError, RuntimeError) as error:
            raise ModelLoadError(f"The weights {WEIGHTS_NAME} in {str(folder)!r} do not load: {error}") from error
        return head.eval()

    def check_fits(self, hidden_size: int, vocab_size: int) -> None:
        """Raise IncompatibleModelError unless the head was trained for a base of these sizes."""
        want = (self.config.hidden_size, self.config.vocab_size)
        if want != (hidden_size, vocab_size):
            raise IncompatibleModelError(
                f"This PersRM head was trained for a base with (hidden size, vocabulary) {want}, but the base has "
                f"{(hidden_size, vocab_size)}. Use its own base, or train a head for this one."
            )
