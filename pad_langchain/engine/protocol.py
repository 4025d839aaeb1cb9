"""What an engine runs on: a guide, and what it is asked for. Both are Protocols; neither torch nor a model at import.

Engine.submit(Request) → Stream of TokenEvents
Guide.plan(Request) → Plan      in the caller's thread
Guide.start(base, plans) → GuideRows: logits(…), advance(…), merge(…), keep(…)      in the engine's thread
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from pad_langchain.engine.grammar import GrammarCompiler
    from pad_langchain.engine.stream import Stream
    from pad_langchain.engine.types import Request
    from pad_langchain.models.adapter import Adapter
    from pad_langchain.models.backbone import Backbone
    from pad_langchain.models.prompts import Prompts

__all__ = ["Engine", "Guide", "GuideRows", "Plan"]


class Engine(Protocol):
    """Decodes everybody's requests with one model. Thread-safe; it lives until it is closed."""

    @property
    def tokenizer(self) -> Any: ...

    @property
    def prompts(self) -> Prompts: ...

    @property
    def context(self) -> int | None: ...

    @property
    def end_tokens(self) -> frozenset[int]: ...

    @property
    def guided(self) -> bool: ...

    @property
    def recommended(self) -> tuple[float, float]: ...

    @property
    def grammars(self) -> GrammarCompiler: ...

    def submit(self, request: Request) -> Stream: ...

    def forget_prefixes(self) -> None: ...


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

    @property
    def full(self) -> Sequence[bool]:
        """Which rows have no room for another token in a context of the guide's own; empty: none of them."""
        ...

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
    """A source of rewards; shared between requests, and never changed by them.

    A request has one guide row per preference, or one for its whole condition. Guide rows on the base's own backbone,
    with or without an adapter, ride in the base's forward.

    Args:
        beta, alpha: what it recommends.
        backbone: the model it runs; None: it reads the base's hidden states and runs none.
        adapter: what acts on rows that ride in the base's forward; None: nothing.
    """

    beta: float
    alpha: float

    @property
    def backbone(self) -> Backbone | None: ...

    @property
    def adapter(self) -> Adapter | None: ...

    def rides(self, base: Backbone) -> bool:
        """Whether its rows go through the base's own forward."""
        ...

    def bind(self, base: Backbone, prompts: Prompts) -> None:
        """Check, once, that the guide fits the base. Raises IncompatibleModelError."""
        ...

    def plan(self, request: Request) -> Plan:
        """Prepare a request that has preferences; runs in the caller's thread. Raises InvalidRequestError."""
        ...

    def start(self, base: Backbone, plans: Sequence[Plan]) -> GuideRows:
        """Open the rows of these plans (at least one row in all)."""
        ...
