"""What the loop needs of an engine's models: `Models` make a `Batch`, which advances, chooses, grows and shrinks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from pad_langchain.engine.local.row import Chosen, Row

__all__ = ["Batch", "Models"]


class Batch(Protocol):
    """Rows that decode together, and what the models have read of them."""

    @property
    def rows(self) -> list[Row]:
        """Who is in, in the order in which they joined."""
        ...

    @property
    def kv_tokens(self) -> int:
        """Columns of KV cache that the base's rows use, padding included."""
        ...

    def advance(self) -> None:
        """Feed every row its last token; where prompts are run in parts, a part of those as well.

        Does nothing for rows where that is done already: a step that failed may be begun again.
        """
        ...

    def choose(self) -> Sequence[Chosen | Exception | None]:
        """Choose every row's next token; a row that cannot gets its error, one whose prompt is not run yet None."""
        ...

    def settle(self) -> None:
        """Let guides read what they have not read, before others join."""
        ...

    def merge(self, other: Any) -> None:
        """Append another batch's rows; it is not used any more."""
        ...

    def keep(self, kept: Sequence[int]) -> None:
        """Keep the rows of these indices, at least one, in order."""
        ...

    def remember(self, index: int) -> None:
        """Keep what was run of a row, for the conversation's next turn."""
        ...

    def close(self) -> None:
        """Give up all rows."""
        ...


class Models(Protocol):
    """The models of one engine; all but `begin_anew` is called in its thread."""

    def open(self, groups: Sequence[Sequence[Row]]) -> Batch:
        """A batch of rows with one prompt each (samples of one request), at least one group."""
        ...

    def again(self, row: Row) -> Batch:
        """A batch of a row that was in another one: its prompt and what it has chosen so far are run anew."""
        ...

    def spare(self) -> bool:
        """Give up what is kept for later requests; False: nothing is."""
        ...

    def begin_anew(self) -> str:
        """In a forked child: forget what is in flight; why the models cannot be used there, "" if they can."""
        ...
