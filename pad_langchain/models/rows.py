"""Rows that share the forwards of one model: their KV cache, lengths and newest hidden states."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from enum import IntEnum

import torch

from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.compiled import DecodeGraph
from pad_langchain.models.kv.prefixes import Root
from pad_langchain.models.kv.row_cache import RowCache

__all__ = ["Rows", "Section"]


class Section(IntEnum):
    """What rows are for, in the order of the sections."""

    BASE = 0  # the answers
    REFERENCE = 1  # what an adapter's rows are compared with: the same prompts without it
    GUIDE = 2  # a guide's prompts; an adapter acts on these alone


class Rows:
    """Rows that decode together on one backbone: their KV cache, lengths and newest hidden states.

    A group of rows starts with one ragged prefill, may merge into another group, steps by one or more tokens, and
    drops rows. It has sections, one below the other, so that rows of different use share each forward.
    """

    def __init__(
        self,
        backbone: Backbone,
        base: Sequence[Sequence[int]] = (),
        reference: Sequence[Sequence[int]] = (),
        guide: Sequence[Sequence[int]] = (),
        *,
        adapter: Adapter | None = None,
        salts: Sequence[str | None] | None = None,
    ) -> None:
        """Prefill: one forward over all prompts (token ids, none empty), padded on the left.

        What the prefix store knows of the prompts is not run again. `hidden_BD` then has the hidden states from which
        each row's next token is predicted.

        Args:
            backbone: the model that runs the rows.
            base, reference, guide: the prompts of each section.
            adapter: acts on the guide's rows. None means nothing does.
            salts: a salt per row, section after section. Rows of one salt share prefixes. None means all have "".
        """
        self.backbone, self.adapter, self.cache = backbone, adapter, RowCache()
        self.sections = [len(base), len(reference), len(guide)]
        prompts = [list(prompt) for section in (base, reference, guide) for prompt in section]
        self.lengths = [len(prompt) for prompt in prompts]
        self.salts: list[str | None] = [""] * len(prompts) if salts is None else list(salts)
        # Every row runs as many tokens as the one that knows least: no holes between what is known and what is run.
        fresh = self._load_prefixes(prompts)
        self._place()
        ids_BT = torch.tensor(
            [[0] * (fresh - len(prompt)) + prompt[-fresh:] for prompt in prompts],
            device=backbone.device,
            dtype=torch.long,
        )
        self.hidden_BD = self._forward(ids_BT)
        for row, prompt in enumerate(prompts):
            self.remember(row, prompt)
        ran = sum(min(fresh, length) for length in self.lengths)
        backbone.tally.prefilled += ran
        backbone.tally.reused += sum(self.lengths) - ran

    def span(self, section: Section) -> slice:
        """Return the range of a section's rows."""
        first = sum(self.sections[:section])
        return slice(first, first + self.sections[section])

    def hidden(self, section: Section) -> torch.Tensor:
        """Return the newest hidden states of one section's rows, [B, D]."""
        return self.hidden_BD[self.span(section)]

    def step(self, tokens_BT: torch.Tensor) -> None:
        """Append tokens [B] or [B, T] to the rows in one forward, and update `hidden_BD`.

        A step that raises leaves the rows as they were.
        """
        tokens_BT = tokens_BT.to(self.backbone.device).reshape(len(self.lengths), -1)
        before, width = list(self.lengths), self.cache.width
        self.lengths = [length + tokens_BT.shape[1] for length in before]
        try:
            self.hidden_BD = self._forward(tokens_BT, self.backbone.graph if tokens_BT.shape[1] == 1 else None)
        except BaseException:
            self.lengths = before
            self.cache.crop(width)
            raise

    def merge(self, other: Rows) -> None:
        """Append another group's rows below these, section by section."""
        order = [
            (from_other, rows.span(section))
            for section in Section
            for from_other, rows in ((False, self), (True, other))
        ]
        self.cache.merge(other.cache, order)
        sides = (self, other)
        self.lengths = [length for side, span in order for length in sides[side].lengths[span]]
        self.salts = [salt for side, span in order for salt in sides[side].salts[span]]
        self.hidden_BD = torch.cat([sides[side].hidden_BD[span] for side, span in order])
        self.sections = [mine + theirs for mine, theirs in zip(self.sections, other.sections, strict=True)]
        self.adapter = self.adapter or other.adapter
        self._place()

    def keep(self, rows: Sequence[int]) -> None:
        """Keep the rows of these indices, at least one, section after section. An index may come twice."""
        spans = [self.span(section) for section in Section]
        self.sections = [sum(span.start <= row < span.stop for row in rows) for span in spans]
        self.lengths = [self.lengths[row] for row in rows]
        self.salts = [self.salts[row] for row in rows]
        self.cache.keep(rows, max(self.lengths))
        self.hidden_BD = self.hidden_BD[torch.tensor(rows, device=self.hidden_BD.device)]
        self._place()

    def remember(self, row: int, tokens: Sequence[int]) -> None:
        """Keep a row's KV for later prompts that begin alike. `tokens` are all that the row has run."""
        self.backbone.prefixes.add(tokens, self.cache, row, self.cache.width - len(tokens), self._root(row))

    def _root(self, row: int) -> Root:
        """Whose KV a row has in the prefix store."""
        adapted = self.adapter is not None and row >= self.span(Section.GUIDE).start
        return Root(self.adapter.serial if self.adapter is not None and adapted else 0, self.salts[row])

    def _place(self) -> None:
        pads = [max(self.lengths) - length for length in self.lengths]
        self._pad_B = torch.tensor(pads, device=self.backbone.device)
        self._padded = any(pads)

    def _load_prefixes(self, prompts: Sequence[Sequence[int]]) -> int:
        """Fill the cache with what the store knows. Return how many tokens every row still has to run."""
        store = self.backbone.prefixes
        known = [store.find(prompt, self._root(row)) for row, prompt in enumerate(prompts)]
        fresh = max(
            len(prompt) - sum(block.shape[2] for block in blocks) for prompt, blocks in zip(prompts, known, strict=True)
        )
        width = max(self.lengths) - fresh
        if width:
            some = next(block for blocks in known for block in blocks)
            self.cache.load(
                [
                    torch.cat(blocks, dim=2)[:, :, : len(prompt) - fresh] if len(prompt) > fresh else some[:, :, :0]
                    for prompt, blocks in zip(prompts, known, strict=True)
                ],
                width,
            )
        return fresh

    def _forward(self, ids_BT: torch.Tensor, graph: DecodeGraph | None = None) -> torch.Tensor:
        """Run new tokens of every row, compiled where there is a graph. Return the newest hidden states [B, D]."""
        past, steps = self.cache.width, ids_BT.shape[1]
        start = self.span(Section.GUIDE).start
        if graph is not None:
            self.backbone.tally.forwards += 1
            return graph.run(ids_BT[:, 0], self.cache, self._pad_B, self.adapter, start)
        mask_BT = None
        if self._padded:
            mask_BT = torch.arange(past + steps, device=ids_BT.device) >= self._pad_B[:, None]
        positions_BT = (torch.arange(past, past + steps, device=ids_BT.device) - self._pad_B[:, None]).clamp_min(0)
        adapted = self.adapter is not None and start < len(self.lengths)
        with self.adapter.on(start) if self.adapter is not None and adapted else nullcontext():
            output = self.backbone.decoder(
                input_ids=ids_BT,
                attention_mask=mask_BT,
                position_ids=positions_BT,
                past_key_values=self.cache,
                use_cache=True,
            )
        self.backbone.tally.forwards += 1
        return self.backbone.at_head(output.last_hidden_state[:, -1])
