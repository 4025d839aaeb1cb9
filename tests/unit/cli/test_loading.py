"""The model of `pad-langchain chat` loads while its user types, and the command picks the model that is there."""

from __future__ import annotations

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from pad_langchain import ModelLoadError
from pad_langchain.chat import Chat, ChatSettings
from pad_langchain.cli import main, options
from pad_langchain.cli.chat import ChatSession
from pad_langchain.cli.loading import Loading
from pad_langchain.defaults import DEMO_MODEL, SMOLLM2, SMOLLM2_MODEL
from pad_langchain.engine.types import Recommended
from pad_memory import PreferenceMemory

CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]")
CONSOLE = {"width": 80, "force_terminal": True, "highlight": False}


class Slow:
    """Loads when it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.may = threading.Event()
        self.error = error

    def __call__(self):
        assert self.may.wait(30)
        if self.error is not None:
            raise self.error
        return "the chat"


def test_who_calls_waits_and_is_told_so():
    slow, out = Slow(), io.StringIO()
    loading = Loading(slow, Console(file=out, **CONSOLE), background=True)
    assert out.getvalue() == ""
    threading.Timer(0.3, slow.may.set).start()
    assert loading() == "the chat"
    assert "Loading the model …" in out.getvalue()
    out.truncate(0)
    assert loading() == "the chat"
    assert "Loading" not in out.getvalue()


def test_in_the_foreground_it_is_there_at_once_and_raises_what_loading_raises():
    assert Loading(lambda: "the chat", Console(file=io.StringIO()), background=False)() == "the chat"
    failing = Slow(ModelLoadError("gone"))
    failing.may.set()
    with pytest.raises(ModelLoadError, match="gone"):
        Loading(failing, Console(file=io.StringIO()), background=False)


def test_what_went_wrong_ends_the_session_in_one_line(capsys):
    slow = Slow(ModelLoadError("The model is\nbroken."))
    slow.may.set()
    console = Console(file=io.StringIO(), **CONSOLE)
    loading = Loading(slow, console, background=True)
    with PreferenceMemory() as memory:
        session = ChatSession(loading, memory, "ada", console, interactive=True)
        session._lines = lambda source: iter(["/help", "hello"])
        with pytest.raises(typer.Exit) as left:
            session.run(io.StringIO())
    assert left.value.exit_code == 2
    assert capsys.readouterr().err == "error: The model is broken.\n"


def test_help_and_quit_wait_for_nothing():
    out = io.StringIO()
    with PreferenceMemory() as memory:
        session = ChatSession(Loading(Slow(), Console(), background=True), memory, "ada", Console(file=out))
        session.handle("/help")
        session.handle("/quit")
    assert "/forget" in out.getvalue()
    assert session.done


def test_the_recommended_penalty_holds_for_answers_without_a_wish_too(monkeypatch):
    recommends = SimpleNamespace(engine=SimpleNamespace(recommended=Recommended(repetition_penalty=1.2)))
    monkeypatch.setattr(Chat, "of", lambda model, settings: recommends)
    for said, holds in ((None, 1.2), (1.0, 1.0)):
        settings = ChatSettings(repetition_penalty=said)
        assert main._load("some-model", settings) is recommends
        assert settings.repetition_penalty == holds


# ---- the prompt


def test_readline_draws_the_prompt_and_knows_its_width(monkeypatch):
    asked: list[str] = []

    def leave(prompt: str) -> str:
        asked.append(prompt)
        raise EOFError

    monkeypatch.setattr("builtins.input", leave)
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard", legacy_windows=False)
    with PreferenceMemory() as memory:
        ChatSession(Slow(), memory, "[ada]", console, interactive=True).run(io.StringIO())
    assert asked == ["\001\x1b[1;36m\002[ada]>\001\x1b[0m\002 "]


# ---- which model


@pytest.fixture
def asked(monkeypatch) -> list[str]:
    """The models that are talked to, of which none loads."""
    models: list[str] = []
    monkeypatch.setattr(main, "_talk", lambda model, *rest: models.append(model))
    return models


def test_smollm2_answers_where_it_is_installed(asked, monkeypatch):
    monkeypatch.setattr(options, "SMOLLM2", replace(SMOLLM2, package="json"))
    done = CliRunner().invoke(main.app, ["chat"])
    assert (asked, done.output) == ([SMOLLM2_MODEL], "")


def test_the_demo_answers_elsewhere_and_says_what_to_install(asked, monkeypatch):
    monkeypatch.setattr(options, "SMOLLM2", replace(SMOLLM2, package="not_there_at_all"))
    done = CliRunner().invoke(main.app, ["chat"])
    assert asked == [DEMO_MODEL]
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert SMOLLM2.install in done.stderr


def test_a_model_that_is_named_answers(asked):
    done = CliRunner().invoke(main.app, ["chat", "--model", DEMO_MODEL])
    assert (asked, done.output) == ([DEMO_MODEL], "")


# ---- at a terminal


class Terminal:
    """The command at a terminal of its own."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        ours, theirs = pty.openpty()
        self.run = subprocess.Popen(
            [sys.executable, "-m", "pad_langchain", "chat", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm", **environment},
            start_new_session=True,
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        self._terminal = os.fdopen(ours, "r+b", buffering=0)
        self.shown = ""

    def until(self, pattern: str, seconds: float = 240) -> None:
        """Read until it has shown `pattern`."""
        end = time.monotonic() + seconds
        while not re.search(pattern, CONTROL.sub("", self.shown)):
            assert time.monotonic() < end, CONTROL.sub("", self.shown)[-1000:]
            if select.select([self._terminal], [], [], 1)[0]:
                self.shown += self._terminal.read(4096).decode(errors="replace")

    def left(self, seconds: float = 120) -> int:
        """Read on until the command has ended, as it waits for a terminal that nobody reads. Return its exit code."""
        end = time.monotonic() + seconds
        while self.run.poll() is None:
            assert time.monotonic() < end, CONTROL.sub("", self.shown)[-1000:]
            if select.select([self._terminal], [], [], 0.2)[0]:
                with suppress(OSError):  # its side is closed
                    self.shown += self._terminal.read(4096).decode(errors="replace")
        return self.run.returncode

    def type(self, text: str) -> None:
        """Type a moment after the prompt, as a person does: a Ctrl-C between the two is seen at the next key only."""
        self.shown = ""
        time.sleep(0.3)
        self._terminal.write(text.encode())

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.run.poll() is None:
            self.run.kill()
        self.run.wait(30)
        self._terminal.close()


def _take_terminal() -> None:
    import fcntl
    import termios

    signal.signal(signal.SIGINT, signal.default_int_handler)
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.mark.slow
def test_a_question_that_is_typed_before_the_model_is_there_is_answered(folders, tmp_path):
    tiny = ["--model", folders[0], "--reward-model", "none", "--max-tokens", "4", "--memory", str(tmp_path)]
    with Terminal(*tiny) as terminal:
        terminal.until("me> ")
        terminal.type("what is an element?\n")
        terminal.until("Loading the model …")
        terminal.until(r"\n.*me> ")
        terminal.type("\x04")
        assert terminal.left() == 0


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["\x03", "/quit\n"], ids=["ctrl-c", "quit"])
def test_who_leaves_while_it_loads_has_left(typed, folders, tmp_path):
    with Terminal("--model", folders[0], "--memory", str(tmp_path)) as terminal:
        terminal.until("me> ")
        terminal.type(typed)
        assert terminal.left() == 0
        assert "Traceback" not in terminal.shown


@pytest.mark.slow
def test_ctrl_c_ends_the_waiting_only(folders, tmp_path):
    tiny = ["--model", folders[0], "--reward-model", "none", "--max-tokens", "4", "--memory", str(tmp_path)]
    with Terminal(*tiny) as terminal:
        terminal.until("me> ")
        terminal.type("what is an element?\n")
        terminal.until("Loading the model …")
        terminal.type("\x03")
        terminal.until(r"\(stopped\)[\s\S]*me> ")
        terminal.type("what is an element?\n")
        terminal.until(r"\n.*me> ")


@pytest.mark.slow
def test_a_model_that_is_broken_is_said_at_the_first_question(tmp_path):
    (tmp_path / "broken").mkdir()
    with Terminal("--model", str(tmp_path / "broken"), "--memory", str(tmp_path / "memory")) as terminal:
        terminal.until("me> ")
        terminal.type("hello\n")
        terminal.until("error: The model '.*broken' does not load")
        assert terminal.left() == 2
