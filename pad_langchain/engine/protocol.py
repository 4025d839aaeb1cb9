"""What runs requests and what steers them: `Engine` and `Guide`, as Protocols. Neither torch nor a model at import.

    Engine.submit(Request) → Stream of TokenEvents
    Guide.plan(Request) → Plan      in the caller's thread
    Guide.start(base, plans) → GuideRows: logits(…), advance(…), merge(…), keep(…)      in the engine's thread

Guides here are those of engines that run torch; another engine says in its `Capabilities` which kinds it can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import Self

    import torch

    from pad_langchain.arithmetic.arrays import Array
    from pad_langchain.engine.grammar import GrammarCompiler
    from pad_langchain.engine.settings import EngineSettings
    from pad_langchain.engine.stream import Stream
    from pad_langchain.engine.types import EngineStats, Request
    from pad_langchain.models.adapter import Adapter
    from pad_langchain.models.backbone import Backbone
    from pad_langchain.models.prompts import Prompts

__all__ = ["Base", "Capabilities", "Engine", "Guide", "GuideRows", "Plan"]


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. Whoever uses engines asks here and nowhere else which one it is.

    Args:
        guides: kinds of PersRM it can decode under: "head", "text", "self", "adapter".
        token_rewards: whether its events carry the reward of each token, and candidates with theirs.
        hidden_states: whether the base's hidden states can be had, as training and scoring need them.
        prefixes: whether prompts that begin alike are run once (`EngineStats.reused_tokens` counts them).
    """

    guides: frozenset[str] = frozenset()
    token_rewards: bool = False
    hidden_states: bool = False
    prefixes: bool = False


class Engine(Protocol):
    """Decodes everybody's requests with one model. Thread-safe; it lives until it is closed."""

    @property
    def tokenizer(self) -> Any:
        """The base's fast tokenizer, as transformers has it."""
        ...

    @property
    def prompts(self) -> Prompts:
        """Renders conversations into the base's token ids."""
        ...

    @property
    def settings(self) -> EngineSettings:
        """Its limits."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""
        ...

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that the base can hold; None: no limit known."""
        ...

    @property
    def end_tokens(self) -> frozenset[int]:
        """Token ids that end an answer and are no text."""
        ...

    @property
    def guided(self) -> bool:
        """Whether there is a guide: requests may have preferences."""
        ...

    @property
    def recommended(self) -> tuple[float, float]:
        """(beta, alpha) that the PersRM's config recommends; (1.0, 0.0) without one."""
        ...

    @property
    def grammars(self) -> GrammarCompiler:
        """Compiles grammars for `Request.grammar`; the first use costs up to a second."""
        ...

    @property
    def stats(self) -> EngineStats:
        """What the models did so far."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it takes no more requests."""
        ...

    def submit(self, request: Request) -> Stream:
        """Queue a request and return its stream at once.

        Raises:
            InvalidRequestError: the request cannot run on this engine; ContextLengthError: its prompt is too long.
            EngineBusyError: the queue is full.
            EngineClosedError: the engine was shut down.
        """
        ...

    def count_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt for the base."""
        ...

    def room(self, request: Request) -> int:
        """New tokens that every context has room for, at most max_tokens; raises what `submit` would."""
        ...

    def forget_prefixes(self) -> None:
        """Drop all kept keys and values of prompts. Requests that still run may leave theirs when they end."""
        ...

    def close(self, timeout: float | None = 10.0) -> None:
        """Stop: requests in flight and in the queue end with EngineClosedError. Closing twice is fine.

        Args:
            timeout: seconds to wait for the step that is running.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class Base(Protocol):
    """What guides read of an engine's base. `models.Backbone` is one."""

    @property
    def model(self) -> Any:
        """What makes it the same base."""
        ...

    @property
    def hidden_size(self) -> int:
        """D."""
        ...

    @property
    def vocab_size(self) -> int:
        """V of its logits."""
        ...

    @property
    def context(self) -> int | None:
        """Tokens it can hold; None: no limit known."""
        ...

    @property
    def head_device(self) -> torch.device:
        """Where its hidden states become logits."""
        ...

    def candidate_logits(self, hidden_BD: Array, candidates_BK: Array) -> Array:
        """Logits of K tokens a row, [B, K], float32."""
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
        salt: the request's, which its rows share prefixes under. The engine sets it.
    """

    weights: tuple[float, ...]
    rows: tuple[Any, ...]
    room: int | None = None
    longest: int = 0
    reference_rows: tuple[tuple[int, ...], ...] = ()
    salt: str = ""


class GuideRows(Protocol):
    """The guide rows of a batch, G in all, in the order of the batch's rows."""

    @property
    def full(self) -> Sequence[bool]:
        """Which rows have no room for another token in a context of the guide's own; empty: none of them."""
        ...

    def logits(
        self, hidden_GD: Array, candidates_GK: Array, own_reference: bool, keep_GK: Array
    ) -> tuple[Array, Array | None]:
        """Logits q of the candidates [G, K], and those of the guide's own reference.

        Guides of kinds that an engine on numpy takes ("head", "self") get arrays there and give arrays back.

        Args:
            hidden_GD: the base's hidden state for each guide row; for a guide that rides in the base's forward, the
                guide row's own.
            own_reference: whether any row asks for `reference="reference"`; None stands for "the same as the base".
            keep_GK: which candidates count; the others' logits are not read.
        """
        ...

    def advance(self, tokens_GT: torch.Tensor) -> None:
        """Append the tokens chosen since the last call, [G, T]: T is 1 unless steps were decided without the guide.

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
        kind: where its rewards come from: "head", "text", "adapter", "self", …
        beta, alpha: what it recommends.
        backbone: the model it runs; None: it reads the base's hidden states and runs none.
        adapter: what acts on rows that ride in the base's forward; None: nothing.
    """

    kind: str
    beta: float
    alpha: float

    @property
    def backbone(self) -> Backbone | None: ...

    @property
    def adapter(self) -> Adapter | None: ...

    def rides(self, base: Base) -> bool:
        """Whether its rows go through the base's own forward."""
        ...

    def bind(self, base: Base, prompts: Prompts) -> None:
        """Check, once, that the guide fits the base. Raises IncompatibleModelError."""
        ...

    def plan(self, request: Request) -> Plan:
        """Prepare a request that has preferences; runs in the caller's thread. Raises InvalidRequestError."""
        ...

    def start(self, base: Base, plans: Sequence[Plan]) -> GuideRows:
        """Open the rows of these plans (at least one row in all)."""
        ...
