"""The rows that decode together on torch: what base and guide have read of them, and their next tokens."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import accumulate

import torch

from pad_langchain.arithmetic.scoring import Candidates
from pad_langchain.engine.local.arrangement import Arrangement
from pad_langchain.engine.local.row import Chosen, Row
from pad_langchain.engine.protocol import Guide, GuideRows
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.rows import Rows, Section

__all__ = ["Batch"]


class Batch:
    """Rows that decode together, with the KV caches of the base and of the guide.

    The base's model runs the base rows, the reference rows of an adapter, and the guide rows that ride in its forward.
    Other guides have none of the last two.

    Args:
        base: the engine's base.
        guide: the engine's guide. None means there is none.
        groups: groups of rows, at least one. The rows of a group share a prompt (samples of one request), which is
            prefilled once. All prompts take one forward of the base and at most one of the guide.
    """

    def __init__(self, base: Backbone, guide: Guide | None, groups: Sequence[Sequence[Row]]) -> None:
        self.base, self.rows = base, [group[0] for group in groups]
        self._riding = guide is not None and guide.rides(base)
        self._arrange()
        plans = [row.plan for row in self.rows if row.plan is not None]
        self.base_rows = Rows(
            base,
            base=[row.prompt for row in self.rows],
            reference=[prompt for plan in plans for prompt in plan.reference_rows],
            guide=[prompt for plan in plans for prompt in plan.rows] if self._riding else [],
            adapter=None if guide is None else guide.adapter,
            salts=[self.rows[owner].request.salt for owner in self._layout.owners],
        )
        self.guide_rows: GuideRows | None = guide.start(base, plans) if guide is not None and plans else None
        self._unfed: list[torch.Tensor] = []  # tokens [G] that the guide has not read, a step each
        if any(len(group) > 1 for group in groups):
            self.keep([index for index, group in enumerate(groups) for _ in group])
            self.rows = [row for group in groups for row in group]
            self._arrange()

    @classmethod
    def again(cls, base: Backbone, guide: Guide | None, row: Row) -> Batch:
        """Open a batch of one row that was in another. Its prompt and its tokens so far are run again."""
        batch = cls(base, guide, [[row]])
        if row.tokens:
            batch.catch_up(row.tokens)
        return batch

    def catch_up(self, tokens: Sequence[int]) -> None:
        """Run the tokens that the batch's only row has chosen so far, at least one."""
        tokens_1T = torch.tensor([tokens], device=self.base.device)
        self.base_rows.step(tokens_1T[self._layout.owner_R])
        if self.guide_rows is not None:
            self._unfed = list(tokens_1T[self._layout.reader_G].unbind(1))

    @property
    def kv_tokens(self) -> int:
        """Columns of KV cache that the base's rows use, padding included."""
        return len(self.base_rows.lengths) * self.base_rows.cache.width

    # Who is in

    def merge(self, other: Batch) -> None:
        """Append another batch's rows."""
        self.settle()
        other.settle()
        self.base_rows.merge(other.base_rows)
        if self.guide_rows is None:
            self.guide_rows = other.guide_rows
        elif other.guide_rows is not None:
            self.guide_rows.merge(other.guide_rows)
        self.rows += other.rows
        self._arrange()

    def keep(self, kept: Sequence[int]) -> None:
        """Keep the rows of these indices, at least one, in order. An index that comes twice makes two rows."""
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

    def close(self) -> None:
        """Do nothing, as the caches go with the batch."""

    def remember(self, index: int) -> None:
        """Keep the base's keys and values of a row for the conversation's next turn."""
        row = self.rows[index]
        self.base_rows.remember(index, [*row.prompt, *row.tokens][: self.base_rows.lengths[index]])

    def _arrange(self) -> None:
        """Collect what the rows ask for, whenever rows join or leave."""
        self._asked = Arrangement(self.rows, self._riding, self.base.device, self.base.head.weight.device)
        self._layout = self._asked.layout

    # What has been read

    def advance(self) -> None:
        """Feed every row its last token in one forward of the base. The guide reads it when it is asked next.

        Does nothing if the rows are fed already, as a step that ran out of memory later is repeated.
        """
        if self.base_rows.lengths[0] == len(self.rows[0].prompt) + len(self.rows[0].tokens):
            return
        tokens_B = torch.tensor([row.tokens[-1] for row in self.rows], device=self.base.device)
        self.base_rows.step(tokens_B[self._layout.owner_R])
        if self.guide_rows is not None:
            self._unfed.append(tokens_B[self._layout.reader_G])

    def settle(self) -> None:
        """Let the guide read what it has not read, in one forward for any number of tokens."""
        if self.guide_rows is not None and self._unfed:
            self.guide_rows.advance(torch.stack(self._unfed, dim=1))
            self._unfed = []

    # What comes next

    def choose(self) -> list[Chosen | Exception]:
        """Choose every row's next token from the newest hidden states. A row that fails gets its error."""
        exact = None
        if self.base.head.weight.dtype != torch.float32 and self._asked.guided.rows:
            exact = partial(self.base.candidate_logits, self._guided_hidden())
        chosen = self._asked.choose(self.base.logits(self.base_rows.hidden(Section.BASE)), self._ask_guide, exact)
        self._end_full_rows()
        return chosen

    def _guided_hidden(self) -> torch.Tensor:
        """The newest hidden states of the N guided rows, [N, D]."""
        return self._asked.guided.take(self.base_rows.hidden(Section.BASE))

    def _ask_guide(self, found: Candidates) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The guide's logits of the candidates [G, K], and the reference's. None means the base's."""
        assert self.guide_rows is not None
        self.settle()
        layout, row_G = self._layout, self._layout.shares.row_G
        tokens_GK, base_GK, keep_GK = found.of(row_G)
        hidden_GD = self.base_rows.hidden(Section.GUIDE) if self._riding else self._guided_hidden()[row_G]
        guide_GK, own_GK = self.guide_rows.logits(hidden_GD, tokens_GK, layout.own_G1 is not None, keep_GK)
        if layout.apart_G is not None:
            hidden_AD = self.base_rows.hidden(Section.REFERENCE)
            own_GK = base_GK.clone()
            own_GK[layout.apart_G] = self.base.candidate_logits(hidden_AD, tokens_GK[layout.apart_G])
        if own_GK is None or layout.own_G1 is None:
            return guide_GK, None
        return guide_GK, torch.where(layout.own_G1, own_GK, base_GK)

    def _end_full_rows(self) -> None:
        """End rows whose guide has no context left. Only a guide of another tokenizer reports that."""
        left = iter(() if self.guide_rows is None else self.guide_rows.full)
        for row in self.rows:
            full = [next(left, False) for _ in range(row.guide_rows)]
            if any(full):
                row.limit = min(row.limit, row.index + 1)


def _places(counts: Sequence[int], kept: Sequence[int]) -> list[int]:
    """The places of the kept rows' parts in a list of all parts, where row i has counts[i] parts."""
    first = list(accumulate(counts, initial=0))
    return [place for index in kept for place in range(first[index], first[index] + counts[index])]
