"""From a profile to the few weighted preferences the next generation is conditioned on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from pad_memory.condition.belonging import asked_for, held_back
from pad_memory.condition.relevance import Relevance
from pad_memory.errors import InvalidEventError
from pad_memory.language import ANSWER, UTC, Occasion, clock_time, thread_scope
from pad_memory.profile import Preference, Profile, Taste

__all__ = ["Condition", "Request", "count_tokens", "out_of_time", "select"]

LATELY = 5  # expired wishes that a condition tells of
SURE = 0.65  # an inferred preference steers from this confidence on


@dataclass(frozen=True)
class Condition:
    """What one generation is conditioned on: iterate over it for its preferences, each with its stored embedding.

    Args:
        user: whose condition this is.
        items: the preferences that steer, with `embedding` float32 [E] as the store holds it; empty: the plain base
            model.
        left_out: preferences of the profile that do not steer, each with the reason.
        held_back: those that would, but do not belong into what is asked for, each with the reason.
        bearing: key of a wish in the user's own words → how much it bears on the query, a cosine, where that was asked.
        out_of_time: wishes that do not hold yet, or whose time was up lately, each with the reason.
        time_zone: the user's, for the times in `explain`.
        age: seconds since the memory was read last, where it cannot be read now and allows this (`last_known`). None
            means it was read for this.
        taste: what steers beside the preferences and has no words: a residual gate. None means nothing does.
    """

    user: str
    items: tuple[Preference, ...] = ()
    left_out: tuple[tuple[Preference, str], ...] = ()
    age: float | None = None
    held_back: tuple[tuple[Preference, str], ...] = ()
    bearing: Mapping[str, float] = field(default_factory=dict, repr=False)
    out_of_time: tuple[tuple[Preference, str], ...] = ()
    time_zone: str = UTC
    taste: Taste | None = field(default=None, repr=False)

    def __iter__(self) -> Iterator[Preference]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)

    def explain(self) -> str:
        """Say in lines of plain text what steers, what was left out, and why."""
        lines = [f"{item.weight:+.2f} {item.text} ({_grounds(item, self.time_zone)})" for item in self.items]
        lines += [] if self.taste is None else [f"more like this: “{text}”" for _, text in self.taste.like]
        lines += [f"held back: {item.text} ({reason})" for item, reason in self.held_back]
        lines += [f"left out: {item.text} ({reason})" for item, reason in (*self.left_out, *self.out_of_time)]
        lines = lines or ["Nothing is known about this user yet: the plain base model answers."]
        if self.age is not None:
            lines.append(f"The memory cannot be read now: this is what was known {self.age:.0f} seconds ago.")
        return "\n".join(lines)


@dataclass(frozen=True)
class Request:
    """What is known of the next generation.

    Args:
        budget: preferences at most, 0 or more.
        own: of those in the user's own words at most, which then do not count in `budget`; None means they do.
        max_tokens: tokens of all their texts at most, 0 or more; None means any number.
        thread: the conversation it belongs to.
        similarity: key of a wish in the user's own words → how much it bears on the query, a cosine.
        relevance: scope → how near the query is to it; None means there is no query.
        now: what is asked for.
        selective: whether what does not belong into it is held back.

    Raises:
        InvalidEventError: a limit below 0, or one that is not a whole number.
    """

    budget: int = 5
    max_tokens: int | None = None
    own: int | None = None
    thread: str | None = None
    similarity: Mapping[str, float] = field(default_factory=dict)
    relevance: Mapping[str, float] | None = None
    now: Occasion = ANSWER
    selective: bool = True

    def __post_init__(self) -> None:
        for name, value in (("budget", self.budget), ("own", self.own), ("max_tokens", self.max_tokens)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                unit = "tokens" if name == "max_tokens" else "preferences"
                raise InvalidEventError(f"{name} has to be a number of {unit}, 0 or more, but is {value!r}.")


Left = tuple[Preference, str]


def select(
    preferences: Iterable[Preference], request: Request
) -> tuple[tuple[Preference, ...], tuple[Left, ...], tuple[Left, ...]]:
    """Choose what steers: (those that do, those left out with the reason, those held back with the reason).

    A wish for one matter or conversation acts there only, and wins there over what holds everywhere. Stated wishes come
    before inferred ones and those before the population's; wishes of the user's own wording, which may be about one
    matter only, come after those of the catalogue, and the most similar to the query first.
    """
    acting, left_out = _in_scope(preferences, request)

    def rank(item: Preference) -> tuple[int, bool, float]:
        own = item.key.startswith("text:")
        return (_SOURCES.index(item.source), own, -request.similarity.get(item.key, 0.0))

    chosen: list[Preference] = []
    held: list[Left] = []
    room = {False: request.budget, True: request.budget if request.own is None else request.own}
    tokens = 0
    for item in sorted(acting, key=rank):
        size, own = count_tokens(item.text), request.own is not None and item.key.startswith("text:")
        reason = held_back(item, request.now, request.similarity) if request.selective else None
        if reason is not None:
            held.append((item, reason))
        elif item.source == "inferred" and item.confidence < SURE:
            left_out.append((item, f"confidence {item.confidence:.2f} is below {SURE}"))
        elif not room[own]:
            left_out.append((item, f"only {request.own if own else request.budget} steer at once"))
        elif request.max_tokens is not None and tokens + size > request.max_tokens:
            left_out.append((item, f"its {size} tokens do not fit the {request.max_tokens - tokens} that are left"))
        else:
            chosen.append(item)
            tokens += size
            room[own] -= 1
    return tuple(chosen), tuple(left_out), tuple(held)


_SOURCES = ("stated", "inferred", "population")


def _in_scope(preferences: Iterable[Preference], request: Request) -> tuple[list[Preference], list[Left]]:
    everywhere, scoped, left_out = [], [], []
    for item in preferences:
        reason = _out_of_scope(item, request)
        if reason:
            left_out.append((item, reason))
        elif item.scope is None:
            everywhere.append(item)
        else:
            scoped.append(item)

    def nearest(item: Preference) -> float:
        return -float("inf") if item.scope == thread_scope(request.thread) else -_near(item, request)

    acting: dict[str, Preference] = {}
    for item in [*sorted(scoped, key=nearest), *everywhere]:
        place = _place(item)
        if place not in acting:
            acting[place] = item
        else:
            winner = acting[place]
            if winner.text == item.text:  # "be casual, also in my emails"
                continue
            left_out.append((item, f"for {_spoken(winner.scope)} “{winner.text}” holds"))
    return list(acting.values()), left_out


def _out_of_scope(item: Preference, request: Request) -> str | None:
    """Why a scoped preference does not act here; None means it does."""
    if item.scope is None:
        return None
    if item.scope.startswith("thread:"):
        here = request.thread is not None and item.scope == thread_scope(request.thread)
        return None if here else "only for another conversation"
    if (named := asked_for(item.scope, request.now)) is not None and (named or not request.now.for_user):
        return None if named else f"only for {item.scope}, and this is {request.now.spoken}"
    if request.relevance is None:
        return f"only for {item.scope}, and there is no query"
    return None if _near(item, request) >= Relevance.NEAR else f"only for {item.scope}, and the query is not about it"


def _near(item: Preference, request: Request) -> float:
    return (request.relevance or {}).get(item.scope or "", -1.0)


def _place(item: Preference) -> str:
    """What excludes each other: a dimension, or one matter of the user's own."""
    key = item.key.partition("@")[0]
    return key if key.startswith("text:") else key.partition(":")[0]


