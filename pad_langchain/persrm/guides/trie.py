"""How one row's candidates may be written, as a tree of tokens. One forward gives every candidate's probability.

A candidate may be written in several ways: along some tokens, then by any one of a set of tokens. Ways that begin with
the same tokens share the nodes of the tree, so each token is run once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

__all__ = ["Trie", "Way", "log_sum_exp"]


@dataclass(frozen=True)
class Way:
    """One way to write a candidate.

    Args:
        candidate: its column.
        path: the tokens it begins with.
        last_N: ids of the tokens of which any one completes it.
    """

    candidate: int
    path: tuple[int, ...]
    last_N: torch.Tensor


class Trie:
    """The paths of some ways as a tree. Node 0 is the text so far. Parents have lower numbers than their children.

    Attributes:
        tokens: the token that leads to each of the nodes 1, 2, …
        parents: the node above each of the same nodes.
    """

    def __init__(self, ways: Iterable[Way]) -> None:
        self.tokens: list[int] = []
        self.parents: list[int] = []
        self._children: list[dict[int, int]] = [{}]  # of each node, token → node
        self._ways: list[list[Way]] = [[]]  # of each node, those whose path ends there
        for way in sorted(ways, key=lambda way: way.path):  # the tree is the same in whichever order they come
            node = 0
            for token in way.path:
                node = self._children[node].get(token) or self._grow(node, token)
            self._ways[node].append(way)

    def __len__(self) -> int:
        return len(self._children)

    def _grow(self, parent: int, token: int) -> int:
        node = self._children[parent][token] = len(self)
        self.tokens.append(token)
        self.parents.append(parent)
        self._children.append({})
        self._ways.append([])
        return node

    def ask(self, node: int, logits_V: torch.Tensor) -> list[torch.Tensor]:
        """Return the logits at a node: of the tokens to its children, [N], then of completing each way, [1] each."""
        children = [logits_V[list(self._children[node])]] if self._children[node] else []
        return children + [logits_V[way.last_N].logsumexp(-1, keepdim=True) for way in self._ways[node]]

    def masses(self, logprobs: Iterator[float]) -> dict[int, float]:
        """Return each candidate's log-probability over all its ways, in nats: column → log P.

        Args:
            logprobs: the answers in nats to what each node, from the first to the last, asks. No more are taken.
        """
        reached = [0.0] * len(self)
        ways: dict[int, list[float]] = {}
        for node in range(len(self)):
            for child in self._children[node].values():
                reached[child] = reached[node] + next(logprobs)
            for way in self._ways[node]:
                ways.setdefault(way.candidate, []).append(reached[node] + next(logprobs))
        return {candidate: log_sum_exp(values) for candidate, values in ways.items()}


def log_sum_exp(values: Sequence[float]) -> float:
    """Return log Σ exp(value) of at least one value."""
    top = max(values)
    return top + math.log(sum(math.exp(value - top) for value in values)) if top > -math.inf else top
