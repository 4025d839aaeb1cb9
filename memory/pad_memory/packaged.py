"""A file that came in a wheel: found without importing the package, and checked before it is used."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PackagedFile"]


def _sha256_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@dataclass(frozen=True)
class PackagedFile:
    """A file inside an installed package.

    Args:
        name: what its model is called.
        package: the package that carries it, as it is imported.
        file: where in there.
        sha256: the checksum of the published file.
        install: the line that installs the package.
    """

    name: str
    package: str
    file: str
    sha256: str
    install: str

    def place(self) -> Path | None:
        """Return where the file has to be. None means that the package is not installed."""
        spec = importlib.util.find_spec(self.package)
        return None if spec is None or spec.origin is None else Path(spec.origin).parent / self.file

    def find(self, error: type[Exception], sha256_of: Callable[[Path], str] = _sha256_of) -> Path | None:
        """Return the file, checked. None means that the package is not installed.

        Args:
            error: what is raised.
            sha256_of: returns the sha256 of a file in hexadecimal. The default reads the file every time.

        Raises:
            error: the file is missing, or is not the one that was published.
        """
        if (path := self.place()) is None:
            return None
        again = f"{self.install} --force-reinstall"
        try:
            found = sha256_of(path)
        except OSError as cause:
            raise error(f"The package {self.package} has no readable {str(path)!r}: {cause}. Run {again}.") from cause
        if found != self.sha256:
            raise error(
                f"{str(path)!r} has the sha256 {found}, but the published {self.name} has {self.sha256}. Do not use "
                f"it; run {again}."
            )
        return path
