"""Sequences of one llama.cpp context: their tokens, how many were run, and what they share."""

from __future__ import annotations

import logging
from collections.abc import Sequence as Tokens
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from pad_langchain.engine.llama_cpp.binding import Context
from pad_langchain.engine.llama_cpp.kept import SHORTEST, KeptSequences, common
from pad_langchain.errors import EngineMemoryError
from pad_langchain.models.backbone import Tally

__all__ = ["Outputs", "Sequence", "Sequences"]

logger = logging.getLogger(__name__)

BESIDE = 64  # tokens of prompts that are run in a step in which others write: they wait for no more than these


@dataclass(eq=False)
class Sequence:
    """Tokens that are or will be in a context.

    Args:
        number: llama.cpp's id of the sequence.
        salt: the request's salt. Sequences of one salt share their beginnings. One of None shares and keeps nothing.
        tokens: the prompt, and the tokens chosen since.
        run: how many of the tokens are in the context.
        begun: whether its beginning was looked up among those that are known.
    """

    number: int
    salt: str | None
    tokens: list[int]
    run: int = 0
    begun: bool = False

    @property
    def left(self) -> int:
        """How many tokens are not in the context yet."""
        return len(self.tokens) - self.run


@dataclass(frozen=True, eq=False)
class Outputs:
    """Logits [N, V] and hidden states [N, D] of the newest tokens of N sequences. Valid until the next call."""

    logits_NV: np.ndarray
    hidden_ND: np.ndarray


class Sequences:
    """Opens, runs and closes the sequences of a context. Only one thread may use it.

    Args:
        context: llama.cpp's.
        kept: the states of sequences that ended.
    """

    def __init__(self, context: Context, kept: KeptSequences) -> None:
        self.context, self.kept, self.tally = context, kept, Tally()
        self._free = list(range(context.sequences))  # a heap: ids in use stay close together
        self._open: list[Sequence] = []

    def open(self, tokens: Tokens[int], salt: str | None) -> Sequence:
        """Open a sequence of these tokens. None of them is run yet."""
        sequence = Sequence(heappop(self._free), salt, list(tokens))
        self._open.append(sequence)
        return sequence

    def close(self, sequence: Sequence, *, keep: bool = False) -> None:
        """Free a sequence. With `keep`, its keys and values are kept for others."""
        self._open.remove(sequence)
        try:
            if keep:
                self._keep(sequence)
        except Exception:  # the answer is out; the next turn runs its prompt again
            logger.exception("What a finished sequence has run is not kept")
        self.context.cut(sequence.number)
        heappush(self._free, sequence.number)

    def _keep(self, sequence: Sequence) -> None:
        if sequence.salt is None:
            return
        length = min(sequence.run, self.kept.budget)
        tokens = sequence.tokens[:length]
        if self.kept.wants(tokens, sequence.salt):
            if length < sequence.run:
                self.context.cut(sequence.number, length)
            self.kept.add(tokens, sequence.salt, self.context.save(sequence.number))

    def run(self, groups: Tokens[Tokens[Sequence]]) -> tuple[list[int], Outputs | None]:
        """Run the tokens that are left, or a part of them.

        This takes two calls of llama.cpp at most: one for prompts, then one for all newest tokens.

        Args:
            groups: sequences that are ready only together, such as those of one request.

        Returns:
            the indices of the groups whose newest tokens were run, and their outputs: first those of the first
            sequence of each group, then those of the second of each group that has one, and so on. None means no
            group is ready.
        """
        for sequence in (one for group in groups for one in group):
            if not sequence.left:  # its outputs were those of an earlier call
                self.context.cut(sequence.number, sequence.run - 1)
                sequence.run -= 1
        everyone = [one for group in groups for one in group]
        self._read(everyone)
        for one in everyone:
            if not one.begun:
                self._begin(one)  # it waited for what has been read just now
        ready = [index for index, group in enumerate(groups) if all(one.left == 1 and one.begun for one in group)]
        if not ready:
            return [], None
        widest = max(len(groups[index]) for index in ready)
        ordered = [groups[index][n] for n in range(widest) for index in ready if n < len(groups[index])]
        logits, hidden = self.context.decode(
            [one.tokens[-1] for one in ordered], [one.run for one in ordered], [one.number for one in ordered]
        )
        self.tally.forwards += 1
        for one in ordered:
            one.run += 1
        return ready, Outputs(logits, hidden)

    def _read(self, sequences: Tokens[Sequence]) -> None:
        """Run a part of the prompts, all but their last tokens, first come first served."""
        writing = any(one.left == 1 and one.begun for one in sequences)
        room = BESIDE if writing else self.context.part
        part: list[tuple[Sequence, int]] = []
        for one in sequences:
            if one.begun or self._begin(one):
                count = min(one.left - 1, room)
                if count > 0:
                    part.append((one, count))
                    room -= count
        if part:
            self.context.read(
                [token for one, count in part for token in one.tokens[one.run : one.run + count]],
                [place for one, count in part for place in range(one.run, one.run + count)],
                [one.number for one, count in part for _ in range(count)],
            )
            self.tally.forwards += 1
            for one, count in part:
                one.run += count
                self.tally.prefilled += count

    def _begin(self, sequence: Sequence) -> bool:
        """Take over what is known of a sequence's tokens. Return False to wait for one that will know more."""
        prompt = np.asarray(sequence.tokens[:-1], dtype=np.int32)
        length, state = (0, None) if sequence.salt is None else self.kept.find(prompt, sequence.salt)
        source: Sequence | None = None
        for other in self._open if sequence.salt is not None else ():
            if other is sequence or other.salt != sequence.salt or not other.begun:
                continue
            shared = common(prompt, np.asarray(other.tokens, dtype=np.int32))
            if shared >= length + SHORTEST and shared > other.run:
                return False
            # Of equal lengths an open one: its cells are shared, a kept one's are stored and read once more.
            if min(shared, other.run) >= max(SHORTEST, length):
                length, source = min(shared, other.run), other
        if source is not None:
            self.context.copy(source.number, sequence.number, length)
        elif state is not None and not self._load(state, sequence, length):
            length = 0
        sequence.run, sequence.begun = length, True
        self.tally.reused += length
        self.tally.prefilled += 1  # the last token, which is run with those of others
        return True

    def _load(self, state: np.ndarray, sequence: Sequence, length: int) -> bool:
        """Fill a sequence with the beginning of a kept one. For a moment this needs room for the whole of it."""
        try:
            self.context.load(state, sequence.number)
        except EngineMemoryError:
            length = 0
        self.context.cut(sequence.number, length)
        return length > 0
