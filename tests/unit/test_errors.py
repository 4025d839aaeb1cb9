"""The tree of errors."""

from __future__ import annotations

import pytest

from pad_langchain import errors


@pytest.mark.parametrize(
    ("leaf", "builtin"),
    [
        (errors.InvalidRequestError, ValueError),
        (errors.ContextLengthError, ValueError),
        (errors.ModelLoadError, OSError),
        (errors.IncompatibleModelError, OSError),
        (errors.GuideError, RuntimeError),
        (errors.EngineBusyError, RuntimeError),
        (errors.EngineClosedError, RuntimeError),
        (errors.EngineMemoryError, MemoryError),
        (errors.CheckpointError, OSError),
        (errors.MissingDependencyError, ImportError),
    ],
)
def test_every_leaf_is_a_pad_error_and_the_builtin_it_replaces(leaf, builtin):
    assert issubclass(leaf, errors.PadError)
    assert issubclass(leaf, builtin)


def test_all_lists_every_error():
    defined = {name for name, value in vars(errors).items() if isinstance(value, type)}
    assert set(errors.__all__) == defined
