"""What users tell us: `Feedback`, a frozen event of six kinds, and `Retraction`, which takes one back.

>>> event = Thumb(prompt="What is rust?", response="Iron oxide.", up=True)
>>> Feedback.from_dict(event.to_dict()) == event
True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, fields, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pad_memory.checked import refused_as, said, way
from pad_memory.errors import InvalidEventError, StoreVersionError
from pad_memory.fields import Flag, Metadata, Seconds, Stars, Text, check_text

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
]

SCHEMA_VERSION = 1
LONGEST_WORDS = (
    20_000  # characters of a statement or a critique; over 2,000 it is kept, but no wish is looked for in it
)
LONGEST_TEXT = 1_000_000  # characters of a prompt, a response or an edit


_STRICT = ConfigDict(extra="forbid")


def _needed() -> Any:
    """The default of a required field that follows fields with defaults. An event without its value is refused."""
    return Field(default=None, validate_default=True)


def check_length(event: Feedback) -> None:
    """Refuse an event that is too long to be read.

    Raises:
        InvalidEventError: a statement or critique is over 20,000 characters, or another text is over 1,000,000.
    """
    for name in event.texts:
        text, most = getattr(event, name), LONGEST_TEXT if name != "text" else LONGEST_WORDS
        if len(text) > most:
            raise InvalidEventError(
                f"{type(event).__name__}.{name} has {len(text):,} characters, but at most {most:,} are read: "
                f"{text[:40]!r}… Send the sentences that say what the user wants."
            )


def _refusal(error: ValidationError, kind: type, above: int = 0) -> InvalidEventError:
    """The error for an event's values. The first `above` parts of a place are not names of its fields."""
    details = error.errors(include_url=False)
    if any(detail["type"] == "missing" or detail["type"].startswith("unexpected_") for detail in details):
        wrong = "; ".join(f"{detail['loc'][-1]}: {detail['msg']}" for detail in details)
        return InvalidEventError(f"These are not the fields of a {kind.__name__.lower()} event: {wrong}.")
    places = [way(detail["loc"][above:], kind) for detail in details]
    name = kind.__name__
    return InvalidEventError(
        " ".join(said(each, place and f"{name}.{place}") for each, place in zip(details, places, strict=True))
    )


_checked = refused_as(_refusal)


