"""Benchmarks start, at their smallest sizes, and refuse what they cannot measure."""

from __future__ import annotations

import subprocess
import sys

import pytest

from places import BENCHMARKS


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BENCHMARKS / name), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=280)


@pytest.mark.slow
def test_a_small_store_is_measured():
    done = run("memory/store.py", "--rows", "300")
    assert done.returncode == 0, done.stderr
    assert "condition, cold" in done.stdout
    assert "after close 0" in done.stdout


@pytest.mark.slow
def test_too_few_rows_are_refused_with_how_many_it_takes():
    done = run("memory/store.py", "--rows", "20")
    assert done.returncode == 2
    assert "30 or more" in done.stderr


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("**/*.py")), ids=lambda path: path.name)
def test_benchmarks_say_how_to_start_them(path):
    assert f"python benchmarks/{path.relative_to(BENCHMARKS)}" in path.read_text()
