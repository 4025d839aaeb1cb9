"""The errors of the preference memory, one tree under one base.

    PadMemoryError
    ├── InvalidEventError (ValueError)         feedback, a preference or a setting outside what is allowed
    │   ├── InvalidUserError                   a user id that is empty, too long or not valid text
    │   └── UnknownResponseError               a response id that is not of a recent answer to this user
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
    "EmbedderError",
    "InvalidEventError",
    "InvalidUserError",
    "PadMemoryError",
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
