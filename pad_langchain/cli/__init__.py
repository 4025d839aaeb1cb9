"""The command `pad-langchain`. Its app is `pad_langchain.cli.main.app`. It needs the extra `cli`."""

from __future__ import annotations

from pad_langchain.errors import MissingDependencyError

try:
    import rich  # noqa: F401
    import typer  # noqa: F401
except ImportError as error:
    raise MissingDependencyError(
        f'The command is not installed ({error}). Install it: pip install "pad-langchain[cli]"'
    ) from error
