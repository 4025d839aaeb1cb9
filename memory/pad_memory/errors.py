"""The errors of the preference memory, one tree under one base.

    PadMemoryError
    ├── InvalidEventError (ValueError)         feedback, a preference or a setting outside what is allowed
    │   ├── InvalidUserError                   a user id that is empty, too long or not valid text
    │   └── UnknownResponseError               a response id that is not of a recent answer to this user
    ├── PausedError (RuntimeError)             the user paused: nothing of them is recorded
    ├── ConsentNeededError (RuntimeError)      a wish tells something sensitive, and the user has to be asked first
    ├── EmbedderError (OSError)                the sentence embedder is missing, damaged or returned no embeddings
    ├── ScorerError (RuntimeError)             a scorer returned something that is not one reward for each preference
    ├── StoreError (OSError)                   the store cannot be opened, read or written
    │   ├── StoreLockedError                   somebody else has the store open
    │   └── StoreVersionError                  store, event or export written by a newer version
    └── StoreClosedError (RuntimeError)        the memory was closed before the call
        └── StoreForkedError                   a memory was opened before a fork, in the process that forked this one

Every message says what was got, what is allowed and what to do next.
"""

from __future__ import annotations

__all__ = [
    "ConsentNeededError",
    "EmbedderError",
    "InvalidEventError",
    "InvalidUserError",
    "PadMemoryError",
    "PausedError",
    "ScorerError",
    "StoreClosedError",
    "StoreError",
    "StoreForkedError",
    "StoreLockedError",
    "StoreVersionError",
    "UnknownResponseError",
]


class PadMemoryError(Exception):
    """Base class of every error this package raises on purpose."""


class InvalidEventError(PadMemoryError, ValueError):
    """Feedback, a preference or a setting is outside what is allowed."""


class InvalidUserError(InvalidEventError):
    """A user id is empty, too long or not valid text."""


class UnknownResponseError(InvalidEventError):
    """A response id is not of an answer that this user got recently."""


class PausedError(PadMemoryError, RuntimeError):
    """The user paused, so nothing of them is recorded."""

    def __init__(self, user: str) -> None:
        super().__init__(f"Nothing of {user!r} is recorded, for they paused it. memory.resume({user!r}) ends that.")
        self.user = user

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return type(self), (self.user,)


class ConsentNeededError(PadMemoryError, RuntimeError):
    """A wish tells something sensitive, and the operator's policy is to ask the user first. Nothing was recorded.

    Args:
        sensitive: what it tells, kinds of `values.sensitive.KINDS`.
        why: why they have to be asked.
    """

    def __init__(self, sensitive: tuple[str, ...], why: str = "this memory asks before it keeps that") -> None:
        super().__init__(
            f"This tells something sensitive ({', '.join(sensitive)}), and {why}. Ask the user whether it may be kept; "
            "if they agree, record it again with consented=True."
        )
        self.sensitive, self._why = sensitive, why

    def __reduce__(self) -> tuple[type, tuple[tuple[str, ...], str]]:
        return type(self), (self.sensitive, self._why)


class EmbedderError(PadMemoryError, OSError):
    """The sentence embedder is missing, damaged, does not fit the store or returned something else than embeddings."""


class ScorerError(PadMemoryError, RuntimeError):
    """A scorer returned something that is not one finite reward for each preference."""


class StoreError(PadMemoryError, OSError):
    """The store cannot be opened, read or written."""


class StoreLockedError(StoreError):
    """Somebody else has the store open; two writers would corrupt it."""


class StoreVersionError(StoreError):
    """A store, an event or an export was written by a newer version of this package."""


class StoreClosedError(PadMemoryError, RuntimeError):
    """The memory was closed before the call."""


class StoreForkedError(StoreClosedError):
    """A memory was opened before a fork, and this is the child: what it recorded would be lost, or never return."""
