"""One step of a batch's rows: masks, candidates, the guide's rewards, and the tokens chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch

from pad_langchain.arithmetic.arrays import Array, copied, pick
from pad_langchain.arithmetic.scoring import Candidates, Scores, decided, plausible_candidates, score_candidates
from pad_langchain.engine.local.row import Chosen, Row
from pad_langchain.engine.local.sampling import Layout, Sampling
from pad_langchain.engine.local.step import choose_guided, choose_plain, mask_illegal

__all__ = ["Arrangement", "AskGuide", "Exact"]

# Candidates of the guided rows → the guide's logits of them [G, K], and the reference's. None means the base's.
AskGuide = Callable[[Candidates], tuple[Array, Array | None]]
# Token ids of the guided rows [N, K] → their base logits in float32.
Exact = Callable[[Array], Array]


class Arrangement:
    """How the rows of a batch choose together. A new one is made whenever rows join or leave.

    Args:
        rows: the rows that decode together, B in all.
        riding: whether guide rows are rows of the base's model.
        inputs, head: the devices on which tokens go in and logits come out. None means logits are numpy arrays.
    """

    def __init__(
        self, rows: Sequence[Row], riding: bool, inputs: torch.device | None, head: torch.device | None
    ) -> None:
        self.rows = tuple(rows)
        self.plain = Sampling.of(rows, [place for place, row in enumerate(rows) if not row.guide_rows], head)
        self.guided = Sampling.of(rows, [place for place, row in enumerate(rows) if row.guide_rows], head)
        self.layout = Layout.of(rows, riding, inputs, head)
        # By place among the guided rows: the regions that bind some, and the repeats that cost some something.
        self._regions = [(n, row.region) for n, row in enumerate(self.guided.rows) if row.region is not None]
        self._repeats = [(n, row.repeats) for n, row in enumerate(self.guided.rows) if row.repeats is not None]

    def choose(self, logits_BV: Array, ask: AskGuide, exact: Exact | None = None) -> list[Chosen | Exception]:
        """Choose every row's next token.

        Args:
            logits_BV: the base's logits. What grammars and repeats make of them is written over them.
            ask: gives the guide's logits of the candidates.
            exact: gives the candidates' base logits in float32. None means `logits_BV` are not rounded.

        Returns:
            per row its token, or the error that ends it.
        """
        failures = mask_illegal(logits_BV, self.rows)
        before = self._penalise(logits_BV)
        chosen: dict[int, Chosen | Exception] = {}
        if self.plain.rows:
            told = choose_plain(self.plain, self.plain.take(logits_BV))
            chosen.update(zip(self.plain.places, told, strict=True))
        if self.guided.rows:
            logits_NV = self.guided.take(logits_BV)
            told = choose_guided(self.guided, logits_NV, *self._weigh(logits_NV, ask, exact, before))
            chosen.update(zip(self.guided.places, told, strict=True))
        return [failures[index] if index in failures else chosen[index] for index in range(len(self.rows))]

    def _penalise(self, logits_BV: Array) -> dict[int, Array]:
        """Let repeats change the logits in place. Return those of guided rows as they were, by place in the batch."""
        before: dict[int, Array] = {}
        for place, row in enumerate(self.rows):
            if row.repeats is not None:
                if row.guide_rows:
                    before[place] = copied(logits_BV[place])
                row.repeats.apply(logits_BV[place])
        return before

    def _weigh(
        self, logits_NV: Array, ask: AskGuide, exact: Exact | None, before: Mapping[int, Array]
    ) -> tuple[Candidates, Scores, Array]:
        """Eq. 13 on the candidates of the N guided rows, and which rows choose without the guide [N].

        Lazy guidance decided them, or their answers are where preferences do not steer.
        """
        guided = self.guided
        penalising = None if exact is None else partial(self._penalised, exact)
        found = plausible_candidates(logits_NV, guided.k_N, guided.alpha_N, guided.most, penalising, guided.cuts)
        skip_N, all_decided = self._decided(found)
        if self._regions:
            skip_N = copied(skip_N)
            for n, region in self._regions:
                skip_N[n] |= not region.open
        guide_GK, reference_GK = (None, None) if all_decided else self._ask(found, ask, exact, before)
        scores = score_candidates(
            found,
            guide_GK,
            guided.beta_N,
            reference_GK=reference_GK,
            shares=None if self.layout.alike else self.layout.shares,
            clip_B=guided.clip_N if guided.clipped else None,
            skip_B=skip_N if guided.lazy or self._regions else None,
        )
        return found, scores, skip_N

    def _penalised(self, exact: Exact, tokens_NK: Array) -> Array:
        """The candidates' base logits in float32, penalties included."""
        base_NK = exact(tokens_NK)
        for n, repeats in self._repeats:
            base_NK[n] = repeats.penalise(tokens_NK[n], base_NK[n])
        return base_NK

    def _ask(
        self, found: Candidates, ask: AskGuide, exact: Exact | None, before: Mapping[int, Array]
    ) -> tuple[Array, Array | None]:
        """Ask the guide. A reward compares logits as the models gave them: the reference has no penalties either."""
        if not before:
            return ask(found)
        base_NK = copied(found.base_BK) if exact is None else exact(found.tokens_BK)
        if exact is None:
            for n, _ in self._repeats:
                base_NK[n] = before[self.guided.places[n]][found.tokens_BK[n]]
        plain = Candidates(found.tokens_BK, base_NK, found.keep_BK)
        guide_GK, reference_GK = ask(plain)
        return guide_GK, plain.of(self.layout.shares.row_G).base_BK if reference_GK is None else reference_GK

    def _decided(self, found: Candidates) -> tuple[Array, bool]:
        """Which lazy rows no reward can change [N], and whether no reward can change any row."""
        guided = self.guided
        if not (guided.lazy or guided.constrained):
            return guided.lazy_N, False
        # One legal token is decided as well: its reward is 0 whatever the guide says.
        clip_N = pick(guided.lazy_N, guided.clip_N, math.inf)
        decided_N = decided(found.base_BK, found.keep_BK, guided.beta_N, clip_N)
        # A row's answer must not tell whether a neighbour needed the guide, so it is skipped by itself.
        return guided.lazy_N & decided_N, bool(decided_N.all())
