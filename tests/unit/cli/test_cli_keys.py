"""`pad-langchain keys`: what the commands print and change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pad_langchain.cli.main import app
from pad_langchain.server.keys import Keys


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    monkeypatch.setenv("PAD_SERVER_KEYS", str(tmp_path / "keys.json"))
    return lambda *arguments: CliRunner().invoke(app, ["keys", *arguments])


def test_a_key_is_made_shown_once_listed_and_ended(command: Callable[..., Any], tmp_path: Path) -> None:
    made = command("create", "--user", "ada")
    secret, keys = made.stdout.strip(), Keys.open(tmp_path / "keys.json")
    (key,) = keys.list()
    caller = keys.find(secret)
    assert caller is not None
    assert (caller.role, caller.user, caller.tenant) == ("user", "ada", "default")
    assert f"keys revoke {key.id} ends it" in made.stderr
    listed = command("list").output
    assert listed.startswith(f"{key.id}  …{secret[-4:]}  user   default  ada  20")
    assert secret not in listed
    assert command("revoke", key.id).output == f"{key.id} was revoked\n"
    assert command("list").output.endswith("  revoked\n")
    assert keys.find(secret) is None


def test_a_key_of_a_role_and_a_tenant(command: Callable[..., Any], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    made = command("create", "--role", "app", "--tenant", "acme", "--keys", str(other))
    caller = Keys.open(other).find(made.stdout.strip())
    assert caller is not None
    assert (caller.role, caller.tenant) == ("app", "acme")
    assert command("list").output == ""


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["create"], "needs its user"),
        (["create", "--role", "root"], "role has to be one of user, app, admin, but is 'root'"),
        (["revoke", "key-x"], "There is no key 'key-x'"),
    ],
)
def test_what_is_refused_is_one_line(command: Callable[..., Any], arguments: list[str], told: str) -> None:
    refused = command(*arguments)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert told in refused.stderr
    assert refused.stderr.count("\n") == 1
