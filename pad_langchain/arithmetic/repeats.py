"""What the repeats of an answer cost its next token: a penalty on tokens it has, a ban on n-grams it has.

Only the answer's own tokens count. A prompt has the marks of turns, names of tools and the words that the answer is
about, which an answer has to be free to write. transformers and llama.cpp count the prompt, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from .arrays import Array, array, isin, pick
from .scoring import penalised

__all__ = ["Repeats"]


class Repeats:
    """The repeats of one answer.

    Args:
        penalty: 1 or more, see `penalised`. 1 changes nothing.
        ngram: n, 0 or more. n tokens in a row are written once only. 0 forbids nothing.
    """

    def __init__(self, penalty: float, ngram: int) -> None:
        self.penalty, self.ngram = penalty, ngram
        self._tokens: list[int] = []
        self._seen: dict[int, None] = {}
        self._followers: dict[tuple[int, ...], list[int]] = {}  # n - 1 tokens → those that came after them

    @classmethod
    def of(cls, penalty: float, ngram: int) -> Repeats | None:
        """Return the repeats of an answer that begins. None means they cost nothing."""
        return None if penalty == 1.0 and not ngram else cls(penalty, ngram)

    def append(self, token_id: int) -> None:
        """Take the answer's next token."""
        self._tokens.append(token_id)
        if self.penalty > 1.0:
            self._seen[token_id] = None
        if 0 < self.ngram <= len(self._tokens):
            *before, last = self._tokens[-self.ngram :]
            self._followers.setdefault(tuple(before), []).append(last)

    def follow(self, tokens: Sequence[int]) -> None:
        """Take all tokens of the answer so far. Where they do not go on from those that it has, it begins anew."""
        if list(tokens[: len(self._tokens)]) != self._tokens:
            self._tokens, self._seen, self._followers = [], {}, {}
        for token_id in tokens[len(self._tokens) :]:
            self.append(token_id)

    def apply(self, logits_V: Array) -> None:
        """Change a row's logits in place. Of the tokens that are allowed, at least one stays so."""
        device = logits_V.device if isinstance(logits_V, torch.Tensor) else None
        if self._seen:
            seen_S = array(list(self._seen), "int64", device)
            logits_V[seen_S] = penalised(logits_V[seen_S], self.penalty)
        if forbidden := self._forbidden():
            forbidden_S = array(forbidden, "int64", device)
            allowed_S = logits_V[forbidden_S]
            logits_V[forbidden_S] = -math.inf
            if not bool((logits_V > -math.inf).any()):
                logits_V[forbidden_S] = allowed_S

    def penalise(self, tokens_K: Array, base_K: Array) -> Array:
        """Return the logits of K tokens with the penalty of those that the answer has."""
        if not self._seen:
            return base_K
        return pick(isin(tokens_K, list(self._seen)), penalised(base_K, self.penalty), base_K)

    def _forbidden(self) -> list[int]:
        """The tokens that would repeat an n-gram."""
        if not self.ngram:
            return []
        last = self._tokens[len(self._tokens) - self.ngram + 1 :] if self.ngram > 1 else []
        return self._followers.get(tuple(last), [])
