"""One answer in flight, and what it chose in a step."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from pad_langchain.arithmetic.repeats import Repeats
from pad_langchain.engine.admission import Admitted
from pad_langchain.engine.detokenize import TextStream
from pad_langchain.engine.local.failures import failure
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.types import Candidate, FinishReason, TokenEvent

if TYPE_CHECKING:
    from pad_langchain.engine.grammar import GrammarState

__all__ = ["Chosen", "Row", "Weighed", "generators"]


@dataclass(frozen=True)
class Weighed:
    """A candidate as numbers: token id, base logprob over the full vocabulary, reward and guided score (nats).

    The last two are None where the engine is not told them.
    """

    token_id: int
    logprob: float
    reward: float | None
    score: float | None


@dataclass(frozen=True)
class Chosen:
    """The token that one row chose in one step. The fields are those of `TokenEvent`, with `weighed` as candidates."""

    token_id: int
    logprob: float
    reward: float | None = 0.0
    weighed: tuple[Weighed, ...] = ()
    skipped: bool = False


class Row:
    """One answer in flight: a request, or a sample of it.

    Args:
        admitted: the request.
        stream: where its events go.
        text: turns its tokens into text.
        generator: the source of its random numbers.
    """

    def __init__(self, admitted: Admitted, stream: Stream, text: TextStream, generator: torch.Generator) -> None:
        self.admitted, self.stream, self.text = admitted, stream, text
        self.request, self.prompt, self.plan = admitted.request, admitted.prompt, admitted.plan
        self.guide_rows, self.reference_rows = admitted.guide_rows, admitted.reference_rows
        self.limit = admitted.limit
        self.grammar: GrammarState | None = None if self.request.grammar is None else self.request.grammar.start()
        self.region = None if self.request.region is None else self.request.region.start()
        self.repeats = Repeats.of(self.request.repetition_penalty, self.request.no_repeat_ngram)
        self.tokens: list[int] = []  # chosen so far
        self._generator = generator
        self._uniform = (-1, 0.0)  # the token's place it was drawn for, and the number

    @property
    def index(self) -> int:
        """The next token's place in the answer, from 0."""
        return len(self.tokens)

    @property
    def uniform(self) -> float:
        """The random number in [0, 1) that the next token is drawn with. It changes only with `index`."""
        if self.request.temperature > 0 and self._uniform[0] != self.index:
            number = torch.rand((), generator=self._generator, dtype=torch.float64)
            self._uniform = (self.index, float(number))
        return self._uniform[1]

    def emit(self, chosen: Chosen, ends: Collection[int]) -> bool:
        """Put the chosen token into the stream as its next event. Return True if it was the last.

        Args:
            chosen: the token.
            ends: ids of the tokens that end the answer.
        """
        try:
            text, reason = self._take(chosen.token_id, ends)
            candidates = tuple(
                Candidate(one.token_id, self.text.of(one.token_id), one.logprob, one.reward, one.score)
                for one in chosen.weighed
            )
        except BaseException as error:  # of the grammar or the tokenizer, whose panics are no Exceptions
            self.stream.fail(failure(error))
            return True
        logprob = chosen.logprob if self.request.logprobs else math.nan
        event = TokenEvent(
            self.index, chosen.token_id, text, logprob, chosen.reward, reason, candidates, chosen.skipped
        )
        self.tokens.append(chosen.token_id)
        if self.repeats is not None:
            self.repeats.append(chosen.token_id)
        self.stream.put(event)
        return reason is not None

    def cancel(self) -> None:
        """End the answer early as "cancelled", with the text that was held back."""
        try:
            held = self.text.flush()
        except BaseException as error:  # see `emit`
            self.stream.fail(failure(error))
        else:
            self.stream.put(TokenEvent(self.index, -1, held, 0.0, 0.0, "cancelled"))

    def _take(self, token_id: int, ends: Collection[int]) -> tuple[str, FinishReason | None]:
        """The text that becomes certain with a token, and why the answer ends. None means it goes on."""
        if token_id in ends:
            return self.text.flush(), "stop"
        text, stopped = self.text.push(token_id)
        if self.grammar is not None:
            self.grammar.accept(token_id)
        if self.region is not None:
            self.region.push(text)
        if stopped:
            return text, "stop"
        if self.grammar is not None and self.grammar.finished:
            return text + self.text.flush(), "stop"
        if self.index + 1 >= self.limit:
            text += self.text.flush()
            return text, "stop" if self.text.stopped else "length"
        return text, None


def generators(seed: int | None, count: int) -> list[torch.Generator]:
    """Make one generator per sample.

    Args:
        seed: seeds the first generator, and through it the others. None means fresh seeds.
        count: how many samples there are, 1 or more.
    """
    made = [torch.Generator() for _ in range(count)]
    if seed is None:
        for generator in made:
            generator.seed()
        return made
    made[0].manual_seed(seed)
    source = torch.Generator().manual_seed(seed)
    for generator in made[1:]:
        generator.manual_seed(int(torch.randint(2**62, (), generator=source)))
    return made
