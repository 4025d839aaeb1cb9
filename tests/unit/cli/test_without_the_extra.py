"""Without the extra `cli` the command says what to install, and everything else works."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pad_langchain.__main__ import main

BLOCKED = """
from importlib.machinery import PathFinder
find = PathFinder.find_spec
gone = {blocked!r}
PathFinder.find_spec = staticmethod(lambda name, *at: None if name.partition(".")[0] in gone else find(name, *at))
"""


def run(code: str, *blocked: str) -> subprocess.CompletedProcess[str]:
    whole = BLOCKED.format(blocked=blocked) + code
    return subprocess.run([sys.executable, "-c", whole, "chat"], capture_output=True, text=True, timeout=120)


@pytest.mark.slow
@pytest.mark.parametrize("blocked", [["typer"], ["rich"], ["rich", "typer"]], ids=" ".join)
def test_the_command_says_its_line(blocked: list[str]) -> None:
    done = run("from pad_langchain.__main__ import main; main()", *blocked)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: The command is not installed (No module named {blocked[0]!r}). "
        'Install it: pip install "pad-langchain[cli]"\n'
    )


@pytest.mark.slow
def test_whatever_needs_the_command_refuses_with_the_line() -> None:
    code = """
from pad_langchain import MissingDependencyError
try:
    import pad_langchain.cli.memory
except MissingDependencyError as error:
    print(error)
"""
    assert run(code, "rich").stdout.endswith('pip install "pad-langchain[cli]"\n')


@pytest.mark.slow
def test_everything_else_does_without() -> None:
    code = """
import pad_langchain, pad_memory
import pad_langchain.chat, pad_langchain.evaluation.run, pad_langchain.hf
import pad_langchain.training.head, pad_langchain.testing
print([getattr(pad_langchain, name) is not None for name in pad_langchain.__all__].count(True))
"""
    done = run(code, "rich", "typer")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


@pytest.mark.slow
def test_with_the_extra_it_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pad_langchain", "--help"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "evaluate" in done.stdout


def test_the_command_in_this_process(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["pad-langchain", "--help"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0
    assert "chat" in capsys.readouterr().out
    for name in [name for name in sys.modules if name.startswith("pad_langchain.cli")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 2
    assert 'pip install "pad-langchain[cli]"' in capsys.readouterr().err
