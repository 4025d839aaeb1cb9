"""A log of recent answers, so that feedback needs their id only: bounded, expiring, each user's apart."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

from pad_memory.errors import InvalidEventError, UnknownResponseError
from pad_memory.forks import FreshLock

__all__ = ["ResponseLog"]


@dataclass(frozen=True)
class _Answer:
    prompt: str
    response: str
    time: float

    @property
    def size(self) -> int:
        return len(self.prompt) + len(self.response)


class ResponseLog:
    """Answers by user and response id, in this process's memory alone: nothing is written to disk. Thread-safe.

    The oldest answers go when a limit is reached. A copy is the same log; a pickled one is empty, with the same limits.

    Args:
        seconds: how long an answer is kept, above 0.
        per_user: answers of one user, 1 or more.
        answers: answers of all users, 1 or more.
        characters: prompts and responses of all users together, 1 or more; an answer larger than this is not kept.
        clock: seconds since anywhere; never goes backwards.

    Raises:
        InvalidEventError: a limit is out of its range.
    """

    def __init__(
        self,
        *,
        seconds: float = 86_400.0,
        per_user: int = 100,
        answers: int = 10_000,
        characters: int = 20_000_000,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds < math.inf:
            raise InvalidEventError(f"seconds has to be a finite number above 0, but is {seconds!r}.")
        for name, value in (("per_user", per_user), ("answers", answers), ("characters", characters)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise InvalidEventError(f"{name} has to be a whole number of at least 1, but is {value!r}.")
        self.seconds, self.per_user, self.answers, self.characters = seconds, per_user, answers, characters
        self._clock = clock
        self._lock = FreshLock()
        self._answers: OrderedDict[tuple[str, str], _Answer] = OrderedDict()  # by (user, response id), oldest first
        self._users: dict[str, OrderedDict[str, None]] = {}  # each user's response ids, oldest first
        self._size = 0

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        limits = {name: getattr(self, name) for name in ("seconds", "per_user", "answers", "characters")}
        return partial(type(self), **limits, clock=self._clock), ()

    def __len__(self) -> int:
        with self._lock:
            self._expire()
            return len(self._answers)

    def add(self, user: str, response_id: str, prompt: str, response: str) -> None:
        """Keep an answer. One without text is not kept: there is nothing in it to judge."""
        if not prompt.strip() or not response.strip():
            return
        answer = _Answer(prompt, response, self._clock())
        with self._lock:
            self._drop(user, response_id)
            self._answers[user, response_id] = answer
            ids = self._users.setdefault(user, OrderedDict())
            ids[response_id] = None
            self._size += answer.size
            if len(ids) > self.per_user:
                self._drop(user, next(iter(ids)))
            while len(self._answers) > self.answers or self._size > self.characters:
                self._drop(*next(iter(self._answers)))
            self._expire()

    def find(self, user: str, response_id: str) -> tuple[str, str]:
        """Return (prompt, response) of an answer this user got.

        Raises:
            UnknownResponseError: there is none. The message is the same whether it never was, is too old or went to
                somebody else.
        """
        with self._lock:
            self._expire()
            answer = self._answers.get((user, response_id))
        if answer is None:
            raise UnknownResponseError(
                f"{user!r} got no answer with the response id {response_id!r} in this process within the last "
                f"{self.seconds:,.0f} seconds and {self.per_user} answers. Pass the texts themselves instead: "
                "prompt=… and response=…"
            )
        return answer.prompt, answer.response

    def move(self, user: str, into: str) -> None:
        """Make a user's answers another's. Where that one has an answer of the same response id, it stays theirs."""
        if user == into:
            return
        with self._lock:
            for response_id in tuple(self._users.get(user, ())):
                if (into, response_id) in self._answers:
                    self._drop(user, response_id)
            if not self._users.pop(user, None):
                return
            answers = ((into if owner == user else owner, id, answer) for (owner, id), answer in self._answers.items())
            self._answers = OrderedDict(((owner, id), answer) for owner, id, answer in answers)
            self._users[into] = OrderedDict((id, None) for owner, id in self._answers if owner == into)
            while len(self._users[into]) > self.per_user:
                self._drop(into, next(iter(self._users[into])))

    def forget(self, user: str) -> None:
        """Drop all answers of a user."""
        with self._lock:
            for response_id in tuple(self._users.get(user, ())):
                self._drop(user, response_id)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._answers.clear()
            self._users.clear()
            self._size = 0

    def _drop(self, user: str, response_id: str) -> None:
        answer = self._answers.pop((user, response_id), None)
        if answer is not None:
            self._size -= answer.size
            self._users[user].pop(response_id)
            if not self._users[user]:
                del self._users[user]

    def _expire(self) -> None:
        """Drop what is too old. The caller holds the lock; the oldest are in front."""
        oldest = self._clock() - self.seconds
        while self._answers:
            key, answer = next(iter(self._answers.items()))
            if answer.time >= oldest:
                return
            self._drop(*key)
