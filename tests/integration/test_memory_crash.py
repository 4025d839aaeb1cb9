"""A memory whose process is killed is whole when it is opened again. The long run is `benchmarks/memory/crash.py`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from places import BENCHMARKS

CRASH = BENCHMARKS / "memory" / "crash.py"


@pytest.mark.slow
def test_killed_processes_lose_nothing() -> None:
    command = [sys.executable, str(CRASH), "--trials", "4", "--aimed", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 of 4" in done.stdout
