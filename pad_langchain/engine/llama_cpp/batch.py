"""The rows that decode together in one llama.cpp context, and their next tokens."""

from __future__ import annotations

from collections.abc import Sequence as Many
from dataclasses import dataclass

import numpy as np

from pad_langchain.arithmetic.arrays import Array, pick
from pad_langchain.arithmetic.scoring import Candidates
from pad_langchain.engine.llama_cpp.base import LlamaBase
from pad_langchain.engine.llama_cpp.sequences import Outputs, Sequence, Sequences
from pad_langchain.engine.local.arrangement import Arrangement
from pad_langchain.engine.local.row import Chosen, Row
from pad_langchain.engine.protocol import Guide, GuideRows

__all__ = ["LlamaBatch"]


@dataclass(eq=False)
class _Reading:
    """The sequences of a row: its own, then those of guide rows that ride in the base's forward."""

    row: Row
    sequences: list[Sequence]
    keep: bool = False

    def follow(self) -> None:
        """Append the tokens that the row has chosen since the last call."""
        for sequence, prompt in zip(self.sequences, _prompts(self.row, len(self.sequences) > 1), strict=True):
            sequence.tokens += self.row.tokens[len(sequence.tokens) - len(prompt) :]


class LlamaBatch:
    """Rows that decode together. Prompts are run in parts, so some rows may not be ready to choose.

    Args:
        base, guide: the engine's. None for `guide` means there is none.
        sequences: those of the engine's context.
        rows: at least one. Their tokens so far are run like a part of their prompts.
    """

    def __init__(self, base: LlamaBase, guide: Guide | None, sequences: Sequences, rows: Many[Row]) -> None:
        self._base, self._guide, self._sequences = base, guide, sequences
        self._riding = guide is not None and guide.rides(base)
        self.readings: list[_Reading] = []
        self._ready: list[int] = []  # the places of the rows that the outputs are of
        self.outputs: Outputs | None = None
        self._asked: Arrangement | None = None  # of the rows that are ready
        self._guide_rows: GuideRows | None = None
        for row in rows:
            opened = [sequences.open(prompt, row.request.salt) for prompt in _prompts(row, self._riding)]
            self.readings.append(_Reading(row, opened))

    @property
    def rows(self) -> list[Row]:
        """The rows, in the order in which they joined."""
        return [reading.row for reading in self.readings]

    @property
    def kv_tokens(self) -> int:
        """Tokens of the rows' sequences that are in the context."""
        return sum(one.run for reading in self.readings for one in reading.sequences)

    # Who is in

    def settle(self) -> None:
        """Do nothing, as guides here read only hidden states."""

    def merge(self, other: LlamaBatch) -> None:
        """Append another batch's rows."""
        self.readings += other.readings
        if other.outputs is not None:  # what was run later
            self.outputs = None

    def keep(self, kept: Many[int]) -> None:
        """Keep the rows of these indices, in order. Free the sequences of the others."""
        stay = {id(self.readings[index]) for index in kept}
        gone = [reading for reading in self.readings if id(reading) not in stay]
        self.readings = [self.readings[index] for index in kept]
        self.outputs = None
        self._give_up(gone)

    def remember(self, index: int) -> None:
        """Mark a row, so that its keys and values are kept when it leaves."""
        self.readings[index].keep = True

    def close(self) -> None:
        """Give up all rows."""
        gone, self.readings = self.readings, []
        self._give_up(gone)

    def _give_up(self, readings: Many[_Reading]) -> None:
        for reading in readings:
            for sequence in reading.sequences:
                self._sequences.close(sequence, keep=reading.keep)

    # What comes next

    def advance(self) -> None:
        """Run the tokens that the rows have chosen, and a part of the prompts."""
        for reading in self.readings:
            reading.follow()
        self.outputs = None
        ready, outputs = self._sequences.run([reading.sequences for reading in self.readings])
        if ready != self._ready or self._asked is None or self._asked.rows != tuple(self.rows[n] for n in ready):
            self._ready = ready
            self._arrange()
        self.outputs = outputs

    def finish_prompts(self) -> None:
        """Run all that is left of the prompts, so that every row is ready."""
        while self.outputs is None or len(self._ready) < len(self.readings):
            self.advance()

    def _arrange(self) -> None:
        rows = [self.readings[index].row for index in self._ready]
        self._asked = Arrangement(rows, self._riding, None, None)
        plans = [row.plan for row in rows if row.plan is not None]
        self._guide_rows = None
        if self._guide is not None and plans:
            self._guide_rows = self._guide.start(self._base, plans)

    @np.errstate(all="ignore")  # what is not finite is found in the scores
    def choose(self) -> list[Chosen | Exception | None]:
        """Choose the next token of every row that is ready. A row that fails gets its error. None means not ready."""
        chosen: list[Chosen | Exception | None] = [None] * len(self.readings)
        if self.outputs is None or self._asked is None:
            return chosen
        for index, one in zip(
            self._ready, self._asked.choose(self.outputs.logits_NV[: len(self._ready)], self._ask_guide), strict=True
        ):
            chosen[index] = one
        return chosen

    def _ask_guide(self, found: Candidates) -> tuple[Array, Array | None]:
        """The guide's logits of the candidates [G, K], and the reference's [G, K]. None means the base's.

        A reward is a difference, so both of its sides have to be equally exact. llama.cpp's own logits come from
        rounded hidden states: they are a side only where the guide says what it adds to them.
        """
        assert self._asked is not None
        assert self.outputs is not None
        assert self._guide_rows is not None
        layout, hidden_ND = self._asked.layout, self.outputs.hidden_ND
        tokens_GK, base_GK, keep_GK = found if layout.alike else found.of(layout.shares.row_G)
        own_GD = hidden_ND[layout.reader_G]
        added_GK = self._guide_rows.added(own_GD, tokens_GK)
        if added_GK is not None:
            return base_GK + added_GK, None
        hidden_GD = own_GD
        if self._riding:
            hidden_GD = hidden_ND[self._riders()]
        guide_GK, own_GK = self._guide_rows.logits(hidden_GD, tokens_GK, layout.own_G1 is not None, keep_GK)
        exact_GK = self._base.candidate_logits(own_GD, tokens_GK)
        if own_GK is None or layout.own_G1 is None:
            return guide_GK, exact_GK
        return guide_GK, pick(layout.own_G1, own_GK, exact_GK)

    def _riders(self) -> list[int]:
        """The places of the guide rows' outputs, in the order of the rows. They come after all base rows."""
        places: dict[tuple[int, int], int] = {}
        held = [len(self.readings[index].sequences) for index in self._ready]
        for n in range(max(held)):
            for place, count in enumerate(held):
                if n < count:
                    places[place, n] = len(places)
        return [places[place, n] for place, count in enumerate(held) for n in range(1, count)]


def _prompts(row: Row, riding: bool) -> list[tuple[int, ...]]:
    """The prompts of a row's sequences."""
    riders = row.plan.rows if riding and row.plan is not None else ()
    return [row.prompt, *riders]
