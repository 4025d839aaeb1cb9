"""Environments that hold a wheel, what it requires for some extras, and nothing else: no network and no copies.

What is required is linked from the environment that runs the tests, distribution by distribution, so that a package
that is not required is not there. pip then installs the wheel into it, and checks all versions, as it does for a user.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import venv
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Set
from functools import cache
from importlib import metadata
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

__all__ = ["CleanEnvironment", "wheel_metadata"]


def wheel_metadata(wheel: Path) -> metadata.Distribution:
    """The metadata of a wheel that is not installed."""
    archive = zipfile.Path(wheel)
    (folder,) = (entry for entry in archive.iterdir() if entry.name.endswith(".dist-info"))
    return metadata.PathDistribution(folder)


class CleanEnvironment:
    """A virtual environment with a wheel, `wheel[extra]` where an extra is named, and what that requires.

    Raises:
        AssertionError: pip refuses: a requirement is not installed here, or in a version outside its range.
    """

    def __init__(self, folder: Path, wheel: Path, extra: str | None = None) -> None:
        self.folder = folder
        self.python = folder / "bin" / "python"
        venv.create(folder, symlinks=True)
        self.site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        self.required = required(wheel, extra)
        link(self.required, self.site)
        asked = f"{wheel}[{extra}]" if extra else str(wheel)
        self.pip("install", "--no-index", "--no-compile", asked)
        self.pip("check")

    def pip(self, *arguments: str) -> None:
        """Run the pip of the tests' environment on this one."""
        command = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "--python"]
        done = subprocess.run([*command, self.python, *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"pip {' '.join(arguments)}:\n{done.stdout}{done.stderr}"

    def run(self, *command: str | Path, input: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment in an empty home; of the caller's variables it has PATH and the threads."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        kept = {name: os.environ[name] for name in ("PATH", "OMP_NUM_THREADS") if name in os.environ}
        program, *arguments = command
        return subprocess.run(
            [self.folder / "bin" / program, *arguments],
            cwd=home,
            env=kept | {"HOME": str(home), "HF_HUB_OFFLINE": "1", "LC_ALL": "C.UTF-8"},
            input=input,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=200,
        )


def required(wheel: Path, extra: str | None) -> frozenset[str]:
    """Names of all distributions that a wheel requires, directly or not, the wheel's own left out."""
    own = wheel_metadata(wheel)
    name = canonicalize_name(own.metadata["Name"])
    seen: set[tuple[str, str]] = set()
    left = [(name, ""), *([(name, extra)] if extra else [])]
    while left:
        asked = left.pop()
        if asked in seen:
            continue
        seen.add(asked)
        distribution = own if asked[0] == name else metadata.distribution(asked[0])
        for needed in map(Requirement, distribution.requires or ()):
            if needed.marker is None or needed.marker.evaluate({"extra": asked[1]}):
                left += [(canonicalize_name(needed.name), chosen) for chosen in ("", *needed.extras)]
    return frozenset(each for each, _ in seen) - {name}


def link(names: Set[str], site: Path) -> None:
    """Link the files of installed distributions into a site-packages; a folder that is theirs alone is one link."""
    made: set[PurePosixPath] = set()
    for name in names:
        source, files = _installed()[name]
        for file in files:
            whole = next((part for part in _above(file) if _owners()[part] <= names), file)
            if whole not in made:
                made.add(whole)
                (site / whole).parent.mkdir(parents=True, exist_ok=True)
                (site / whole).symlink_to(source / whole)


@cache
def _installed() -> dict[str, tuple[Path, list[PurePosixPath]]]:
    """Distribution → its site-packages and its files in there."""
    found: dict[str, tuple[Path, list[PurePosixPath]]] = {}
    for distribution in metadata.distributions():
        rows = csv.reader((distribution.read_text("RECORD") or "").splitlines())
        files = [PurePosixPath(row[0]) for row in rows if not row[0].startswith(("..", "/"))]
        name = canonicalize_name(distribution.metadata["Name"])
        found.setdefault(name, (Path(str(distribution.locate_file(""))), files))
    return found


@cache
def _owners() -> dict[PurePosixPath, set[str]]:
    """Folder → the distributions that have files in it."""
    owners: dict[PurePosixPath, set[str]] = defaultdict(set)
    for name, (_, files) in _installed().items():
        for folder in {parent for file in files for parent in _above(file)}:
            owners[folder].add(name)
    return owners


def _above(file: PurePosixPath) -> Iterable[PurePosixPath]:
    """The folders that hold a file, the outermost first."""
    return list(file.parents)[-2::-1]
