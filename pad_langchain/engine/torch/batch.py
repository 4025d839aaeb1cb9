"""One step for the whole batch: mask, candidates, rewards, scores, choice. Rows differ in everything."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pad_langchain.arithmetic.scoring import (
    candidate_rewards,
    clip_rewards,
    combine_rewards,
    draw,
    guided_scores,
    plausible,
    settled,
    take_candidates,
)
from pad_langchain.engine.detokenize import TextStream
from pad_langchain.engine.protocol import Guide, GuideRows, Plan
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.types import Candidate, FinishReason, Request, TokenEvent
from pad_langchain.errors import GuideError, PadError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.rows import Rows

__all__ = ["Batch", "Choice", "Row", "Weighed"]


@dataclass(frozen=True)
class Weighed:
    """A candidate as numbers: token id, base logprob over the full vocabulary, reward, guided score (nats)."""

    token_id: int
    logprob: float
    reward: float
    score: float


@dataclass(frozen=True)
class Choice:
    """What one row chose in one step."""

    token_id: int
    logprob: float
    reward: float
    weighed: tuple[Weighed, ...] = ()
    skipped: bool = False


@dataclass(eq=False)
class Row:
    """One request in flight. `plan` is None where the base decodes alone."""

    request: Request
    stream: Stream
    prompt: list[int]
    plan: Plan | None
    limit: int
    text: TextStream
    generator: torch.Generator
    grammar: Any | None = None
    tokens: list[int] = field(default_factory=list)  # chosen so far
    _uniform: tuple[int, float] = (-1, 0.0)  # the token's place it was drawn for, and the number
    guide_rows: int = field(init=False)
    reference_rows: int = field(init=False)

    def __post_init__(self) -> None:
        self.guide_rows = 0 if self.plan is None else len(self.plan.rows)
        self.reference_rows = 0 if self.plan is None else len(self.plan.reference_rows)

    @property
    def index(self) -> int:
        """The next token's place in the answer."""
        return len(self.tokens)

    @property
    def uniform(self) -> float:
        """The random number in [0, 1) that the next token is drawn with; the same however often it is asked for."""
        if self.request.temperature > 0 and self._uniform[0] != self.index:
            number = torch.rand((), generator=self.generator, dtype=torch.float64)
            self._uniform = (self.index, float(number))
        return self._uniform[1]

    def emit(self, choice: Choice, ends: Collection[int], candidates: tuple[Candidate, ...]) -> bool:
        """Put the token chosen into the stream, as its next event; True when it was the last.

        Args:
            ends: token ids that end the answer and are no text.
            candidates: what the event tells of the others.
        """
        reason: FinishReason | None = None
        if choice.token_id in ends:
            text, reason = self.text.flush(), "stop"
        else:
            text, stopped = self.text.push(choice.token_id)
            if self.grammar is not None:
                try:
                    self.grammar.accept(choice.token_id)
                except PadError as error:
                    self.stream.fail(error)
                    return True
            if stopped:
                reason = "stop"
            elif self.grammar is not None and self.grammar.finished:
                text, reason = text + self.text.flush(), "stop"
            elif self.index + 1 >= self.limit:
                text += self.text.flush()
                reason = "stop" if self.text.stopped else "length"
        event = TokenEvent(
            self.index, choice.token_id, text, choice.logprob, choice.reward, reason, candidates, choice.skipped
        )
        self.tokens.append(choice.token_id)
        self.stream.put(event)
        return reason is not None

    @property
    def kv_rows(self) -> int:
        """Rows of KV cache it needs: its own, and those of its guide and reference."""
        riders = self.guide_rows if self.plan is not None and self.plan.longest else 0
        return 1 + riders + self.reference_rows

    @property
    def kv_tokens(self) -> int:
        """Columns its longest row of KV cache needs in the end."""
        return max(len(self.prompt), 0 if self.plan is None else self.plan.longest) + self.limit


