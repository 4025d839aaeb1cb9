"""`Feedback`: what all events have in common, and how one is read from a dict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field, fields, replace
from functools import cache
from typing import Any, ClassVar, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pad_memory.checked import refused_as, said, way
from pad_memory.errors import InvalidEventError, StoreVersionError
from pad_memory.fields import Metadata, Seconds, Text, check_text

__all__ = ["SCHEMA_VERSION", "Feedback", "check_length", "event_kind", "needed"]

Kind = TypeVar("Kind")

SCHEMA_VERSION = 1
LONGEST_WORDS = (
    20_000  # characters of a statement or a critique; over 2,000 it is kept, but no wish is looked for in it
)
LONGEST_TEXT = 1_000_000  # characters of a prompt, a response or an edit


STRICT = ConfigDict(extra="forbid")


def needed() -> Any:
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


def _refusal(error: ValidationError, kind: type) -> InvalidEventError:
    """The error for an event's values."""
    details = error.errors(include_url=False)
    if any(detail["type"] == "missing" or detail["type"].startswith("unexpected_") for detail in details):
        wrong = "; ".join(f"{detail['loc'][-1]}: {detail['msg']}" for detail in details)
        return InvalidEventError(f"These are not the fields of a {kind.__name__.lower()} event: {wrong}.")
    places = [way(detail["loc"], kind) for detail in details]
    name = kind.__name__
    return InvalidEventError(
        " ".join(said(each, place and f"{name}.{place}") for each, place in zip(details, places, strict=True))
    )


_checked = refused_as(_refusal)
_kinds: dict[str, type[Feedback]] = {}  # by name, in the order they are defined


def event_kind(cls: type[Kind]) -> type[Kind]:
    """Make a class of events one that refuses in our words and, where it has a kind, can be read from a dict."""
    made: Any = _checked(cls)
    if made.kind:
        _kinds[made.kind] = made
    return cls


@cache
def _adapter(kind: str) -> TypeAdapter[Feedback]:
    return TypeAdapter(_kinds[kind])


@_checked
@dataclass(frozen=True, kw_only=True, config=STRICT)
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
    versioned: ClassVar[bool] = True  # whether one with the same id that says something else replaces it

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
                f"Feedback is made as one of: {', '.join(cls.__name__ for cls in _kinds.values())}."
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
        `source` and `metadata`. What is no feedback, such as a retraction, has no versions.
        """
        if not (self.versioned and older.versioned) or (self.time is not None and self.time < (older.time or 0.0)):
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
        if not isinstance(kind, str) or kind not in _kinds:
            raise InvalidEventError(f"The kind of an event has to be one of {sorted(_kinds)}, but is {kind!r}.")
        try:
            return _adapter(kind).validate_python(values)
        except ValidationError as error:
            raise _refusal(error, _kinds[kind]) from None

    def stamped(self, *, id: str, time: float, user: str | None = None, tenant: str | None = None) -> Feedback:
        """Return a copy that belongs to this user and tenant. `id` and `time` are taken where its own are None."""
        return replace(self, id=self.id or id, time=time if self.time is None else self.time, user=user, tenant=tenant)
