"""Every example runs as it stands, offline, and shows what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name: str) -> str:
    done = subprocess.run([sys.executable, str(EXAMPLES / name)], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return done.stdout


def answers(output: str) -> dict[str, str]:
    """The paragraphs "user: answer" of an output."""
    paragraphs = output.strip().split("\n\n")
    return {user: text for user, _, text in (paragraph.partition(": ") for paragraph in paragraphs)}


def test_chain_answers_each_user_in_their_way():
    said = answers(run("chain.py"))
    assert set(said) == {"ada", "bob"}
    assert len(said["ada"].split()) < len(said["bob"].split())
    bullets = [line for line in said["bob"].splitlines() if line.lstrip().startswith(("-", "*", "•", "1."))]
    assert len(bullets) >= 2
    assert all("Japan" in text or "Tokyo" in text for text in said.values())


def test_chat_session_keeps_threads_apart_and_learns():
    output = run("chat_session.py")
    assert "The answer changed." in output
    assert "be humorous" in output or "joke" in output.split("ada now: ")[1].splitlines()[0]
    turns = [line for line in output.splitlines() if " messages, answer: " in line]
    assert [line.split(" messages")[0] for line in turns] == [
        "[monday] 2",
        "[tuesday] 2",
        "[wednesday] 2",
        "[tuesday] 4",
    ]
    monday, _, wednesday, _ = (line.split("answer: ")[1] for line in turns)
    assert monday == wednesday, "bob gave no feedback, so he gets the answer ada got before hers"


def test_rag_is_grounded_and_personal():
    said = answers(run("rag.py"))
    assert set(said) == {"ada", "bob"}
    assert len(said["ada"].split()) < len(said["bob"].split())
    for text in said.values():
        assert "Tarnis" in text
        assert "Karsund" not in text


def test_rag_with_llama_index_is_grounded_personal_and_cited():
    said = answers(run("rag_llama_index.py"))
    assert set(said) == {"ada", "bob"}
    assert len(said["ada"].split()) < len(said["bob"].split())
    for text in said.values():
        assert "Tarnis" in text
        assert "Karsund" not in text
        assert text.endswith("[velmora.txt]")


def test_no_example_is_forgotten():
    tested = {"chain.py", "chat_session.py", "rag.py", "rag_llama_index.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == tested


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_examples_say_how_to_start_them(path):
    assert f"python examples/{path.name}" in path.read_text()
