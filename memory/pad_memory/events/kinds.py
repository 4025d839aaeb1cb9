"""What users tell us: six kinds of `Feedback`.

>>> event = Thumb(prompt="What is rust?", response="Iron oxide.", up=True)
>>> Feedback.from_dict(event.to_dict()) == event
True
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field, replace
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from pad_memory.errors import InvalidEventError
from pad_memory.events.feedback import STRICT, Feedback, event_kind, needed
from pad_memory.fields import Flag, Stars, Text

__all__ = ["Choice", "Critique", "Edit", "Rating", "Statement", "Thumb"]


@event_kind
@dataclass(frozen=True, config=STRICT)
class _OnAnswer(Feedback):
    """Feedback on one answer, given by its prompt and response, or by the `response_id` that the answer carried."""

    texts: ClassVar[tuple[str, ...]] = ("prompt", "response")

    prompt: str = ""
    response: str = ""
    response_id: Text | None = field(default=None, kw_only=True)

    @property
    def _waits(self) -> bool:
        return self.response_id is not None and self.prompt == self.response == ""

    def resolved(self, find: Callable[[str], tuple[str, str]]) -> Feedback:
        if self.response_id is None or not self._waits:
            return self
        prompt, response = find(self.response_id)
        return replace(self, prompt=prompt, response=response)


@event_kind
@dataclass(frozen=True, config=STRICT)
class Thumb(_OnAnswer):
    """A thumb up or down for one response.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        up: True for up, False for down.
    """

    kind: Literal["thumb"] = field(default="thumb", kw_only=True, repr=False)

    up: Flag = needed()

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)


@event_kind
@dataclass(frozen=True, config=STRICT)
class Rating(_OnAnswer):
    """Stars for one response.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        rating: 1 (worst) to 5 (best). 3 is neutral. Fractions are allowed.
    """

    kind: Literal["rating"] = field(default="rating", kw_only=True, repr=False)

    rating: Stars = needed()

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)


@event_kind
@dataclass(frozen=True, config=STRICT)
class Choice(Feedback):
    """One response picked over another answer to the same prompt.

    Args:
        prompt, chosen, rejected: the question and the two answers, or leave all out and pass the ids.
        chosen_id, rejected_id: the ids that the answers carried. None means the texts are given.
        tie: True if the user said that there is no difference. False if they could have said so, but picked one. None
            means they could not say so.

    Raises:
        InvalidEventError: both responses are the same, or see `Feedback`.
    """

    texts: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")

    kind: Literal["choice"] = field(default="choice", kw_only=True, repr=False)

    prompt: str = ""
    chosen: str = ""
    rejected: str = ""
    chosen_id: Text | None = field(default=None, kw_only=True)
    rejected_id: Text | None = field(default=None, kw_only=True)
    tie: Flag | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._waits:
            if self.chosen_id == self.rejected_id:
                raise InvalidEventError(f"Choice needs two different responses, but both are {self.chosen_id!r}.")
        elif self.chosen == self.rejected:
            raise InvalidEventError(f"Choice needs two different responses, but both are {self.chosen[:80]!r}.")

    @property
    def _waits(self) -> bool:
        return None not in (self.chosen_id, self.rejected_id) and self.prompt == self.chosen == self.rejected == ""

    def resolved(self, find: Callable[[str], tuple[str, str]]) -> Feedback:
        if self.chosen_id is None or self.rejected_id is None or not self._waits:
            return self
        (prompt, chosen), (other, rejected) = find(self.chosen_id), find(self.rejected_id)
        if prompt != other:
            raise InvalidEventError(
                f"Choice needs two answers to one prompt, but these answer {prompt[:80]!r} and {other[:80]!r}."
            )
        return replace(self, prompt=prompt, chosen=chosen, rejected=rejected)

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.chosen), (self.prompt, self.rejected))


@event_kind
@dataclass(frozen=True, config=STRICT)
class Edit(_OnAnswer):
    """A response that the user rewrote. The edited text is preferred to the original.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        edited: the answer as it should have been, different from `response`.
    """

    texts: ClassVar[tuple[str, ...]] = ("prompt", "response", "edited")

    kind: Literal["edit"] = field(default="edit", kw_only=True, repr=False)

    edited: Text = needed()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edited == self.response:
            raise InvalidEventError(f"Edit needs a changed text, but both are {self.response[:80]!r}.")

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.edited), (self.prompt, self.response))


@event_kind
@dataclass(frozen=True, config=STRICT)
class Critique(_OnAnswer):
    """What the user says is wrong with one response.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        text: the user's words ("too long"), up to 20,000 characters.
    """

    texts: ClassVar[tuple[str, ...]] = ("prompt", "response", "text")

    kind: Literal["critique"] = field(default="critique", kw_only=True, repr=False)

    text: Text = needed()

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)

    @property
    def words(self) -> str | None:
        return self.text


@event_kind
@dataclass(frozen=True, config=STRICT)
class Statement(Feedback):
    """A preference in the user's own words.

    Args:
        text: the user's words ("never use emojis"), up to 20,000 characters.
        prompt: the question it was said about. None means it was about none.
    """

    texts: ClassVar[tuple[str, ...]] = ("text",)

    kind: Literal["statement"] = field(default="statement", kw_only=True, repr=False)

    text: Text
    prompt: Text | None = field(default=None, kw_only=True)  # the question it was said about, if any

    @property
    def words(self) -> str | None:
        return self.text
