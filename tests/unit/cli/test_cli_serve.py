"""`pad-langchain serve`: what it makes of its options, before a model loads."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from pad_langchain.cli.main import app
from pad_langchain.cli.serve import _log
from pad_langchain.errors import ModelLoadError
from pad_langchain.server import process
from pad_langchain.server.keys import Keys
from pad_langchain.server.settings import ServerSettings
from pad_langchain.server.tracing import RequestSpan


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ServerSettings]:
    """The settings of the servers that ran; none listens."""
    ran: list[ServerSettings] = []

    def run(app: ServerSettings, settings: ServerSettings, listens: Callable[[str], None]) -> None:
        assert app is settings
        ran.append(settings)
        listens("http://127.0.0.1:8700")

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setitem(sys.modules, "pad_langchain.server.app", SimpleNamespace(build_app=lambda settings: settings))
    return ran


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("PAD_MEMORY", raising=False)
    return lambda *arguments: CliRunner().invoke(app, ["serve", *arguments])


def test_the_first_start_makes_a_key_and_shows_it_once(
    command: Callable[..., Any], served: list[ServerSettings], tmp_path: Path
) -> None:
    first = command("--model", "pad-demo")
    assert first.exit_code == 0, first.output
    secret = next(line.strip() for line in first.stdout.splitlines() if line.startswith("    pad-"))
    caller = Keys.open(tmp_path / "pad-langchain" / "server-keys.json").find(secret)
    assert caller is not None
    assert (caller.role, caller.user) == ("user", "me")
    assert "http://127.0.0.1:8700/v1 answers" in first.stdout
    second = command("--model", "pad-demo").stdout
    assert "    pad-" not in second
    assert f"The keys are in {tmp_path}" in second
    assert served[0] == served[1]
    assert served[0].memory == str(tmp_path / "pad-langchain" / "memory")


def test_flags_reach_the_settings(
    command: Callable[..., Any], served: list[ServerSettings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAD_SERVER_BURST", "3")
    (tmp_path / "server.yaml").write_text("model: pad-demo\nport: 1\nmax_tools: 2\n")
    said = "--port 0 --rate 30 --memory none --reward-model none --shutdown-grace 5 --trusted-host a --trusted-host b"
    done = command(
        *said.split(),
        "--engine-settings",
        "{max_batch: 2}",
        "--allowed-origin",
        "http://a",
        "--default",
        "be brief, and kind",
        "--default",
        "no emojis",
        "--config",
        str(tmp_path / "server.yaml"),
    )
    assert done.exit_code == 0, done.output
    assert served == [
        ServerSettings(
            "pad-demo",
            port=0,
            rate=30.0,
            burst=3,
            max_tools=2,
            reward_model=None,
            shutdown_grace_s=5.0,
            trusted_hosts=("a", "b"),
            allowed_origins=("http://a",),
            engine_settings={"max_batch": 2},
            defaults=("be brief, and kind", "no emojis"),
        )
    ]


def test_others_may_call_only_with_a_key_that_is_there(
    command: Callable[..., Any], served: list[ServerSettings], tmp_path: Path
) -> None:
    place = tmp_path / "keys.json"
    public = ["--model", "pad-demo", "--host", "0.0.0.0"]
    refused = command(*public)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert "pad-langchain keys create --keys FILE" in refused.stderr
    refused = command(*public, "--keys", str(place))
    assert refused.exit_code == 2
    assert f"Make one: pad-langchain keys create --keys {place}" in refused.stderr
    identity, _ = Keys.open(place).create("app")
    assert command(*public, "--keys", str(place)).exit_code == 0
    Keys.open(place).revoke(identity)
    for host in ("0.0.0.0", "127.0.0.1"):
        assert command("--model", "pad-demo", "--host", host, "--keys", str(place)).exit_code == 2
    assert len(served) == 1


def test_all_that_is_wrong_is_one_line(command: Callable[..., Any], served: list[ServerSettings]) -> None:
    refused = command("--model", "pad-demo", "--port", "99999", "--rate", "0", "--allowed-origin", "*")
    assert (refused.exit_code, refused.stderr.count("\n"), served) == (2, 1, [])
    for name in ("port", "rate", "allowed_origins"):
        assert name in refused.stderr


def test_a_model_that_does_not_load_is_one_line(
    command: Callable[..., Any], served: list[ServerSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(*_: object) -> None:
        raise ModelLoadError("There is no model 'nope'.")

    monkeypatch.setattr(process, "run", run)
    refused = command("--model", "nope")
    assert (refused.exit_code, refused.stderr) == (2, "error: There is no model 'nope'.\n")


@pytest.mark.parametrize("arguments", [["serve", "--model", "pad-demo"], ["keys", "list"]])
def test_without_the_extra_the_command_says_its_line(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("pad_langchain.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    assert refused.stderr.endswith('Install it: pip install "pad-langchain[serve]"\n')


def test_the_log_names_the_request_that_a_line_is_of(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    _log()
    with RequestSpan("GET", {}, "r-1").current():
        logging.getLogger("elsewhere").warning("slow")
    logging.getLogger("elsewhere").warning("on its own")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith(" WARNING slow request=r-1")
    assert second.endswith(" WARNING on its own")
