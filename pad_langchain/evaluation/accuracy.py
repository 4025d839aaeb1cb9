"""How often a PersRM rewards the chosen answer of a pair more, by preference, in its own words and in others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pad_langchain.evaluation.statistics import interval
from pad_langchain.persrm.persrm import PersRM
from pad_langchain.training.layouts import Pair
from pad_langchain.training.wordings import wishes_of

__all__ = ["margins", "pair_accuracy"]


def pair_accuracy(
    persrm: PersRM,
    pairs: Sequence[Pair],
    wordings: Mapping[str, Sequence[str]],
    seed: int = 0,
    tick: Callable[[int, int], None] = lambda done, of: None,
) -> dict[str, Any]:
    """Share of pairs whose chosen answer has the larger reward; that of several wishes is the sum of each.

    Args:
        wordings: name → wordings of one preference; a pair with the first of them is asked in the others, too.
        tick: called with (pairs done, pairs in all).

    Returns:
        {"all": way → (mean, low, high), "by_preference": preference → way → [share, count]}, with the ways "as worded"
        and "paraphrased".
    """
    persrm = _as_trained(persrm)
    others = {said[0]: said[1:] for said in wordings.values()}
    right: dict[str, dict[str, list[bool]]] = {}
    for n, pair in enumerate(pairs):
        hits = [margin > 0 for margin in _margins(persrm, pair, (pair.preference, *others.get(pair.preference, ())))]
        of = right.setdefault(pair.preference, {"as worded": [], "paraphrased": []})
        of["as worded"].append(hits[0])
        of["paraphrased"] += hits[1:]
        tick(n + 1, len(pairs))
    return {
        "all": {
            way: interval([float(hit) for ways in right.values() for hit in ways[way]], seed)
            for way in ("as worded", "paraphrased")
        },
        "by_preference": {
            name: {way: [float(np.mean(hits)), len(hits)] for way, hits in ways.items() if hits}
            for name, ways in sorted(right.items())
        },
    }


def margins(persrm: PersRM, pairs: Sequence[Pair]) -> np.ndarray:
    """Reward of the chosen minus that of the rejected answer of each pair, under its preference: [N] nats."""
    persrm = _as_trained(persrm)
    return np.array([_margins(persrm, pair, (pair.preference,))[0] for pair in pairs])


def _margins(persrm: PersRM, pair: Pair, texts: Sequence[str]) -> list[float]:
    """Chosen minus rejected under each text; of several wishes in one text the rewards are summed."""
    wishes = list(dict.fromkeys(wish for text in texts for wish in wishes_of(text)))
    sides: list[Any] = [(pair.messages, pair.chosen), (pair.messages, pair.rejected)]
    rewards_2P = persrm.score_many(sides, wishes)
    margin = dict(zip(wishes, (rewards_2P[0] - rewards_2P[1]).tolist(), strict=True))
    return [sum(margin[wish] for wish in wishes_of(text)) for text in texts]


def _as_trained(persrm: PersRM) -> PersRM:
    """An adapter against its own backbone told the same, not against the base told nothing."""
    if persrm.adapter is None:
        return persrm
    return PersRM(
        persrm.backbone,
        persrm.tokenizer,
        value_head=persrm.value_head,
        adapter=persrm.adapter,
        config=persrm.config,
    )
