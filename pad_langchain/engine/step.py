"""One step for the whole batch: mask, candidates, rewards, scores, choice. Rows differ in everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from pad_langchain.engine.backbone import Backbone, Rows
from pad_langchain.engine.guides import Guide, GuideRows, Plan
from pad_langchain.engine.scoring import (
    candidate_rewards,
    combine_rewards,
    draw,
    guided_scores,
    plausible,
    take_candidates,
)
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.text import TextStream
from pad_langchain.engine.types import Request
from pad_langchain.errors import GuideError, PadError

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
    index: int = 0
    last: int = -1
    guide_rows: int = field(init=False)

    def __post_init__(self) -> None:
        self.guide_rows = 0 if self.plan is None else len(self.plan.rows)


class Batch:
    """Rows that decode together, with the KV caches of the base and of the guide.

    Args:
        rows: at least one; they are prefilled here, in one forward of the base and at most one of the guide.
    """

    def __init__(self, base: Backbone, guide: Guide | None, rows: list[Row]) -> None:
        self.base, self.rows = base, list(rows)
        self.base_rows = Rows(base, [row.prompt for row in rows])
        plans = [row.plan for row in rows if row.plan is not None]
        self.guide_rows: GuideRows | None = guide.start(base, plans) if guide is not None and plans else None
        self._arrange()

    def merge(self, other: Batch) -> None:
        """Append another batch's rows."""
        self.base_rows.merge(other.base_rows)
        if self.guide_rows is None:
            self.guide_rows = other.guide_rows
        elif other.guide_rows is not None:
            self.guide_rows.merge(other.guide_rows)
        self.rows += other.rows
        self._arrange()

    def keep(self, kept: Sequence[int]) -> None:
        """Keep the rows of these indices, at least one, in order."""
        wanted = set(kept)
        flat = [index for index, row in enumerate(self.rows) for _ in range(row.guide_rows)]
        guide_kept = [position for position, index in enumerate(flat) if index in wanted]
        if self.guide_rows is not None and len(guide_kept) < len(flat):
            if guide_kept:
                self.guide_rows.keep(guide_kept)
            else:
                self.guide_rows = None
        self.base_rows.keep(kept)
        self.rows = [self.rows[index] for index in kept]
        self._arrange()

    def advance(self) -> None:
        """Feed every row its last token: one forward of the base, at most one of the guide."""
        tokens_B = torch.tensor([row.last for row in self.rows], device=self.base.device)
        self.base_rows.step(tokens_B)
        if self.guide_rows is not None:
            self.guide_rows.advance(tokens_B[self._guided_B[self._row_G]])

    def choose(self) -> list[Choice | PadError]:
        """Choose every row's next token from the hidden states at hand; a row that cannot gets its error instead."""
        logits_BV = self.base.logits(self.base_rows.hidden_BD)
        failures: dict[int, PadError] = {}
        for index, row in enumerate(self.rows):
            if row.grammar is not None:
                try:
                    logits_BV[index].masked_fill_(~row.grammar.mask().to(logits_BV.device), float("-inf"))
                except PadError as error:
                    failures[index] = error
        uniform_B = torch.tensor(
            [
                float(torch.rand((), generator=row.generator, dtype=torch.float64))
                if row.request.temperature > 0
                else 0.0
                for row in self.rows
            ],
            dtype=torch.float64,
            device=logits_BV.device,
        )
        choices: dict[int, Choice | PadError] = {}
        if self._plain:
            choices |= self._choose_plain(logits_BV, uniform_B)
        if self._guided:
            choices |= self._choose_guided(logits_BV, uniform_B)
        return [failures.get(index) or choices[index] for index in range(len(self.rows))]

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
        hidden_ND = self.base_rows.hidden_BD[at]
        # 1. candidates from the masked base logits, then the plausibility cut
        candidates_NK, base_NK, keep_NK = take_candidates(logits_BV[at], self._k_B[at])
        if self.base.head.weight.dtype != torch.float32:
            # The reward is a difference: both sides must be as exact as the guide's, which are float32.
            base_NK = self.base.candidate_logits(hidden_ND, candidates_NK)
        keep_NK = plausible(base_NK, keep_NK, self._alpha_B[at])
        # 2. rewards of every guide row, brought together for each request
        rewards_NK, sound_N = self._rewards(hidden_ND, candidates_NK, base_NK, keep_NK)
        # 3. scores and choice
        scores_NK = guided_scores(base_NK, rewards_NK, self._beta_B[at], keep_NK)
        place_N = draw(scores_NK, self._temperature_B[at], self._top_p_B[at], uniform_B[at])[:, None]
        token_N = candidates_NK.gather(1, place_N)[:, 0].tolist()
        logprob_N = scores_NK.log_softmax(-1).gather(1, place_N)[:, 0].tolist()
        reward_N = rewards_NK.gather(1, place_N)[:, 0].tolist()
        out: dict[int, Choice | PadError] = {}
        for n, (index, sound) in enumerate(zip(self._guided, sound_N.tolist(), strict=True)):
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
                columns = (candidates_NK[n], base_NK[n] - total, rewards_NK[n], scores_NK[n])
                weighed = tuple(
                    Weighed(*values) for values in zip(*(column[order].tolist() for column in columns), strict=True)
                )
            out[index] = Choice(token_N[n], logprob_N[n], reward_N[n], weighed)
        return out

    def _rewards(
        self, hidden_ND: torch.Tensor, candidates_NK: torch.Tensor, base_NK: torch.Tensor, keep_NK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Combined rewards [N, K], and which rows' guides returned finite numbers [N]."""
        if self._grammars and bool((keep_NK.sum(-1) <= 1).all()):
            # One legal token each: its reward is 0 whatever the guide says.
            return torch.zeros_like(base_NK), torch.ones(len(base_NK), dtype=torch.bool, device=base_NK.device)
        assert self.guide_rows is not None
        row_G = self._row_G
        keep_GK, base_GK = keep_NK[row_G], base_NK[row_G]
        guide_GK, own_GK = self.guide_rows.logits(hidden_ND[row_G], candidates_NK[row_G], self._any_own)
        reference_GK = base_GK if own_GK is None else torch.where(self._own_N[row_G][:, None], own_GK, base_GK)
        rewards_GK = candidate_rewards(guide_GK, reference_GK, keep_GK)
        rewards_NK = combine_rewards(rewards_GK, self._weight_G, row_G, self._best_N)
        return rewards_NK, torch.isfinite(rewards_NK).all(-1)

    def _arrange(self) -> None:
        """Settings as tensors, made again whenever rows join or leave. N and G count guided rows only."""
        rows, device = self.rows, self.base.head.weight.device
        requests = [row.request for row in rows]
        self._guided = [index for index, row in enumerate(rows) if row.guide_rows]
        self._plain = [index for index, row in enumerate(rows) if not row.guide_rows]
        self._grammars = any(row.grammar is not None for row in rows)
        guided = [rows[index] for index in self._guided]
        self._any_own = any(row.request.reference == "reference" for row in guided)

        def tensor(values: list[Any], dtype: torch.dtype) -> torch.Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        self._guided_B = tensor(self._guided, torch.long)
        self._plain_B = tensor(self._plain, torch.long)
        self._k_B = tensor([request.top_k for request in requests], torch.long)
        self._beta_B = tensor([request.beta for request in requests], torch.float32)
        self._alpha_B = tensor([request.alpha for request in requests], torch.float32)
        self._temperature_B = tensor([request.temperature for request in requests], torch.float32)
        self._top_p_B = tensor([request.top_p for request in requests], torch.float32)
        self._row_G = tensor([n for n, row in enumerate(guided) for _ in range(row.guide_rows)], torch.long)
        self._weight_G = tensor([weight for row in guided if row.plan for weight in row.plan.weights], torch.float32)
        self._best_N = tensor([row.request.combine == "max" for row in guided], torch.bool)
        self._own_N = tensor([row.request.reference == "reference" for row in guided], torch.bool)
