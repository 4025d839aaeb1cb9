"""The command `pad-langchain`, or the line that says what it lacks."""

from __future__ import annotations

import sys

from pad_langchain.errors import MissingDependencyError


def main() -> None:
    """Run the command. It leaves with exit code 2 where the extra `cli` is not installed."""
    try:
        from pad_langchain.cli.main import app
    except MissingDependencyError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
