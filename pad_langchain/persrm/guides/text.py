"""The guide of a text PersRM: a causal LM that reads the preference in its own prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from pad_langchain.engine.protocol import Base, GuideRows, Plan
from pad_langchain.engine.types import Recommended, Request
from pad_langchain.errors import ContextLengthError, IncompatibleModelError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import PERSRM_TEMPLATE, Prompts, with_preference
from pad_langchain.models.rows import Rows, Section

__all__ = ["ModelGuide"]


class ModelGuide:
    """A causal LM that reads the preference in its own prompt: a text PersRM, or the base itself.

    Each preference is a row with its own prompt and KV cache. On a backbone of the guide's own, all guide rows of the
    batch go through one forward. On the base's backbone they ride in the base's forward, where an adapter acts on them
    alone.

    With an adapter, the reference "reference" is the backbone without it on the same prompt, which takes one more row.
    Without an adapter it is W = identity on the same hidden state, which is all that a checkpoint with a merged adapter
    allows. A guide with neither has only the base as its reference.

    Args:
        backbone: the guide's model, which may be the base's own.
        prompts: the guide's tokenizer and chat template. The vocabulary must be the base's.
        value_head: W and b as a linear map [D, D]. None means the identity.
        adapter: the LoRA that makes the base's backbone the PersRM. None means there is none. `backbone` must be the
            base's.
        template: how a preference is written into the last user turn, with `{preference}` and `{text}`.
        beta, alpha: recommended guidance strength, and plausibility cut in [0, 1].
    """

    def __init__(
        self,
        backbone: Backbone,
        prompts: Prompts,
        value_head: torch.nn.Linear | None = None,
        *,
        adapter: Adapter | None = None,
        template: str = PERSRM_TEMPLATE,
        beta: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        self.kind = "text" if adapter is None else "adapter"
        self.backbone, self.prompts, self.value_head, self.template = backbone, prompts, value_head, template
        self.adapter, self.recommended = adapter, Recommended(beta, alpha)

    def rides(self, base: Base) -> bool:
        """Whether the guide rows go through the base's own forward."""
        return self.backbone.model is base.model

    def shares_tokens(self, base: Base, prompts: Prompts) -> bool:
        """Whether the base's tokens are the guide's own, so that candidates are compared token by token."""
        return self.rides(base) or self.prompts.vocabulary() == prompts.vocabulary()

    def bind(self, base: Base, prompts: Prompts) -> None:
        """Check that the guide fits the base.

        Raises:
            IncompatibleModelError: the vocabularies differ, or the adapter belongs to another backbone.
        """
        if self.rides(base):
            return
        if self.adapter is not None:
            raise IncompatibleModelError(
                "The PersRM is an adapter on another model object than the base. Load it on the engine's own base, or "
                "merge it into its backbone and load that."
            )
        theirs, ours = prompts.vocabulary(), self.prompts.vocabulary()
        if theirs != ours or self.backbone.vocab_size < base.vocab_size:
            differing = sum(theirs.get(token) != index for token, index in ours.items())
            raise IncompatibleModelError(
                f"The PersRM's vocabulary is not the base's: {len(ours)} tokens ({self.backbone.vocab_size} logits) "
                f"against {len(theirs)} ({base.vocab_size} logits), {differing} of them under another id. Use a PersRM "
                "with the base's tokenizer."
            )

    def plan(self, request: Request) -> Plan:
        """Render one prompt per preference, and find out how many new tokens the guide's context leaves.

        Raises:
            InvalidRequestError: the conversation has no user turn that is a text.
            ContextLengthError: a prompt leaves no room for a new token.
        """
        switches = self.prompts.own(request.template_kwargs)
        told = (with_preference(request.messages, wish.text, self.template) for wish in request.preferences)
        prompts = tuple(tuple(self.prompts.render(talk, request.tools, switches)) for talk in told)
        apart = self.adapter is not None and request.reference == "reference"
        weights = tuple(preference.weight for preference in request.preferences)
        return self._planned(weights, prompts, prompts if apart else ())

    def _planned(
        self,
        weights: tuple[float, ...],
        prompts: tuple[tuple[int, ...], ...],
        reference_rows: tuple[tuple[int, ...], ...] = (),
    ) -> Plan:
        """The plan of rows with these weights and prompts, which have to fit the guide's context."""
        longest = max(map(len, prompts))
        room = None if self.backbone.context is None else self.backbone.context - longest
        if room is not None and room < 1:
            raise ContextLengthError(
                f"With a preference written in, the PersRM's prompt has {longest} tokens, but its context is "
                f"{self.backbone.context} and one must be left to write. Shorten the conversation."
            )
        return Plan(weights, prompts, room, longest, reference_rows)

    def start(self, base: Base, plans: Sequence[Plan]) -> GuideRows:
        """Open the rows of these plans. Those that do not ride are prefilled in one forward of the guide."""
        if self.rides(base):
            return _RidingRows(self)
        prompts = [prompt for plan in plans for prompt in plan.rows]
        salts = [plan.salt for plan in plans for _ in plan.rows]
        return _ModelRows(self, Rows(self.backbone, guide=prompts, salts=salts))

    def logits(
        self, own_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the logits of the candidates [G, K] from the guide rows' own hidden states [G, D].

        The second result is the logits of W = identity. None means they are not asked for, or are not the reference.
        """
        value_head = self.value_head
        steered_GD = own_GD if value_head is None else value_head(own_GD.to(value_head.weight.dtype))
        guide_GK = self.backbone.candidate_logits(steered_GD, candidates_GK)
        if value_head is None or self.adapter is not None or not own_reference:
            return guide_GK, None
        return guide_GK, self.backbone.candidate_logits(own_GD, candidates_GK)


class _RidingRows:
    """Rows that ride in the base's forward. The base feeds, merges and keeps them."""

    full: Sequence[bool] = ()

    def __init__(self, guide: ModelGuide) -> None:
        self.guide = guide

    def logits(
        self, hidden_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool, keep_GK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.guide.logits(hidden_GD, candidates_GK, own_reference)

    def added(self, hidden_GD: np.ndarray, candidates_GK: np.ndarray) -> None:
        """Return None, as W acts on hidden states."""

    def advance(self, tokens_GT: torch.Tensor) -> None: ...

    def merge(self, other: _RidingRows) -> None: ...

    def keep(self, rows: Sequence[int]) -> None: ...


class _ModelRows:
    """Rows with a forward of their own."""

    full: Sequence[bool] = ()

    def __init__(self, guide: ModelGuide, rows: Rows) -> None:
        self.guide, self.rows = guide, rows

    def logits(
        self, hidden_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool, keep_GK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.guide.logits(self.rows.hidden(Section.GUIDE), candidates_GK, own_reference)

    def added(self, hidden_GD: np.ndarray, candidates_GK: np.ndarray) -> None:
        """Return None, as W acts on hidden states."""

    def advance(self, tokens_GT: torch.Tensor) -> None:
        self.rows.step(tokens_GT)

    def merge(self, other: _ModelRows) -> None:
        self.rows.merge(other.rows)

    def keep(self, rows: Sequence[int]) -> None:
        self.rows.keep(rows)
