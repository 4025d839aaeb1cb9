"""What runs requests and what steers them: `Engine` and `Guide`, as Protocols. Importing this loads no torch.

    Engine.submit(Request) → Stream of TokenEvents
    Guide.plan(Request) → Plan      in the caller's thread
    Guide.start(base, plans) → GuideRows: logits(…), advance(…), merge(…), keep(…)      in the engine's thread

An engine says in its `Capabilities` which kinds of guides it can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from typing import Self

    import numpy as np
    import torch

    from pad_langchain.arithmetic.arrays import Array
    from pad_langchain.engine.grammar import GrammarCompiler
    from pad_langchain.engine.settings import EngineSettings
    from pad_langchain.engine.stream import Stream
    from pad_langchain.engine.types import EngineStats, Recommended, Request
    from pad_langchain.models.adapter import Adapter
    from pad_langchain.models.backbone import Backbone
    from pad_langchain.models.prompts import Prompts

__all__ = ["Base", "Capabilities", "Engine", "FeatureRows", "Guide", "GuideRows", "Plan"]


@dataclass(frozen=True)
class Capabilities:
    """What an engine can do. Callers decide by these flags, never by the engine's class.

    Args:
        guides: the `Guide.kind`s it can decode under, of "head", "text", "self" and "adapter".
        token_rewards: whether its events carry a reward in nats per token and per candidate. Else guided tokens have
            None.
        prefixes: whether prompts that begin alike are run once. `EngineStats.reused_tokens` counts their tokens.
    """

    guides: frozenset[str] = frozenset()
    token_rewards: bool = False
    prefixes: bool = False


class Engine(Protocol):
    """Decodes the requests of all users with one model. Thread-safe. It lives until it is closed."""

    @property
    def tokenizer(self) -> Any:
        """The base's tokenizer, a transformers fast tokenizer."""
        ...

    @property
    def prompts(self) -> Prompts:
        """Renders conversations into the base's token ids."""
        ...

    @property
    def settings(self) -> EngineSettings:
        """The limits it was made with."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """The guides and outputs it supports."""
        ...

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that the base can hold. None means no limit is known."""
        ...

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids of the tokens that end an answer. They add nothing to its text."""
        ...

    @property
    def guided(self) -> bool:
        """Whether there is a guide, so that requests may have preferences."""
        ...

    @property
    def contrasts(self) -> bool:
        """Whether its guide is the base itself, which is contrasted with a prompt of the opposite (`contrast_ids`)."""
        ...

    @property
    def recommended(self) -> Recommended:
        """What the PersRM recommends. Without a guide it is what `Recommended()` says."""
        ...

    @property
    def grammars(self) -> GrammarCompiler:
        """Compiles grammars for `Request.grammar`. The first use takes up to a second."""
        ...

    @property
    def stats(self) -> EngineStats:
        """What the models have done since the engine was made."""
        ...

    @property
    def closed(self) -> bool:
        """Whether the engine refuses every further request."""
        ...

    @property
    def running(self) -> int:
        """Rows that decode now."""
        ...

    @property
    def waiting(self) -> int:
        """Requests in the queue now."""
        ...

    @property
    def alive(self) -> bool:
        """Whether it can answer: it is not closed, and what runs its models in this process has not died."""
        ...

    def ready(self) -> bool:
        """Return whether a request would be answered now: it is alive, and so is a server that it asks.

        Blocks for a few seconds where such servers have to be asked first.
        """
        ...

    def submit(self, request: Request) -> Stream:
        """Queue a request and return its stream at once. Thread-safe.

        Raises:
            InvalidRequestError: the request cannot run on this engine.
            ContextLengthError: its prompt leaves no room for a new token.
            EngineBusyError: the queue is full.
            EngineClosedError: the engine was shut down.
        """
        ...

    def count_tokens(self, request: Request) -> int:
        """Return how many tokens the request's prompt has for the base.

        Raises:
            InvalidRequestError: it has no prompt, or ids that the base does not know.
        """
        ...

    def room(self, request: Request) -> int:
        """Return how many new tokens fit the contexts of base and guide: 1 to the request's `max_tokens`.

        Raises:
            InvalidRequestError: the request cannot run on this engine.
            ContextLengthError: its prompt leaves no room for a new token.
        """
        ...

    def forget_prefixes(self) -> None:
        """Drop all kept keys and values of prompts. Requests that still run may leave theirs when they end."""
        ...

    def close(self, timeout: float | None = 10.0) -> None:
        """Stop the engine. Its requests, running or waiting, end with EngineClosedError. Closing twice is fine.

        Args:
            timeout: seconds to wait for the step that is running. None means wait until it ends.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc_info: object) -> None: ...


