"""`RemoteBase`: what this process knows of a model that runs elsewhere: tokens and sizes, no weights."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from typing import Any

import torch

from pad_langchain.arithmetic.arrays import Array
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.ends import end_tokens
from pad_langchain.models.loading import context_size, load_config, load_tokenizer, open_gguf

__all__ = ["RemoteBase"]


@dataclass(frozen=True)
class _ServedModel:
    """What of a model says how its answers end."""

    generation_config: Any


class RemoteBase:
    """A base without weights. Guides may be bound to it; none can run on it.

    Args:
        name: what it is called in messages.
        tokenizer: its fast tokenizer.
        hidden_size, vocab_size: D and V.
        context: tokens of prompt and answer together that it can hold. None means no limit is known.
        ends: ids of the tokens that end an answer.
    """

    device = head_device = torch.device("cpu")

    def __init__(
        self,
        name: str,
        tokenizer: Any,
        *,
        hidden_size: int,
        vocab_size: int,
        context: int | None,
        ends: frozenset[int],
    ) -> None:
        self.name, self.tokenizer = name, tokenizer
        self.hidden_size, self.vocab_size, self.context, self.end_tokens = hidden_size, vocab_size, context, ends

    @classmethod
    def load(cls, model: str | PathLike[str], tokenizer: Any | None = None, **keywords: Any) -> RemoteBase:
        """Read a model's tokenizer and config.

        Args:
            model: a folder, a hub id or a GGUF file. Of a folder, weights need not be there.
            tokenizer: instead of the model's own. None means that one.
            keywords: which files, as transformers takes them (`models.loading.SOURCE` and `VERSION`).

        Raises:
            ModelLoadError: the files were not found or cannot be read.
        """
        if (file := open_gguf(model, keywords)) is not None:
            tokenizer = file.tokenizer if tokenizer is None else tokenizer
            return cls(
                str(model),
                tokenizer,
                hidden_size=file.hidden_size,
                vocab_size=file.vocab_size,
                context=file.context,
                ends=file.end_tokens | end_tokens(None, tokenizer),
            )
        config, generation = load_config(model, **keywords)
        tokenizer = load_tokenizer(model, **keywords) if tokenizer is None else tokenizer
        return cls(
            str(model),
            tokenizer,
            hidden_size=config.hidden_size,
            vocab_size=config.vocab_size,
            context=context_size(str(model), **keywords),
            ends=end_tokens(_ServedModel(generation), tokenizer),
        )

    @property
    def model(self) -> RemoteBase:
        """Itself, as no other object stands for the model here."""
        return self

    def candidate_logits(self, hidden_BD: Array, candidates_BK: Array) -> Array:
        """Raise, as there is no output matrix here.

        Raises:
            InvalidRequestError: always.
        """
        raise self._absent()

    def hidden(self, ids_BT: torch.Tensor) -> torch.Tensor:
        """Raise, as there are no layers here.

        Raises:
            InvalidRequestError: always.
        """
        raise self._absent()

    def feature_rows(self, V_DR: torch.Tensor) -> None:
        """Return None, as there is no output matrix here."""

    def _absent(self) -> InvalidRequestError:
        return InvalidRequestError(
            f"The weights of {self.name!r} are on a server, so its states cannot be read here. Score answers with a "
            "PersRM whose base is loaded here (PreferenceMemory(scorer=…), or --scorer of the server)."
        )