class Batch:
    """Rows that decode together, with the KV caches of the base and of the guide.

    The base's model has three sections of rows: the base rows, the reference rows of an adapter, and the guide rows
    that ride in its forward. The last two are empty for other guides.

    Args:
        groups: rows with one prompt each (samples of one request), at least one group; each group's prompt is
            prefilled once, all in one forward of the base and at most one of the guide.
    """

    def __init__(self, base: Backbone, guide: Guide | None, groups: Sequence[Sequence[Row]]) -> None:
        rows = [group[0] for group in groups]
        self.base, self.rows = base, rows
        plans = [row.plan for row in rows if row.plan is not None]
        self._riding = guide is not None and guide.rides(base)
        self.base_rows = Rows(
            base,
            [row.prompt for row in rows],
            [prompt for plan in plans for prompt in plan.reference_rows],
            [prompt for plan in plans for prompt in plan.rows] if self._riding else [],
            adapter=None if guide is None else guide.adapter,
        )
        self.guide_rows: GuideRows | None = guide.start(base, plans) if guide is not None and plans else None
        self._unfed: list[torch.Tensor] = []  # tokens [G] that the guide has not read, a step each
        self._arrange()
        if any(len(group) > 1 for group in groups):
            self.keep([index for index, group in enumerate(groups) for _ in group])
            self.rows = [row for group in groups for row in group]

    def merge(self, other: Batch) -> None:
        """Append another batch's rows."""
        self.feed_guide()
        other.feed_guide()
        self.base_rows.merge(other.base_rows)
        if self.guide_rows is None:
            self.guide_rows = other.guide_rows
        elif other.guide_rows is not None:
            self.guide_rows.merge(other.guide_rows)
        self.rows += other.rows
        self._arrange()

    def keep(self, kept: Sequence[int]) -> None:
        """Keep the rows of these indices, at least one, in order; an index may come twice."""
        guided = [row.guide_rows for row in self.rows]
        guide_kept = _places(guided, kept)
        if self.guide_rows is not None and guide_kept != list(range(sum(guided))):
            if guide_kept:
                self.guide_rows.keep(guide_kept)
                self._unfed = [tokens_G[guide_kept] for tokens_G in self._unfed]
            else:
                self.guide_rows, self._unfed = None, []
        references = [row.reference_rows for row in self.rows]
        first, second = len(self.rows), len(self.rows) + sum(references)
        sections = [*kept, *(first + place for place in _places(references, kept))]
        self.base_rows.keep(sections + [second + place for place in guide_kept if self._riding])
        self.rows = [self.rows[index] for index in kept]
        self._arrange()

    def advance(self) -> None:
        """Feed every row its last token: one forward of the base; the guide reads it when it is asked next.

        Does nothing where that is done already: a step that ran out of memory later is begun again.
        """
        if self.base_rows.lengths[0] == len(self.rows[0].prompt) + len(self.rows[0].tokens):
            return
        tokens_B = torch.tensor([row.tokens[-1] for row in self.rows], device=self.base.device)
        self.base_rows.step(tokens_B[self._fed])
        if self.guide_rows is not None:
            self._unfed.append(tokens_B[self._guided_B[self._row_G]])

    def remember(self, index: int) -> None:
        """Keep what the base has run of a row, for the conversation's next turn."""
        row = self.rows[index]
        self.base_rows.remember(index, [*row.prompt, *row.tokens][: self.base_rows.lengths[index]])

    def choose(self) -> list[Choice | PadError]:
        """Choose every row's next token from the hidden states at hand; a row that cannot gets its error instead."""
        logits_BV = self.base.logits(self.base_rows.hidden(0))
        failures: dict[int, PadError] = {}
        for index, row in enumerate(self.rows):
            if row.grammar is not None:
                try:
                    logits_BV[index].masked_fill_(~row.grammar.mask().to(logits_BV.device), float("-inf"))
                except PadError as error:
                    failures[index] = error
        uniform_B = torch.tensor([row.uniform for row in self.rows], dtype=torch.float64, device=logits_BV.device)
        choices: dict[int, Choice | PadError] = {}
        if self._plain:
            choices |= self._choose_plain(logits_BV, uniform_B)
        if self._guided:
            choices |= self._choose_guided(logits_BV, uniform_B)
        self._end_full_rows()
        return [failures.get(index) or choices[index] for index in range(len(self.rows))]

    def _end_full_rows(self) -> None:
        """A row whose guide has no context left ends with this token; only a guide of another tokenizer says so."""
        left = iter(() if self.guide_rows is None else self.guide_rows.full)
        for row in self.rows:
            full = [next(left, False) for _ in range(row.guide_rows)]
            if any(full):
                row.limit = min(row.limit, row.index + 1)

    def _choose_plain(self, logits_BV: torch.Tensor, uniform_B: torch.Tensor) -> dict[int, Choice | PadError]:
        """The base alone: its full distribution, no candidates."""
        at = self._plain_B
        logits_NV = logits_BV[at]
        chosen_N = draw(logits_NV, self._temperature_B[at], self._top_p_B[at], uniform_B[at])
        logprobs_NV = logits_NV.log_softmax(-1)
        logprob_N = logprobs_NV.gather(1, chosen_N[:, None])[:, 0]
        out: dict[int, Choice | PadError] = {}
        for n, (index, token, logprob) in enumerate(
            zip(self._plain, chosen_N.tolist(), logprob_N.tolist(), strict=True)
        ):
            if logprob != logprob:
                out[index] = GuideError(
                    f"The base model returned NaN at token {self.rows[index].index}. Check its weights and dtype."
                )
                continue
            weighed: tuple[Weighed, ...] = ()
            if wanted := self.rows[index].request.candidates:
                top = logprobs_NV[n].topk(wanted)
                weighed = tuple(
                    Weighed(token_id, value, 0.0, score)
                    for token_id, value, score in zip(
                        top.indices.tolist(), top.values.tolist(), logits_NV[n][top.indices].tolist(), strict=True
                    )
                    if value > float("-inf")
                )
            out[index] = Choice(token, logprob, 0.0, weighed)
        return out

    def _choose_guided(self, logits_BV: torch.Tensor, uniform_B: torch.Tensor) -> dict[int, Choice | PadError]:
        """Eq. 13 on each row's candidates. The tensors here have N rows: the guided ones of the batch."""
        at = self._guided_B
        hidden_ND = self.base_rows.hidden(0)[at]
        # 1. candidates from the masked base logits, then the plausibility cut
        candidates_NK, base_NK, keep_NK = take_candidates(logits_BV[at], self._k_B[at], self._most)
        if self.base.head.weight.dtype != torch.float32:
            # The reward is a difference: both sides must be as exact as the guide's, which are float32.
            base_NK = self.base.candidate_logits(hidden_ND, candidates_NK)
        keep_NK = plausible(base_NK, keep_NK, self._alpha_B[at])
        # 2. rewards of every guide row, brought together for each request
        rewards_NK, skipped_N = self._rewards(hidden_ND, candidates_NK, base_NK, keep_NK)
        sound_N = torch.isfinite(rewards_NK).all(-1)
        rewards_NK = clip_rewards(rewards_NK, self._clip_B[at])
        # 3. scores and choice
        scores_NK = guided_scores(base_NK, rewards_NK, self._beta_B[at], keep_NK)
        place_N = draw(scores_NK, self._temperature_B[at], self._top_p_B[at], uniform_B[at])[:, None]
        columns = (
            candidates_NK.gather(1, place_N)[:, 0],
            scores_NK.log_softmax(-1).gather(1, place_N)[:, 0],
            rewards_NK.gather(1, place_N)[:, 0],
            sound_N,
            skipped_N,
        )
        # One transfer: each is a wait for the device.
        told_N5 = torch.stack([column.double() for column in columns], dim=1).tolist()
        out: dict[int, Choice | PadError] = {}
        for n, (index, (token, logprob, reward, sound, skipped)) in enumerate(zip(self._guided, told_N5, strict=True)):
            row = self.rows[index]
            if not sound:
                preferences = [preference.text for preference in row.request.preferences]
                out[index] = GuideError(
                    f"The guide returned rewards that are not finite numbers for the preferences {preferences!r} at "
                    f"token "
                    f"{row.index}. Check the PersRM's weights and the embeddings; beta=0 decodes without it."
                )
                continue
            weighed: tuple[Weighed, ...] = ()
            if wanted := row.request.candidates:
                total = logits_BV[index].logsumexp(-1)
                order = scores_NK[n].argsort(descending=True, stable=True)[:wanted]
                order = order[keep_NK[n][order]]
                parts = (candidates_NK[n], base_NK[n] - total, rewards_NK[n], scores_NK[n])
                weighed = tuple(
                    Weighed(*values) for values in zip(*(part[order].tolist() for part in parts), strict=True)
                )
            out[index] = Choice(int(token), logprob, reward, weighed, bool(skipped))
        return out

    def _rewards(
        self, hidden_ND: torch.Tensor, candidates_NK: torch.Tensor, base_NK: torch.Tensor, keep_NK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Combined rewards [N, K], and which rows lazy guidance settled without them [N]."""
        at = self._guided_B
        skipped_N = self._lazy_B[at]
        if self._lazy or self._grammars:
            # One legal token is settled as well: its reward is 0 whatever the guide says.
            settled_N = settled(base_NK, keep_NK, self._beta_B[at], torch.where(skipped_N, self._clip_B[at], math.inf))
            skipped_N = skipped_N & settled_N
            if bool(settled_N.all()):
                return torch.zeros_like(base_NK), skipped_N
        assert self.guide_rows is not None
        self.feed_guide()
        row_G = self._row_G
        keep_GK, base_GK = keep_NK[row_G], base_NK[row_G]
        candidates_GK = candidates_NK[row_G]
        hidden_GD = self.base_rows.hidden(2) if self._riding else hidden_ND[row_G]
        guide_GK, own_GK = self.guide_rows.logits(hidden_GD, candidates_GK, self._any_own, keep_GK)
        if self._apart:
            own_GK, at_G = base_GK.clone(), self._apart_G
            own_GK[at_G] = self.base.candidate_logits(self.base_rows.hidden(1), candidates_GK[at_G])
        reference_GK = base_GK if own_GK is None else torch.where(self._own_N[row_G][:, None], own_GK, base_GK)
        rewards_GK = candidate_rewards(guide_GK, reference_GK, keep_GK)
        rewards_NK = combine_rewards(rewards_GK, self._weight_G, row_G, self._best_N)
        # A row's answer must not tell whether a neighbour needed the guide.
        return rewards_NK.masked_fill(skipped_N[:, None], 0.0), skipped_N

    def feed_guide(self) -> None:
        """Let the guide read what it has not read: one forward, however many tokens."""
        if self.guide_rows is not None and self._unfed:
            self.guide_rows.advance(torch.stack(self._unfed, dim=1))
            self._unfed = []

    def _arrange(self) -> None:
        """Settings as tensors, made again whenever rows join or leave. N and G count guided rows only."""
        rows, device = self.rows, self.base.head.weight.device
        requests = [row.request for row in rows]
        self._guided = [index for index, row in enumerate(rows) if row.guide_rows]
        self._plain = [index for index, row in enumerate(rows) if not row.guide_rows]
        self._lazy = any(request.lazy for request in requests)
        self._grammars = any(row.grammar is not None for row in rows)
        guided = [rows[index] for index in self._guided]
        self._any_own = any(row.request.reference == "reference" for row in guided)

        def tensor(values: list[Any], dtype: torch.dtype) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self._guided_B = tensor(self._guided, torch.long)
        self._plain_B = tensor(self._plain, torch.long)
        self._most = max((row.request.top_k for row in guided), default=0)
        self._k_B = tensor([request.top_k for request in requests], torch.long)
        self._beta_B = tensor([request.beta for request in requests], torch.float32)
        self._alpha_B = tensor([request.alpha for request in requests], torch.float32)
        self._clip_B = tensor([request.clip or math.inf for request in requests], torch.float32)
        self._lazy_B = tensor([request.lazy for request in requests], torch.bool)
        self._temperature_B = tensor([request.temperature for request in requests], torch.float32)
        self._top_p_B = tensor([request.top_p for request in requests], torch.float32)
        self._apart = [
            g for g, apart in enumerate(row.reference_rows > 0 for row in rows for _ in range(row.guide_rows)) if apart
        ]
        self._apart_G = tensor(self._apart, torch.long)
        riders = [index for index, row in enumerate(rows) for _ in range(row.guide_rows) if self._riding]
        references = [index for index, row in enumerate(rows) for _ in range(row.reference_rows)]
        self._fed = torch.tensor([*range(len(rows)), *references, *riders], device=self.base.device)
        self._row_G = tensor([n for n, row in enumerate(guided) for _ in range(row.guide_rows)], torch.long)
        self._weight_G = tensor([weight for row in guided if row.plan for weight in row.plan.weights], torch.float32)
        self._best_N = tensor([row.request.combine == "max" for row in guided], torch.bool)
        self._own_N = tensor([row.request.reference == "reference" for row in guided], torch.bool)


def _places(counts: Sequence[int], kept: Sequence[int]) -> list[int]:
    """Where the parts of the kept rows are, if row i has counts[i] parts, all in one list."""
    first = [sum(counts[:index]) for index in range(len(counts))]
    return [place for index in kept for place in range(first[index], first[index] + counts[index])]
