"""What the loop needs of an engine's models: `Models` open a `Batch`, which advances, chooses, grows and shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pad_langchain.engine.local.row import Chosen, Row

__all__ = ["Batch", "Models"]


class Batch(Protocol):
    """Rows that decode together, and what the models have read of them."""

    @property
    def rows(self) -> list[Row]:
        """The rows, in the order in which they joined."""
        ...

    @property
    def kv_tokens(self) -> int:
        """Columns of KV cache that the base's rows use, padding included."""
        ...

    def advance(self) -> None:
        """Feed every row its last token. Where prompts are run in parts, run a part of those as well.

        Rows that are fed already are left alone, so a step that failed may be repeated.
        """
        ...

    def choose(self) -> Sequence[Chosen | Exception | None]:
        """Choose every row's next token. A row that fails gets its error. None means its prompt is not run yet."""
        ...

    def settle(self) -> None:
        """Let guides read what they have not read, before others join."""
        ...

    def merge(self, other: Any) -> None:
        """Append another batch's rows. The other batch must not be used afterwards."""
        ...

    def keep(self, kept: Sequence[int]) -> None:
        """Keep the rows of these indices, at least one, in order."""
        ...

    def remember(self, index: int) -> None:
        """Keep the keys and values of a row for the conversation's next turn."""
        ...

    def close(self) -> None:
        """Give up all rows."""
        ...


class Models(Protocol):
    """The models of one engine. Its thread calls them, except for `begin_anew`."""

    def open(self, groups: Sequence[Sequence[Row]]) -> Batch:
        """Open a batch of groups of rows, at least one. The rows of a group share a prompt (samples of a request)."""
        ...

    def again(self, row: Row) -> Batch:
        """Open a batch of one row that was in another. Its prompt and its tokens so far are run again."""
        ...

    def spare(self) -> bool:
        """Free what is kept for later requests. Return False where nothing is kept."""
        ...

    def begin_anew(self) -> str:
        """Forget what is in flight, in a forked child. Return why the models cannot be used there, "" if they can."""
        ...