def _spoken(scope: str | None) -> str:
    return "this conversation" if scope is None or scope.startswith("thread:") else scope


def out_of_time(profile: Profile) -> tuple[Left, ...]:
    """The wishes that do not hold yet or are covered by others, and the last that expired, each with the reason."""
    holding = {(_place(item), item.scope): item for item in profile.preferences}
    found: list[Left] = []
    for item in profile.later:
        over = holding.get((_place(item), item.scope))
        if over is not None and over.valid_to is not None:
            found.append((item, f"until {clock_time(over.valid_to, profile.time_zone)} “{over.text}” holds"))
        elif over is not None and over.answers_left is not None:
            found.append((item, f"for {_answers(over.answers_left)} “{over.text}” holds"))
        elif item.valid_from is not None:
            found.append((item, f"from {clock_time(item.valid_from, profile.time_zone)} on"))
    expired = [item for item in profile.history if item.expired][-LATELY:]
    for item in reversed(expired):
        found.append((item, f"expired {clock_time(item.valid_to or 0.0, profile.time_zone)}"))
    return tuple(found)


def _answers(count: int) -> str:
    return f"{count} more {'answer' if count == 1 else 'answers'}"


def _grounds(item: Preference, zone: str) -> str:
    if item.source == "population":
        return f"what {item.confidence:.0%} of the others want; nothing is known of this user"
    events = f"{len(item.evidence)} {'event' if len(item.evidence) == 1 else 'events'}"
    scope = "" if item.scope is None else f", for {_spoken(item.scope)}"
    origins = f", said as {' and '.join(map(repr, item.origins))}" if item.origins else ""
    until = "" if item.valid_to is None else f", until {clock_time(item.valid_to, zone)}"
    count = "" if item.answers_left is None else f", for {_answers(item.answers_left)}"
    return f"{item.source}, confidence {item.confidence:.2f}, {events}{origins}{scope}{until}{count}"


def count_tokens(text: str) -> int:
    """Estimate the tokens of a text from above: four for every three words and signs."""
    return -(-len(re.findall(r"\w+|[^\w\s]", text)) * 4 // 3)
