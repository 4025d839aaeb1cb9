"""The errors of the package, one tree under one base.

    PadError
    ├── InvalidRequestError (ValueError)      a setting or message out of its range
    │   └── ContextLengthError                the prompt does not fit the model's context
    ├── ModelLoadError (OSError)              a model, PersRM or embedder that cannot be found or read
    │   └── IncompatibleModelError            it was read, but does not fit its partner
    ├── GuideError (RuntimeError)             a guide returned something that is not a reward
    ├── EngineBusyError (RuntimeError)        the queue is full
    ├── EngineClosedError (RuntimeError)      the engine was shut down
    ├── EngineUnavailableError (OSError)      no server of a remote engine answers, or it broke off
    ├── EngineMemoryError (MemoryError)       memory ran out while a request ran
    ├── CheckpointError (OSError)             a training run could not write a checkpoint
    └── MissingDependencyError (ImportError)  an optional package is not installed

Every message says what was got, what is allowed and what to do next.
"""

from __future__ import annotations

__all__ = [
    "CheckpointError",
    "ContextLengthError",
    "EngineBusyError",
    "EngineClosedError",
    "EngineMemoryError",
    "EngineUnavailableError",
    "GuideError",
    "IncompatibleModelError",
    "InvalidRequestError",
    "MissingDependencyError",
    "ModelLoadError",
    "PadError",
]


class PadError(Exception):
    """Base class of every error this package raises on purpose."""


class InvalidRequestError(PadError, ValueError):
    """A setting, message or preference is outside what is allowed."""


class ContextLengthError(InvalidRequestError):
    """The prompt leaves no room for a single new token."""


class ModelLoadError(PadError, OSError):
    """A model, PersRM or embedder was not found or could not be read."""


class IncompatibleModelError(ModelLoadError):
    """Two parts were read but do not fit each other: hidden size, vocabulary, embedder."""


class GuideError(PadError, RuntimeError):
    """A guide returned NaN, or logits of the wrong shape."""


class EngineBusyError(PadError, RuntimeError):
    """The engine's queue is full; try again later."""


class EngineClosedError(PadError, RuntimeError):
    """The engine was shut down before or while the request ran."""


class EngineUnavailableError(PadError, OSError):
    """No server of a remote engine answers, or the one that did broke off; try again later."""


class EngineMemoryError(PadError, MemoryError):
    """Memory ran out while the request ran; the engine lives and takes others."""


class CheckpointError(PadError, OSError):
    """A checkpoint could not be written, for want of disk space for example; the one before is whole."""


class MissingDependencyError(PadError, ImportError):
    """An optional package is needed; the message has the exact install line."""
