"""`make` sets up .venv without a line of pip's, shows its log where it fails, and goes on after a Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT
from waiting import until

# Plays `python -m venv` and `python -m pip`; the file `plays` says how the install goes.
PYTHON = """#!/bin/sh
case "$*" in
"-m venv .venv")
    mkdir -p .venv/bin && cp "$0" .venv/bin/python && echo made >>venvs ;;
"-m pip --version")
    echo "pip 26.0" ;;
"-m pip install"*)
    echo "WARNING: a cache is disabled"; echo "WARNING: a script is not on PATH" >&2
    case "$(cat plays)" in
    fail)
        for line in $(seq 40); do echo "Collecting package-$line"; done
        echo "ERROR: No matching distribution found for torch" >&2; exit 1 ;;
    hang)
        # As pip is, a Python that dies of a signal whenever it comes; a shell between two commands may go on.
        touch .venv/half
        exec "$(cat interpreter)" -c "import pathlib, time; pathlib.Path('hanging').touch(); time.sleep(60)" ;;
    esac
    for name in pad-langchain ruff mypy lint-imports; do
        printf '#!/bin/sh\\necho "%s $*"\\n' $name >.venv/bin/$name && chmod +x .venv/bin/$name
    done ;;
"-m pytest"*)
    echo pytest ;;
*)
    echo "unknown: $*" >&2; exit 64 ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A fresh clone, as far as make sees."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "interpreter").write_text(sys.executable)
    plays(tmp_path, "well")
    return tmp_path


def plays(checkout: Path, how: str) -> None:
    (checkout / "plays").write_text(how)


def start(checkout: Path, target: str) -> subprocess.Popen[str]:
    # What an outer make was told, make puts into the environment.
    mine = (name for name in os.environ if not name.startswith("MAKE") and name not in ("ARGS", "WORKERS"))
    environment = {name: os.environ[name] for name in mine}
    # A process that ignores an interrupt, as those in a shell's background do, would have its children ignore it.
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return _started(checkout, target, environment)
    finally:
        signal.signal(signal.SIGINT, before)


def _started(checkout: Path, target: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["make", target, f"PYTHON={checkout / 'python'}"],
        cwd=checkout,
        env=environment | {"LC_ALL": "C"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


def ended(run: subprocess.Popen[str]) -> str:
    """What is seen of a process that ends by itself, or fails the test and is ended."""
    try:
        return run.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        raise


def make(checkout: Path, target: str = "chat") -> tuple[int, str]:
    """The exit code, and what is seen."""
    run = start(checkout, target)
    seen = ended(run)
    return run.returncode, seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "then"),
    [
        ("chat", "pad-langchain chat"),
        ("serve", "pad-langchain serve"),
        ("test", "pytest"),
        ("lint", "ruff format --check ."),
    ],
)
def test_a_fresh_clone_says_one_line_and_goes_on(checkout, target, then):
    code, seen = make(checkout, target)
    assert code == 0
    first, *rest = seen.splitlines()
    assert re.fullmatch(r"Setting up \.venv, once \(a few minutes\) … done in \d+ s", first)
    assert then in rest
    assert "WARNING" not in seen
    log = (checkout / ".venv/install.log").read_text().splitlines()
    assert set(log) == {"WARNING: a cache is disabled", "WARNING: a script is not on PATH"}
    _, again = make(checkout, target)
    assert again.splitlines() == rest


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_newer_requirements_are_installed_into_the_same_venv(checkout, name):
    make(checkout)
    made = (checkout / ".venv/.installed").stat().st_mtime
    for old in ("Makefile", "pyproject.toml", "constraints.txt"):
        os.utime(checkout / old, (made - 20, made - 20))
    os.utime(checkout / ".venv/.installed", (made - 10, made - 10))
    assert make(checkout)[1] == "pad-langchain chat\n"
    os.utime(checkout / name, (made - 5, made - 5))
    code, seen = make(checkout)
    assert code == 0
    assert seen.startswith("Setting up .venv")
    assert (checkout / "venvs").read_text() == "made\n"


@pytest.mark.slow
def test_a_failed_install_shows_the_end_of_its_log_and_is_tried_again(checkout):
    plays(checkout, "fail")
    code, seen = make(checkout)
    assert code != 0
    assert "… failed" in seen
    assert "ERROR: No matching distribution found for torch" in seen
    assert "The whole log is in .venv/install.log." in seen
    assert "package-40" in seen
    assert "package-1\n" not in seen, "the tail only"
    assert "pad-langchain chat" not in seen
    assert not (checkout / ".venv/.installed").exists()
    plays(checkout, "well")
    code, seen = make(checkout)
    assert code == 0
    assert "pad-langchain chat" in seen


@pytest.mark.slow
def test_an_update_that_failed_is_tried_again(checkout):
    make(checkout)
    os.utime(checkout / ".venv/.installed", (1, 1))
    plays(checkout, "fail")
    assert make(checkout)[0] != 0
    os.utime(checkout / "pyproject.toml", (0, 0))
    plays(checkout, "well")
    assert make(checkout)[1].startswith("Setting up .venv")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_after_an_interrupted_install_the_next_call_starts_afresh(checkout, how):
    plays(checkout, "hang")
    run = start(checkout, "chat")
    until(lambda: run.poll() is not None or (checkout / "hanging").exists())
    assert run.poll() is None
    os.killpg(run.pid, how)
    seen = ended(run)
    assert run.returncode != 0
    assert "pad-langchain chat" not in seen
    assert not (checkout / ".venv/.installed").exists()
    plays(checkout, "well")
    code, seen = make(checkout)
    assert code == 0
    assert "pad-langchain chat" in seen
    assert not (checkout / ".venv/half").exists()


@pytest.mark.slow
def test_a_venv_of_your_own_is_kept(checkout):
    subprocess.run([checkout / "python", "-m", "venv", ".venv"], cwd=checkout, check=True)
    (checkout / ".venv/mine").touch()
    assert make(checkout)[0] == 0
    assert (checkout / ".venv/mine").exists()
    assert (checkout / "venvs").read_text() == "made\n"


@pytest.mark.slow
def test_a_python_that_is_not_there_is_named(checkout):
    (checkout / "python").unlink()
    code, seen = make(checkout)
    assert code != 0
    assert re.search(r"python: (not found|No such file)", seen)
    assert "done in" not in seen
