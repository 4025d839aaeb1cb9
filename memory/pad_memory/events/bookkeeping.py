"""Events that are no feedback: what takes one back, what counts down, and what a user set. They have no versions."""

from __future__ import annotations

from dataclasses import field
from typing import ClassVar, Literal

from pydantic.dataclasses import dataclass

from pad_memory.errors import InvalidEventError
from pad_memory.events.feedback import STRICT, Feedback, event_kind
from pad_memory.fields import Text

__all__ = ["Answered", "Retraction", "Setting"]


@event_kind
@dataclass(frozen=True, config=STRICT)
class Retraction(Feedback):
    """Takes back one event of the same user, by its id `target`. A retraction can be taken back as well."""

    texts: ClassVar[tuple[str, ...]] = ("target",)
    versioned: ClassVar[bool] = False

    kind: Literal["retraction"] = field(default="retraction", kw_only=True, repr=False)

    target: Text


@event_kind
@dataclass(frozen=True, config=STRICT)
class Answered(Feedback):
    """An answer was given while a wish for a number of answers held: that of the event `target`."""

    texts: ClassVar[tuple[str, ...]] = ("target",)
    versioned: ClassVar[bool] = False

    kind: Literal["answered"] = field(default="answered", kw_only=True, repr=False)

    target: Text


@event_kind
@dataclass(frozen=True, config=STRICT)
class Setting(Feedback):
    """What a user set; the latest of a name holds.

    Args:
        name: "time_zone": what "today" means for them; "paused": whether nothing is recorded.
        value: the name of a zone; "yes" or "no".
    """

    versioned: ClassVar[bool] = False

    kind: Literal["setting"] = field(default="setting", kw_only=True, repr=False)

    name: Literal["time_zone", "paused"]
    value: Text

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name == "paused" and self.value not in ("yes", "no"):
            raise InvalidEventError(f"Setting.value of 'paused' has to be 'yes' or 'no', but is {self.value!r}.")
