"""Answers graded: what the judges say of them, and what can be counted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pad_langchain.errors import InvalidRequestError
from pad_langchain.evaluation.answers import Answer, Kept, key_of
from pad_langchain.evaluation.cases import Case
from pad_langchain.evaluation.judges import Judge
from pad_langchain.evaluation.statistics import distinct, interval

__all__ = ["Grader"]

_log = logging.getLogger(__name__)


class Grader:
    """Judges at work: a judge that fails on a row is counted, and the row kept for the others.

    Args:
        judges: with names that differ.
        verdicts: keeps what pairwise judges said; None asks again.
        seed: of the bootstrap.

    Attributes:
        failures: judge's name → verdicts that failed.

    Raises:
        InvalidRequestError: there is no judge, or two share a name.
    """

    def __init__(self, judges: Sequence[Judge], verdicts: Kept | None = None, seed: int = 0) -> None:
        names = [judge.name for judge in judges]
        if not names:
            raise InvalidRequestError("An evaluation needs a judge: set `judges`, such as [{kind: rules, rules: …}].")
        if len(set(names)) < len(names):
            raise InvalidRequestError(f"Judges need names of their own, but are {names!r}.")
        self.judges, self.failures = list(judges), dict.fromkeys(names, 0)
        self._scoring: list[Any] = [judge for judge in judges if judge.scores]
        self._verdicts, self._seed = verdicts, seed

    @property
    def first(self) -> Any:
        """The first judge that scores, by which settings are chosen; None where all of them compare."""
        return self._scoring[0] if self._scoring else None

    def figures(self, cases: Sequence[Case], said: Sequence[Answer]) -> dict[str, Any]:
        """Mean scores with their intervals, length, diversity, speed."""
        tokens, seconds = sum(each.tokens for each in said), sum(each.seconds for each in said)
        return {
            "scores": {judge.name: self.mean_score(judge, cases, said) for judge in self._scoring},
            "tokens": tokens / len(said),
            "ended": float(np.mean([each.ended for each in said])),
            "distinct_2": distinct([each.text for each in said]),
            "tokens_per_second": tokens / seconds if seconds else float("nan"),
            "memory_gib": max(each.peak_gib for each in said),  # the name that saved reports have
        }

    def mean_score(self, judge: Any, cases: Sequence[Case], said: Sequence[Answer]) -> tuple[float, float, float]:
        """A scoring judge's mean score with its interval."""
        return interval(self.scores(judge, cases, said), self._seed)

    def scores(self, judge: Any, cases: Sequence[Case], said: Sequence[Answer]) -> list[float]:
        """A scoring judge's scores; rows on which it fails are left out and counted."""
        return _there(self._verdict(judge, judge.score, case, one.text) for case, one in zip(cases, said, strict=True))

    def win_rates(
        self, cases: Sequence[Case], mine: Sequence[Answer], other: Sequence[Answer]
    ) -> dict[str, dict[str, Any]]:
        """Judge's name → `win_rate`."""
        return {judge.name: self.win_rate(judge, cases, mine, other) for judge in self.judges}

    def win_rate(
        self, judge: Judge, cases: Sequence[Case], mine: Sequence[Answer], other: Sequence[Answer]
    ) -> dict[str, Any]:
        """Share of cases won, ties half: mean and interval, and the share of ties."""
        rows = zip(cases, mine, other, strict=True)
        found = _there(self._compare(judge, case, left.text, right.text) for case, left, right in rows)
        ties = float(np.mean([value == 0.5 for value in found])) if found else float("nan")
        return {"won": interval(found, self._seed), "ties": ties, "judged": len(found)}

    def _compare(self, judge: Judge, case: Case, left: str, right: str) -> float | None:
        key = key_of(judge.name, case.messages, case.text, left, right)
        kept = None if self._verdicts is None else self._verdicts.get(key)
        if kept is not None:
            return float(kept)
        value = self._verdict(judge, judge.compare, case, left, right)
        if value is not None and not judge.scores and self._verdicts is not None:
            self._verdicts.put(key, value)
        return value

    def _verdict(self, judge: Judge, ask: Callable[..., float], *asked: Any) -> float | None:
        try:
            return float(ask(*asked))
        except Exception as error:  # a judge is a model or a service: whatever it does, the rest goes on
            self.failures[judge.name] += 1
            _log.warning("the judge %r failed: %s", judge.name, error)
            return None


def _there(verdicts: Iterable[float | None]) -> list[float]:
    """Those that did not fail."""
    return [verdict for verdict in verdicts if verdict is not None]
