"""A head PersRM to train, save and load: the arithmetic of `arithmetic.head` with its weights in a torch module."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pad_langchain.arithmetic import head as arithmetic
from pad_langchain.arithmetic.head_file import (
    CONFIG_NAME,
    FORMAT_VERSION,
    WEIGHTS_NAME,
    HeadConfig,
    NewerFormatError,
    read_config,
    read_weights,
    write_head,
)
from pad_langchain.engine.types import Recommended
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.paths import absolute

__all__ = ["HeadConfig", "VectorHead", "recommended_by"]


class VectorHead(nn.Module):
    """Gates over R bilinear features of the base's last hidden state, each preference a mixture of prototypes.

    A new head is the identity (V = 0): its reward is zero for every token and preference.

    Raises:
        InvalidRequestError: the config recommends what cannot be, its strengths are not Q numbers, 0 or more, or its
            tellings are not Q texts.
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        recommended_by(config)
        _check_by_prototype(config)
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
        self.harm_KR: torch.Tensor
        self.register_buffer("harm_KR", torch.zeros(0, config.rank), persistent=False)  # written where there is one

    @property
    def features_maker(self) -> str | None:
        """Stands for what the head's features mean, the same wherever it is loaded; None where it takes no taste."""
        if self.config.reach is None:
            return None
        mark = hashlib.sha256()
        for tensor in (self.U_RD, self.V_DR, self.harm_KR):
            mark.update(tensor.detach().float().cpu().numpy().tobytes())
        return f"head:{mark.hexdigest()[:32]}"

    @property
    def recommended(self) -> Recommended:
        """What its config recommends."""
        return recommended_by(self.config)

    def standardize(self, embeddings_NE: torch.Tensor) -> None:
        """Set the center and spread of f's input to those of the training wordings' embeddings [N, E]."""
        self.center_E.copy_(embeddings_NE.mean(0))
        self.spread_E.copy_(embeddings_NE.std(0).clamp_min(1e-4))

    def gates(self, embeddings_PE: torch.Tensor, *, by_strength: bool = True) -> torch.Tensor:
        """The gate of each preference alone: [P, E] → [P, R].

        That of -e is the opposite of that of e, where the config has no strengths.

        Args:
            by_strength: whether the config's strengths count. How strongly a wish should steer says nothing of how well
                an answer fits it.
        """
        said = self.config.strengths if by_strength else None
        strength_Q = None if said is None else torch.tensor(said, dtype=self.G_QR.dtype, device=self.G_QR.device)
        return arithmetic.gates(self.read(embeddings_PE), self.read(-embeddings_PE), self.G_QR, strength_Q)

    def read(self, embeddings_PE: torch.Tensor) -> torch.Tensor:
        """The logits of each preference's prototypes: [P, E] → [P, Q]."""
        inner, _, drop, outer = cast("tuple[nn.Linear, nn.GELU, nn.Dropout, nn.Linear]", tuple(self.f))
        return arithmetic.read(
            embeddings_PE.to(self.U_RD.dtype),
            self.center_E,
            self.spread_E,
            (inner.weight, inner.bias),
            (outer.weight, outer.bias),
            drop,
        )

    def tellings(self, embeddings_PE: torch.Tensor) -> list[str | None]:
        """In which words the base is told each of P preferences, [P, E]: see `HeadConfig.tellings`.

        A preference is told in its own words where it is more likely not of the prototype it is nearest to.
        """
        said = self.config.tellings
        if said is None:
            return [None] * len(embeddings_PE)
        shares_P, places_P = self.read(embeddings_PE).softmax(-1).max(-1)
        return [
            said[place] if share > 0.5 else None
            for share, place in zip(shares_P.tolist(), places_P.tolist(), strict=True)
        ]

    def certainty(self, embeddings_PE: torch.Tensor) -> torch.Tensor:
        """How sure the head is that it knows each preference, in [0, 1]: [P, E] → [P].

        It is the share of a preference that f reads as some pole, wished for or turned away. A head that has no
        prototype for none (`HeadConfig.none_pole`) is always sure. One that a strength of 0 keeps from steering is not.
        """
        config = self.config
        steers_Q = torch.ones(config.prototypes, device=embeddings_PE.device)
        if config.strengths is not None:
            steers_Q = (torch.tensor(config.strengths, device=embeddings_PE.device) > 0).float()
        if config.none_pole:
            steers_Q[-1] = 0.0
        wished_P, turned_P = (self.read(rows_PE).softmax(-1) @ steers_Q for rows_PE in (embeddings_PE, -embeddings_PE))
        return torch.maximum(wished_P, turned_P)

    def gate(
        self, embeddings_PE: torch.Tensor, weights_P: torch.Tensor | Sequence[float] | None = None
    ) -> torch.Tensor:
        """Sum the weighted gates of P preferences: [P, E] → [R]. P = 0 gives zeros, the neutral gate."""
        return arithmetic.gate(self.gates(embeddings_PE), weights_P)

    def forward(self, hidden_BD: torch.Tensor, gates_BR: torch.Tensor) -> torch.Tensor:
        """Steer hidden states: [B, D] and [B, R] → [B, D], in the head's own dtype (float32 when loaded)."""
        return arithmetic.steer(hidden_BD.to(self.U_RD.dtype), gates_BR, self.U_RD, self.V_DR)

    def save_pretrained(self, folder: str | Path, **config_changes: Any) -> None:
        """Write config and weights into `folder`; `config_changes` sets e.g. the recommended beta and alpha.

        Raises:
            InvalidRequestError: a change recommends what cannot be, strengths are not Q numbers, 0 or more, or tellings
                are not Q texts.
        """
        config = replace(self.config, **config_changes)
        recommended_by(config)
        _check_by_prototype(config)
        self.config = config
        harm = {"harm_KR": self.harm_KR} if len(self.harm_KR) else {}
        write_head(absolute(folder), self.config, {**self.state_dict(), **harm})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> VectorHead:
        """Read a head saved by `save_pretrained`, in evaluation mode.

        Raises:
            ModelLoadError: a file is missing or unreadable, or a setting is out of its range.
            IncompatibleModelError: written by a newer version.
        """
        folder = absolute(folder)
        try:
            head = cls(read_config(folder))
        except NewerFormatError as error:
            raise IncompatibleModelError(
                f"The head in {str(folder)!r} has format version {error}, this package reads {FORMAT_VERSION}. "
                "Upgrade pad-langchain."
            ) from error
        except (OSError, ValueError) as error:
            raise ModelLoadError(f"No readable {CONFIG_NAME} in {str(folder)!r}: {error}") from error
        try:
            weights = read_weights(folder)
            head.harm_KR = weights.pop("harm_KR", head.harm_KR)
            head.load_state_dict(weights)
        except (OSError, RuntimeError, ValueError) as error:
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


def _check_by_prototype(config: HeadConfig) -> None:
    """Raise InvalidRequestError unless there is a strength and a telling for each prototype, or none at all."""
    _check_each(
        config, "strengths", "numbers, 0 or more", lambda one: type(one) in (int, float) and 0 <= one < math.inf
    )
    _check_each(config, "tellings", "texts or nulls", lambda one: one is None or isinstance(one, str))


def _check_each(config: HeadConfig, name: str, allowed: str, fits: Callable[[Any], bool]) -> None:
    said: Any = getattr(config, name)
    if said is not None and not (isinstance(said, list) and len(said) == config.prototypes and all(map(fits, said))):
        raise InvalidRequestError(
            f"{name} of a head with {config.prototypes} prototypes have to be as many {allowed}, but are {said!r:.200}."
        )


def recommended_by(config: HeadConfig) -> Recommended:
    """Return what a head's config recommends.

    Raises:
        InvalidRequestError: a setting is of another kind or out of its range.
    """
    return Recommended(**{field.name: getattr(config, field.name) for field in fields(Recommended)})
