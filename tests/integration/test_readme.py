"""The README cannot drift: every python snippet runs, every transcript is what the command prints.

`python tests/integration/test_readme.py` writes the transcripts anew from true runs.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[str]:
    found = [match["body"] for match in BLOCK.finditer(README.read_text()) if match["language"] == language]
    assert found, f"the README has no {language} block"
    return found


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PAD_MEMORY": str(folder / "memory"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
    }


def run(command: str, folder: Path) -> str:
    """Run in an empty folder with an empty memory and the commands of this environment; return standard output."""
    done = subprocess.run(
        command, shell=True, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


def transcript(body: str, folder: Path) -> str:
    """A console block with the outputs of its `$ ` commands as they are now."""
    commands = [line for line in body.splitlines() if line.startswith("$ ")]
    assert commands, f"a console block without a command: {body!r}"
    shown = [f"{line}\n{run(line.removeprefix('$ '), folder)}" for line in commands]
    return "\n".join(line.rstrip() for line in "".join(shown).splitlines()) + "\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_snippets_run(number, tmp_path):
    from fresh import run_program  # not there when this file runs as a script

    done = run_program(blocks("python")[number], cwd=tmp_path, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks("console"))))
def test_transcripts_are_true(number, tmp_path):
    body = blocks("console")[number]
    assert transcript(body, tmp_path) == body


def test_figures_stand_in_tables():
    """At most ten numbers in the prose: outside code blocks, tables and addresses."""
    prose = re.sub(r"^\|.*$|\]\([^)]*\)|arXiv [\d.]+", "", BLOCK.sub("", README.read_text()), flags=re.MULTILINE)
    assert len(re.findall(r"(?<![\w.-])[\d.,]*\d", prose)) <= 10


def main() -> None:
    def renew(match: re.Match[str]) -> str:
        if match["language"] != "console":
            return match[0]
        with tempfile.TemporaryDirectory() as folder:
            return f"```console\n{transcript(match['body'], Path(folder))}```"

    README.write_text(BLOCK.sub(renew, README.read_text()))


if __name__ == "__main__":
    main()