@_checked
@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Feedback:
    """One thing a user told us, with its provenance. Make one of its kinds, not this base class.

    Args:
        kind: the name of the kind. Each class sets its own.
        thread: id of the conversation it belongs to. None means it belongs to none.
        time: Unix time in seconds. None means the time when it is recorded.
        source: who said so: "user", or for example the name of an import.
        id: idempotency key, unique within the user. The same id twice counts once. A newer version that says something
            else replaces the older. None means a new id when it is recorded.
        metadata: any mapping that JSON can hold. It is kept as it is.
        user, tenant: whose it is. None means the memory fills it in when it is recorded.

    Raises:
        InvalidEventError: a text is empty or not valid Unicode, or a value is out of range. The message names it.
    """

    texts: ClassVar[tuple[str, ...]] = ()

    kind: str = field(default="", kw_only=True, repr=False)
    thread: Text | None = None
    time: Seconds | None = None
    source: Text = "user"
    id: Text | None = None
    metadata: Metadata = field(default_factory=dict, hash=False)
    user: Text | None = None
    tenant: Text | None = None

    def __post_init__(self) -> None:
        if not type(self).kind:
            raise InvalidEventError(
                f"Feedback is made as one of: {', '.join(cls.__name__ for cls in _KINDS.values())}."
            )
        for name in () if self._waits else self.texts:
            check_text(f"{type(self).__name__}.{name}", getattr(self, name))

    @property
    def _waits(self) -> bool:
        """Whether texts are still to be found by response ids."""
        return False

    def resolved(self, find: Callable[[str], tuple[str, str]]) -> Feedback:
        """Return the event with the texts that its response ids stand for. One that has its texts returns itself.

        Args:
            find: response id → (prompt, response).

        Raises:
            InvalidEventError: the two answers of a choice belong to different prompts.
        """
        return self

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        """The (prompt, response) pairs that a scorer judges, the preferred one first. Empty for words alone."""
        return ()

    @property
    def words(self) -> str | None:
        """What the user said in their own words. None means this kind has no words."""
        return None

    def supersedes(self, older: Feedback) -> bool:
        """Whether this is a newer version of a recorded event with the same id.

        A newer version says something else, and not earlier. Fields of `Feedback` make no new version, such as
        `source` and `metadata`. A retraction has no versions.
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
        """Return the event as a dict that JSON can hold, with its kind and schema version."""
        return {"schema_version": SCHEMA_VERSION, **{item.name: getattr(self, item.name) for item in fields(self)}}

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Feedback:
        """Read what `to_dict` wrote.

        Raises:
            StoreVersionError: a newer version of this package wrote it.
            InvalidEventError: the kind is unknown, or its fields do not belong to it or are out of range.
        """
        values = dict(data)
        version, kind = values.pop("schema_version", None), values.get("kind")
        if not isinstance(version, int) or version < 1:
            raise InvalidEventError(f"An event needs its schema_version, 1 to {SCHEMA_VERSION}, but has {version!r}.")
        if version > SCHEMA_VERSION:
            raise StoreVersionError(
                f"This event has schema_version {version}, written by a newer version; this one reads up to "
                f"{SCHEMA_VERSION}. Upgrade pad-langchain."
            )
        try:
            return _EVENT.validate_python(values)
        except ValidationError as error:
            if kind not in (kinds := sorted(_KINDS)):
                raise InvalidEventError(f"The kind of an event has to be one of {kinds}, but is {kind!r}.") from None
            raise _refusal(error, _KINDS[kind], above=1) from None

    def stamped(self, *, id: str, time: float, user: str | None = None, tenant: str | None = None) -> Feedback:
        """Return a copy that belongs to this user and tenant. `id` and `time` are taken where its own are None."""
        return replace(self, id=self.id or id, time=time if self.time is None else self.time, user=user, tenant=tenant)


@_checked
@dataclass(frozen=True, config=_STRICT)
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


@_checked
@dataclass(frozen=True, config=_STRICT)
class Thumb(_OnAnswer):
    """A thumb up or down for one response.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        up: True for up, False for down.
    """

    kind: Literal["thumb"] = field(default="thumb", kw_only=True, repr=False)

    up: Flag = _needed()

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)


@_checked
@dataclass(frozen=True, config=_STRICT)
class Rating(_OnAnswer):
    """Stars for one response.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        rating: 1 (worst) to 5 (best). 3 is neutral. Fractions are allowed.
    """

    kind: Literal["rating"] = field(default="rating", kw_only=True, repr=False)

    rating: Stars = _needed()

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)


@_checked
@dataclass(frozen=True, config=_STRICT)
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


@_checked
@dataclass(frozen=True, config=_STRICT)
class Edit(_OnAnswer):
    """A response that the user rewrote. The edited text is preferred to the original.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        edited: the answer as it should have been, different from `response`.
    """

    texts: ClassVar[tuple[str, ...]] = ("prompt", "response", "edited")

    kind: Literal["edit"] = field(default="edit", kw_only=True, repr=False)

    edited: Text = _needed()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.edited == self.response:
            raise InvalidEventError(f"Edit needs a changed text, but both are {self.response[:80]!r}.")

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.edited), (self.prompt, self.response))


@_checked
@dataclass(frozen=True, config=_STRICT)
class Critique(_OnAnswer):
    """What the user says is wrong with one response.

    Args:
        prompt, response: the question and the answer, or leave both out and pass `response_id`.
        response_id: the id that the answer carried. None means the texts are given.
        text: the user's words ("too long"), up to 20,000 characters.
    """

    texts: ClassVar[tuple[str, ...]] = ("prompt", "response", "text")

    kind: Literal["critique"] = field(default="critique", kw_only=True, repr=False)

    text: Text = _needed()

    @property
    def responses(self) -> tuple[tuple[str, str], ...]:
        return ((self.prompt, self.response),)

    @property
    def words(self) -> str | None:
        return self.text


@_checked
@dataclass(frozen=True, config=_STRICT)
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


@_checked
@dataclass(frozen=True, config=_STRICT)
class Retraction(Feedback):
    """Takes back one event of the same user, by its id `target`. A retraction can be taken back as well."""

    texts: ClassVar[tuple[str, ...]] = ("target",)

    kind: Literal["retraction"] = field(default="retraction", kw_only=True, repr=False)

    target: Text


_KINDS: dict[str, type[Feedback]] = {
    cls.kind: cls for cls in (Thumb, Rating, Choice, Edit, Critique, Statement, Retraction)
}
_EVENT: TypeAdapter[Feedback] = TypeAdapter(
    Annotated[Thumb | Rating | Choice | Edit | Critique | Statement | Retraction, Field(discriminator="kind")]
)
