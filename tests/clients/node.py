"""Programs from npm, where there is node to run them."""

from __future__ import annotations

import shutil
import subprocess

import pytest

__all__ = ["needs_node", "npx"]

LEAST = 20


def needs_node() -> None:
    """Skip the test where there is no npx, or an older node."""
    found = 0
    if shutil.which("npx") and shutil.which("node"):
        said = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        found = int(said.strip().removeprefix("v").partition(".")[0])
    if found < LEAST:
        pytest.skip(f"needs node {LEAST} or newer, with npx")


def npx(*packages: str) -> list[str]:
    """The beginning of a command that runs a program of these packages, which npx keeps."""
    return ["npx", "--yes", *(part for package in packages for part in ("--package", package)), "--"]
