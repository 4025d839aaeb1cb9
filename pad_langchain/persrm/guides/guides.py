"""Where reward logits come from: a head on the base's hidden states, or a model that is told the preference.

A `Guide` is shared and never changes; `start` opens the `GuideRows` of some requests, which then join, step and leave
with the batch. A request has one guide row per preference, or one for its whole condition. Guide rows on the base's own
backbone, with or without an adapter, ride in the base's forward.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from pad_langchain.engine.types import Request
from pad_langchain.errors import ContextLengthError, IncompatibleModelError, InvalidRequestError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone, Rows
from pad_langchain.models.prompts import PERSRM_TEMPLATE, Prompts, with_preference
from pad_langchain.persrm.head import VectorHead
from pad_memory.embedding import embed_wishes

__all__ = ["Embedder", "Guide", "GuideRows", "HeadGuide", "ModelGuide", "Plan"]


class Embedder(Protocol):
    """Texts to unit vectors. `name` must be the one a head was trained with."""

    name: str

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """N texts → [N, E] float32, rows of length 1."""
        ...


@dataclass(frozen=True, eq=False)
class Plan:
    """One request, prepared for a guide in the caller's thread.

    Args:
        weights: the weight of each of its guide rows.
        rows: what the guide needs to start them, one entry a row.
        room: new tokens at most that the guide's own context leaves; None: no limit.
        longest: tokens of the longest prompt among `rows`, if they have KV caches; 0: they have none.
        reference_rows: prompts of one more row for each of `rows`, which the base's model runs plainly: what an
            adapter is compared with where the request's reference is "reference".
    """

    weights: tuple[float, ...]
    rows: tuple[Any, ...]
    room: int | None = None
    longest: int = 0
    reference_rows: tuple[tuple[int, ...], ...] = ()


class GuideRows(Protocol):
    """The guide rows of a batch, G in all, in the order of the batch's rows."""

    def logits(
        self, hidden_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool, keep_GK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits q of the candidates [G, K], and those of the guide's own reference.

        Args:
            hidden_GD: the base's hidden state for each guide row; for a guide that rides in the base's forward, the
                guide row's own.
            own_reference: whether any row asks for `reference="reference"`; None stands for "the same as the base".
            keep_GK: which candidates count; the others' logits are not read.
        """
        ...

    def advance(self, tokens_GT: torch.Tensor) -> None:
        """Append the tokens chosen since the last call, [G, T]: T is 1 unless steps were settled without the guide.

        A call that raises leaves the rows as they were; it may be made again.
        """
        ...

    def merge(self, other: Any) -> None:
        """Append another group's rows below these."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the guide rows of these indices; an index may come twice: its copies go their own ways."""
        ...


class Guide(Protocol):
    """A source of rewards. `beta` and `alpha` are what it recommends."""

    beta: float
    alpha: float

    def bind(self, base: Backbone, prompts: Prompts) -> None:
        """Check, once, that the guide fits the base. Raises IncompatibleModelError."""
        ...

    def plan(self, request: Request) -> Plan:
        """Prepare a request that has preferences; runs in the caller's thread. Raises InvalidRequestError."""
        ...

    def start(self, base: Backbone, plans: Sequence[Plan]) -> GuideRows:
        """Open the rows of these plans (at least one row in all)."""
        ...


class HeadGuide:
    """The vector-conditioned head on the base's own hidden state: no second forward, no second cache.

    Several preferences are one guide row whose gate is their weighted sum; with `combine="max"` they are a row each.
    The head's own backbone is the base, so both references are the same.

    Args:
        head: the PersRM.
        embedder: embeds preferences that come without a vector; its name must be the one in the head's config. None:
            every preference must bring its embedding.
    """

    def __init__(self, head: VectorHead, embedder: Embedder | None = None) -> None:
        self.head = head.eval()
        self.beta, self.alpha = head.config.beta, head.config.alpha
        self.embedder = embedder
        if embedder is not None and embedder.name != head.config.embedder:
            raise IncompatibleModelError(
                f"This PersRM head reads sentence embeddings of {head.config.embedder!r}, but the embedder is "
                f"{embedder.name!r}. Use the head's embedder, or train a head for this one."
            )

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Preference texts → [N, E] by the head's embedder."""
        if self.embedder is None:
            raise InvalidRequestError(
                f"The preferences {list(texts)!r} come without embeddings and the guide has no embedder. Pass "
                f"embedder= (the head "
                f"was trained with {self.head.config.embedder!r}), or set WeightedPreference.embedding."
            )
        return embed_wishes(self.embedder, texts)

    def bind(self, base: Backbone, prompts: Prompts) -> None:
        self.head.check_fits(base.hidden_size, base.vocab_size)
        self.head.to(base.head.weight.device)

    def plan(self, request: Request) -> Plan:
        vectors_PE = self._vectors(request)
        weights = [preference.weight for preference in request.preferences]
        with torch.inference_mode():
            if request.combine == "sum":
                return Plan((1.0,), (self.head.gate(vectors_PE, weights),))
            return Plan(tuple(weights), tuple(self.head.gate(vector_E[None]) for vector_E in vectors_PE))

    def start(self, base: Backbone, plans: Sequence[Plan]) -> _HeadRows:
        return _HeadRows(self.head, base, torch.stack([gate for plan in plans for gate in plan.rows]))

    def _vectors(self, request: Request) -> torch.Tensor:
        missing = [preference.text for preference in request.preferences if preference.embedding is None]
        made = iter(self.embed(missing)) if missing else iter(())
        size = self.head.config.embedding_size
        vectors = []
        for preference in request.preferences:
            vector = np.asarray(next(made) if preference.embedding is None else preference.embedding, dtype=np.float32)
            if vector.shape != (size,) or not np.isfinite(vector).all():
                raise InvalidRequestError(
                    f"The embedding of preference {preference.text!r} has to be {size} finite numbers (from "
                    f"{self.head.config.embedder!r}), but has shape {vector.shape}"
                    f"{'' if np.isfinite(vector).all() else ' and is not finite'}."
                )
            vectors.append(vector)
        return torch.from_numpy(np.stack(vectors)).to(self.head.U_RD.device)


class _HeadRows:
    def __init__(self, head: VectorHead, base: Backbone, gates_GR: torch.Tensor) -> None:
        self.head, self.base, self.gates_GR = head, base, gates_GR

    def logits(
        self, hidden_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool, keep_GK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.base.candidate_logits(self.head(hidden_GD, self.gates_GR), candidates_GK), None

    def advance(self, tokens_GT: torch.Tensor) -> None:
        """Nothing to do: the base's hidden state is all the head reads."""

    def merge(self, other: _HeadRows) -> None:
        self.gates_GR = torch.cat([self.gates_GR, other.gates_GR])

    def keep(self, rows: Sequence[int]) -> None:
        self.gates_GR = self.gates_GR[torch.tensor(rows, device=self.gates_GR.device)]


class ModelGuide:
    """A causal LM that reads the preference in its own prompt: a text PersRM, or the base itself.

    Each preference is a row with its own prompt and KV cache. On a backbone of the guide's own, all guide rows of the
    batch go through one forward; on the base's backbone they ride in the base's, where an adapter acts on them alone.

    The reference "reference" of an adapter is its backbone without it, on the same prompt: one more row. Without an
    adapter it is W = identity on the same hidden state, which is all a checkpoint with its adapter merged in allows.
    A guide with neither has no such reference; the base is its reference.

    Args:
        backbone: the guide's model; it may be the base's own.
        prompts: the guide's tokenizer and chat template; the vocabulary must be the base's.
        value_head: W and b as a linear map [D, D]; None is the identity.
        adapter: makes the PersRM of the base's backbone; needs `backbone` to be the base's.
        template: how a preference is written into the last user turn.
        beta, alpha: recommended guidance strength and plausibility cut.
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
        self.backbone, self.prompts, self.value_head, self.template = backbone, prompts, value_head, template
        self.adapter, self.beta, self.alpha = adapter, beta, alpha

    def rides(self, base: Backbone) -> bool:
        """Whether the guide rows go through the base's own forward."""
        return self.backbone.model is base.model

    def bind(self, base: Backbone, prompts: Prompts) -> None:
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
                f"against "
                f"{len(theirs)} ({base.vocab_size} logits), {differing} of them under another id. Use a PersRM with "
                f"the base's tokenizer."
            )

    def plan(self, request: Request) -> Plan:
        prompts = tuple(
            tuple(self.prompts.render(with_preference(request.messages, preference.text, self.template), request.tools))
            for preference in request.preferences
        )
        longest = max(map(len, prompts))
        room = None if self.backbone.context is None else self.backbone.context - longest
        if room is not None and room < 1:
            raise ContextLengthError(
                f"With a preference written in, the PersRM's prompt has {longest} tokens, but its context is "
                f"{self.backbone.context} and one must be left to write. Shorten the conversation."
            )
        weights = tuple(preference.weight for preference in request.preferences)
        apart = self.adapter is not None and request.reference == "reference"
        return Plan(weights, prompts, room, longest, prompts if apart else ())

    def start(self, base: Backbone, plans: Sequence[Plan]) -> GuideRows:
        if self.rides(base):
            return _RidingRows(self)
        return _ModelRows(self, Rows(self.backbone, [prompt for plan in plans for prompt in plan.rows]))

    def logits(
        self, own_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits of the candidates from the guide rows' own hidden states, and of W = identity."""
        value_head = self.value_head
        steered_GD = own_GD if value_head is None else value_head(own_GD.to(value_head.weight.dtype))
        guide_GK = self.backbone.candidate_logits(steered_GD, candidates_GK)
        if value_head is None or self.adapter is not None or not own_reference:
            return guide_GK, None
        return guide_GK, self.backbone.candidate_logits(own_GD, candidates_GK)


class _RidingRows:
    """Rows that the base's forward runs: it feeds, merges and keeps them."""

    def __init__(self, guide: ModelGuide) -> None:
        self.guide = guide

    def logits(
        self, hidden_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool, keep_GK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.guide.logits(hidden_GD, candidates_GK, own_reference)

    def advance(self, tokens_GT: torch.Tensor) -> None: ...

    def merge(self, other: _RidingRows) -> None: ...

    def keep(self, rows: Sequence[int]) -> None: ...


class _ModelRows:
    """Rows with a forward of their own."""

    def __init__(self, guide: ModelGuide, rows: Rows) -> None:
        self.guide, self.rows = guide, rows

    def logits(
        self, hidden_GD: torch.Tensor, candidates_GK: torch.Tensor, own_reference: bool, keep_GK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        return self.guide.logits(self.rows.hidden(0), candidates_GK, own_reference)

    def advance(self, tokens_GT: torch.Tensor) -> None:
        self.rows.step(tokens_GT)

    def merge(self, other: _ModelRows) -> None:
        self.rows.merge(other.rows)

    def keep(self, rows: Sequence[int]) -> None:
        self.rows.keep(rows)
