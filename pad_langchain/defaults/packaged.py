"""A model's file in an installed package: found without importing the package, and checked before it is used."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from pad_langchain.errors import MissingDependencyError, ModelLoadError
from pad_langchain.models.gguf import sha256_of

__all__ = ["PackagedFile"]


@dataclass(frozen=True)
class PackagedFile:
    """A file that a package carries.

    Args:
        name: what the model is called here.
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

    def find(self) -> Path:
        """Return the file. Its bytes are read once, and again when its size or time of change is another.

        Raises:
            MissingDependencyError: the package is not installed.
            ModelLoadError: the file is missing, or is not the one that was published.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            raise MissingDependencyError(
                f"The model {self.name!r} comes in a package that is not installed. Run {self.install}."
            )
        path, again = Path(spec.origin).parent / self.file, f"{self.install} --force-reinstall"
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ModelLoadError(
                f"The package {self.package} has no readable {str(path)!r}: {error}. Run {again}."
            ) from error
        if found != self.sha256:
            raise ModelLoadError(
                f"{str(path)!r} has the sha256 {found}, but the published {self.name} has {self.sha256}. Do not use "
                f"it; run {again}."
            )
        return path
