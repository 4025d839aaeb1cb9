"""What users tell us: one frozen event type, `Feedback`, with six kinds, and what takes one of them back, `Retraction`.

>>> event = Thumb(prompt="What is rust?", response="Iron oxide.", up=True)
>>> Feedback.from_dict(event.to_dict()) == event
True
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from pad_memory.errors import InvalidEventError, StoreVersionError

__all__ = [
    "Choice",
    "Critique",
    "Edit",
    "Feedback",
    "Rating",
    "Retraction",
    "Statement",
    "Thumb",
    "check_length",
    "check_text",
]

SCHEMA_VERSION = 1
_REQUIRED: Any = None  # stands where a value is missing; a default only because prompt and response have one


LONGEST_WORDS = (
    20_000  # characters of a statement or a critique; over 2,000 it is kept, but no wish is looked for in it
)
LONGEST_TEXT = 1_000_000  # characters of a prompt, a response or an edit


def check_length(event: Feedback) -> None:
    """Refuse an event that is too long to be read.

    Raises:
        InvalidEventError: the user's words are over 20,000 characters, or another text is over 1,000,000.
    """
    for name in event.texts:
        text, most = getattr(event, name), LONGEST_TEXT if name != "text" else LONGEST_WORDS
        if len(text) > most:
            raise InvalidEventError(
                f"{type(event).__name__}.{name} has {len(text):,} characters, but at most {most:,} are read: "
                f"{text[:40]!r}… Send the sentences that say what the user wants."
            )


def check_text(name: str, value: object) -> str:
    """Return `value` when it is a string that says something and can be encoded as UTF-8.

    Raises:
        InvalidEventError: not a string, blank, or with lone surrogates.
    """
    if not isinstance(value, str) or not value.strip():
        raise InvalidEventError(f"{name} has to be text that is not empty, but is {value!r}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidEventError(
            f"{name} has to be valid Unicode text, but has a lone surrogate at character {error.start}. "
            "Decode it with errors='replace' first."
        ) from None
    return value


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """One thing a user told us, with its provenance. Make one of the six kinds, not this base.

    Args:
        thread: the conversation it belongs to.
        time: Unix time in seconds; None is filled in when it is recorded.
        source: who said so: "user", or e.g. the name of an import.
        id: idempotency key, unique within the user; the same id twice counts once, and its newer version, if it says
            something else, replaces the older. None is filled in when it is recorded.
        metadata: anything JSON can hold; kept as it is.
        user, tenant: whose it is; None is filled in when it is recorded.

    Raises:
        InvalidEventError: a text is empty or not valid Unicode, or a value is out of range; the message names it.
    """

    kind: ClassVar[str] = ""
    texts: ClassVar[tuple[str, ...]] = ()

    thread: str | None = None
    time: float | None = None
    source: str = "user"
    id: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)
    user: str | None = None
    tenant: str | None = None

    def __post_init__(self) -> None:
        if not self.kind:
            raise InvalidEventError(
                f"Feedback is made as one of: {', '.join(cls.__name__ for cls in _KINDS.values())}."
            )
        for name in (*(() if self._waits else self.texts), "source"):
            check_text(f"{type(self).__name__}.{name}", getattr(self, name))
        for name in ("thread", "id", "user", "tenant"):
            if getattr(self, name) is not None:
                check_text(f"{type(self).__name__}.{name}", getattr(self, name))
        if self.time is not None:
            if isinstance(self.time, bool) or not isinstance(self.time, (int, float)) or not math.isfinite(self.time):
                raise InvalidEventError(
                    f"time has to be a finite number of Unix seconds or None, but is {self.time!r}."
                )
            object.__setattr__(self, "time", float(self.time))
        object.__setattr__(self, "metadata", _json_copy(self.metadata))

    @property
    def _waits(self) -> bool:
        """Whether texts are still to be found by response ids."""
        return False

    def resolved(self, find: Callable[[str], tuple[str, str]]) -> Feedback:
        """Return the event with the texts its response ids stand for; itself where it has all its texts.

        Args:
            find: response id → (prompt, response).
        """
        return self

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        """The (prompt, response) pairs a scorer has to judge, the preferred one first; empty for pure words."""
        return ()

    @property
    def words(self) -> str | None:
        """What the user said in their own words, if this kind has any."""
        return None

    def supersedes(self, older: Feedback) -> bool:
        """Whether it is a newer version of a recorded event with its id: it says something else, and not earlier.

        Who said it where, and its metadata, make no other version. A retraction has none.
        """
        if Retraction.kind in (self.kind, older.kind) or (self.time is not None and self.time < (older.time or 0.0)):
            return False
        if self.kind != older.kind:
            return True
        told = {item.name for item in fields(self)} - {item.name for item in fields(Feedback)}
        ids = {name for name in told if name.endswith("_id")}
        compared = ids | (told - {"prompt", "response", "chosen", "rejected"}) if self._waits else told - ids
        return any(getattr(self, name) != getattr(older, name) for name in compared)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as a JSON-able dict, with its kind and schema version."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return {"schema_version": SCHEMA_VERSION, "kind": self.kind, **values}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Feedback:
        """Read what `to_dict` wrote.

        Raises:
            StoreVersionError: written by a newer version.
            InvalidEventError: an unknown kind, or fields that do not belong to it.
        """
        values = dict(data)
        version, kind = values.pop("schema_version", None), values.pop("kind", None)
        if not isinstance(version, int) or version < 1:
            raise InvalidEventError(f"An event needs its schema_version, 1 to {SCHEMA_VERSION}, but has {version!r}.")
        if version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"This event has schema_version {version}, written by a newer version; this one reads up to "
                f"{SCHEMA_VERSION}. Upgrade pad-langchain."
            )
        if kind not in _KINDS:
            raise InvalidEventError(f"The kind of an event has to be one of {sorted(_KINDS)}, but is {kind!r}.")
        try:
            return _KINDS[kind](**values)
        except TypeError as error:
            raise InvalidEventError(f"These are not the fields of a {kind} event: {error}.") from None

    def stamped(self, *, id: str, time: float, user: str | None = None, tenant: str | None = None) -> Feedback:
        """Return a copy of this user's and tenant's, with id and time filled in where they are None."""
        return replace(self, id=self.id or id, time=time if self.time is None else self.time, user=user, tenant=tenant)


@dataclass(frozen=True)
class _OnAnswer(Feedback):
    """Feedback on one answer: its prompt and response, or the `response_id` it carried when it was given."""

    texts: ClassVar[tuple[str, ...]] = ("prompt", "response")

    prompt: str = ""
    response: str = ""
    response_id: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.response_id is not None:
            check_text(f"{type(self).__name__}.response_id", self.response_id)
        for name in set(self.texts) - {"prompt", "response"}:
            check_text(f"{type(self).__name__}.{name}", getattr(self, name))

    @property
    def _waits(self) -> bool:
        return self.response_id is not None and self.prompt == self.response == ""

    def resolved(self, find: Callable[[str], tuple[str, str]]) -> Feedback:
        if self.response_id is None or not self._waits:
            return self
        prompt, response = find(self.response_id)
        return replace(self, prompt=prompt, response=response)


@dataclass(frozen=True)
class Thumb(_OnAnswer):
    """A thumb up or down for one response."""

    kind: ClassVar[str] = "thumb"

    up: bool = _REQUIRED

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.up, bool):
            raise InvalidEventError(f"Thumb.up has to be True or False, but is {self.up!r}.")

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)


@dataclass(frozen=True)
class Rating(_OnAnswer):
    """One to five stars for one response; 3 is neutral, halves are fine."""

    kind: ClassVar[str] = "rating"

    rating: float = _REQUIRED

    def __post_init__(self) -> None:
        super().__post_init__()
        value = self.rating
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= 5:
            raise InvalidEventError(f"Rating.rating has to be a number from 1 (worst) to 5 (best), but is {value!r}.")
        object.__setattr__(self, "rating", float(value))

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)


@dataclass(frozen=True)
class Choice(Feedback):
    """One response picked over another: all three texts, or the response ids of two answers to one prompt.

    Args:
        tie: the user could say that there is no difference, and did (True) or picked one (False); None: could not.
    """

    kind: ClassVar[str] = "choice"
    texts: ClassVar[tuple[str, ...]] = ("prompt", "chosen", "rejected")

    prompt: str = ""
    chosen: str = ""
    rejected: str = ""
    chosen_id: str | None = field(default=None, kw_only=True)
    rejected_id: str | None = field(default=None, kw_only=True)
    tie: bool | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tie is not None and not isinstance(self.tie, bool):
            raise InvalidEventError(f"Choice.tie has to be True, False or None, but is {self.tie!r}.")
        for name in ("chosen_id", "rejected_id"):
            if getattr(self, name) is not None:
                check_text(f"Choice.{name}", getattr(self, name))
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


@dataclass(frozen=True)
class Edit(_OnAnswer):
    """A response the user rewrote: the edited text is preferred to the original."""

    kind: ClassVar[str] = "edit"
    texts: ClassVar[tuple[str, ...]] = ("prompt", "response", "edited")

    edited: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edited == self.response:
            raise InvalidEventError(f"Edit needs a changed text, but both are {self.response[:80]!r}.")

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.edited), (self.prompt, self.response))


@dataclass(frozen=True)
class Critique(_OnAnswer):
    """What the user says is wrong with one response ("too long")."""

    kind: ClassVar[str] = "critique"
    texts: ClassVar[tuple[str, ...]] = ("prompt", "response", "text")

    text: str = ""

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)

    @property
    def words(self) -> str | None:
        return self.text


@dataclass(frozen=True)
class Statement(Feedback):
    """A preference in the user's own words ("never use emojis")."""

    kind: ClassVar[str] = "statement"
    texts: ClassVar[tuple[str, ...]] = ("text",)

    text: str
    prompt: str | None = field(default=None, kw_only=True)  # the question it was said about, if any

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt is not None:
            check_text("Statement.prompt", self.prompt)

    @property
    def words(self) -> str | None:
        return self.text


@dataclass(frozen=True)
class Retraction(Feedback):
    """Takes back one event of the same user: it counts no more. A retraction can be taken back as well."""

    kind: ClassVar[str] = "retraction"
    texts: ClassVar[tuple[str, ...]] = ("target",)

    target: str


_KINDS: dict[str, type[Feedback]] = {
    cls.kind: cls for cls in (Thumb, Rating, Choice, Edit, Critique, Statement, Retraction)
}


def _json_copy(metadata: object) -> dict[str, Any]:
    if not isinstance(metadata, Mapping):
        raise InvalidEventError(f"metadata has to be a mapping, but is {metadata!r}.")
    try:
        text = json.dumps(dict(metadata), allow_nan=False, ensure_ascii=False)
        text.encode()
    except (TypeError, ValueError) as error:  # UnicodeEncodeError is a ValueError
        raise InvalidEventError(f"metadata has to be what JSON can hold, but: {error}.") from None
    copied: dict[str, Any] = json.loads(text)
    return copied