class Base(Protocol):
    """What guides read of an engine's base. `models.Backbone` and `LlamaBase` are two."""

    @property
    def model(self) -> Any:
        """The loaded model. Two bases are the same if this is the same object."""
        ...

    @property
    def hidden_size(self) -> int:
        """D, the size of its hidden states."""
        ...

    @property
    def vocab_size(self) -> int:
        """V, the number of its logits."""
        ...

    @property
    def context(self) -> int | None:
        """Tokens it can hold. None means no limit is known."""
        ...

    @property
    def head_device(self) -> torch.device:
        """The device on which its hidden states become logits."""
        ...

    def candidate_logits(self, hidden_BD: Array, candidates_BK: Array) -> Array:
        """Return the logits of K tokens per row: hidden states [B, D] and token ids [B, K] → [B, K] float32."""
        ...

    def feature_rows(self, V_DR: torch.Tensor) -> FeatureRows | None:
        """Prepare what R features of a head add to logits. None means the head has to use `candidate_logits`."""
        ...


class FeatureRows(Protocol):
    """What each feature of a head adds to each logit."""

    def logits(self, weighed_GR: Array, candidates_GK: Array) -> Array:
        """Return what is added to K logits per row: weights of features [G, R], token ids [G, K] → [G, K] float32."""
        ...


@dataclass(frozen=True, eq=False)
class Plan:
    """One request, prepared for a guide in the caller's thread.

    Args:
        weights: the signed weight of each of its guide rows.
        rows: what the guide needs to start them, one entry per row.
        room: new tokens that the guide's own context leaves, at most. None means no limit.
        longest: tokens of the longest prompt among `rows`. 0 means the rows have no KV cache.
        reference_rows: token ids of one more prompt per entry of `rows`. The base's model runs them without the
            adapter. Requests with the reference "reference" compare the adapter with them.
        salt: the request's salt. Its rows share prefixes under it. The engine sets it.
    """

    weights: tuple[float, ...]
    rows: tuple[Any, ...]
    room: int | None = None
    longest: int = 0
    reference_rows: tuple[tuple[int, ...], ...] = ()
    salt: str | None = ""


class GuideRows(Protocol):
    """The guide rows of a batch, G in all, in the order of the batch's rows."""

    @property
    def full(self) -> Sequence[bool]:
        """Whether each row's context in the guide is full, [G]. Empty means no row's is."""
        ...

    def logits(
        self, hidden_GD: Array, candidates_GK: Array, own_reference: bool, keep_GK: Array
    ) -> tuple[Array, Array | None]:
        """Return the guide's logits q of the candidates, and those of its own reference.

        The kinds "head" and "self" also take numpy arrays, and then return numpy arrays.

        Args:
            hidden_GD: the base's hidden state per guide row. A guide that rides in the base's forward gets its own
                rows' instead.
            candidates_GK: token ids.
            own_reference: whether any row asks for `reference="reference"`.
            keep_GK: which candidates count. The logits of the others are not read.

        Returns:
            q [G, K] float32, and the reference's logits [G, K]. None means the reference is the base.
        """
        ...

    def added(self, hidden_GD: np.ndarray, candidates_GK: np.ndarray) -> np.ndarray | None:
        """Return what the guide adds to the base's logits of the candidates: [G, D] and [G, K] → [G, K] float32.

        None means that only `logits` says what the guide wants.
        """
        ...

    def advance(self, tokens_GT: torch.Tensor) -> None:
        """Append the tokens chosen since the last call, [G, T]. T is above 1 after steps that skipped the guide.

        A call that raises leaves the rows as they were, so it may be repeated.
        """
        ...

    def merge(self, other: Any) -> None:
        """Append another group's rows below these."""
        ...

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the guide rows of these indices, in this order. An index that comes twice makes two rows."""
        ...


class Guide(Protocol):
    """A source of rewards. Requests share it and never change it.

    A request has one guide row per preference, or one for its whole condition. Guide rows on the base's own backbone
    ride in the base's forward, with or without an adapter.

    Args:
        kind: where its rewards come from: "head", "text", "adapter", "self", …
        recommended: how it recommends to decode.
        backbone: the model it runs. None means it runs none and reads the base's hidden states.
        adapter: what acts on rows that ride in the base's forward. None means nothing does.
    """

    kind: str
    recommended: Recommended

    @property
    def backbone(self) -> Backbone | None: ...

    @property
    def adapter(self) -> Adapter | None: ...

    def rides(self, base: Base) -> bool:
        """Whether its rows go through the base's own forward."""
        ...

    def bind(self, base: Base, prompts: Prompts) -> None:
        """Check that the guide fits the base. An engine calls it once.

        Raises:
            IncompatibleModelError: hidden size, vocabulary or tokenizer differ.
        """
        ...

    def plan(self, request: Request) -> Plan:
        """Prepare a request that has preferences. It runs in the caller's thread.

        Raises:
            InvalidRequestError: the guide cannot be told these preferences or this conversation.
        """
        ...

    def start(self, base: Base, plans: Sequence[Plan]) -> GuideRows:
        """Open the rows of these plans, at least one in all. It runs in the engine's thread."""
        ...
