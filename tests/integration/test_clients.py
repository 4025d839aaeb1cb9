"""`make test-clients`: environments of clients are made once, and one that cannot be made says so. (No client runs.)"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clients.run import CLIENTS, HERE, Environment, InstallError, _count
from places import ROOT

# Plays `python -m venv` and `python -m pip`; it fails where the file `fails` beside the environments says so.
PYTHON = """#!/bin/sh
case "$*" in
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && echo venv >>"$3/../made" ;;
"-m pip install "*)
    if test -e "$(dirname "$0")/../../fails"; then echo "ERROR: No matching distribution found for openai"; exit 1; fi
    echo pip >>"$(dirname "$0")/../../made" ;;
*) exit 64 ;;
esac
"""


@pytest.fixture
def python(tmp_path: Path) -> str:
    script = tmp_path / "python"
    script.write_text(PYTHON)
    script.chmod(0o755)
    return str(script)


def test_an_environment_is_made_once_and_again_where_its_file_changed(tmp_path: Path, python: str) -> None:
    place = tmp_path / "environments"
    environment = Environment("openai-2", place)
    assert environment.install(python) > 0
    assert environment.install(python) == 0
    assert (place / "made").read_text() == "venv\npip\n"
    (place / "openai-2" / "installed.txt").write_text("openai==1\n")
    assert environment.install(python) > 0
    assert (place / "made").read_text() == "venv\npip\n" * 2


def test_an_environment_that_cannot_be_made_says_which_and_why_and_is_tried_again(tmp_path: Path, python: str) -> None:
    place = tmp_path / "environments"
    place.mkdir()
    (place / "fails").touch()
    environment = Environment("litellm", place)
    with pytest.raises(InstallError) as failed:
        environment.install(python)
    for said in ("litellm (tests/clients/litellm.txt)", "No matching distribution found", str(place / "litellm.log")):
        assert said in str(failed.value)
    (place / "fails").unlink()
    assert environment.install(python) > 0
    with pytest.raises(InstallError, match="FileNotFoundError"):
        Environment("langchain", place).install(str(tmp_path / "no-python"))


@pytest.mark.parametrize(
    ("stdout", "code", "expected"),
    [
        ("..\n3 passed, 1 warning in 0.1s", 0, {"passed": 3, "failed": 0, "skipped": 0}),
        ("F\n1 failed, 2 passed, 4 skipped in 0.1s", 1, {"passed": 2, "failed": 1, "skipped": 4}),
        ("E\n2 errors in 0.1s", 1, {"passed": 0, "failed": 2, "skipped": 0}),
        ("Segmentation fault", -11, {"passed": 0, "failed": 1, "skipped": 0}),
        ("", -1, {"passed": 0, "failed": 1, "skipped": 0}),
    ],
)
def test_what_a_clients_tests_say_is_counted(stdout: str, code: int, expected: Any) -> None:
    totals = {"passed": 0, "failed": 0, "skipped": 0}
    _count(subprocess.CompletedProcess([], code, stdout), totals)
    assert totals == expected


def test_every_client_has_its_tests_and_every_file_of_requirements_a_client() -> None:
    assert {file.stem for file in HERE.glob("*.txt")} <= set(CLIENTS)
    assert all((HERE / file).exists() for file in CLIENTS.values())
    assert "\nmake test-clients\n" in (ROOT / ".ci" / "run").read_text()
    unknown = subprocess.run([sys.executable, HERE / "run.py", "nope"], capture_output=True, text=True, timeout=60)
    assert unknown.returncode == 2
    assert "There is no client 'nope'. Those are: openai-2" in unknown.stderr
