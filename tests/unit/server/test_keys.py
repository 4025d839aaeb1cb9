"""The file of keys: what it holds, and that it is whole whatever happens."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import pytest

from pad_langchain.errors import InvalidRequestError
from pad_langchain.server.errors import ApiError
from pad_langchain.server.identity import Caller
from pad_langchain.server.keys import Keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "made" / "keys.json"


def test_a_key_is_found_by_its_secret_only(path: Path) -> None:
    keys = Keys.open(path)
    first, secret = keys.create("user", user="ada")
    second, other = keys.create("app", tenant="acme")
    assert keys.find(secret) == Caller("user", "default", first, "ada")
    assert keys.find(other) == Caller("app", "acme", second)
    for wrong in (
        "",
        "pad-",
        secret[:-1],
        secret + "x",
        first,
        json.loads(path.read_text())["keys"][0]["hash"],
        "\udc80",
    ):
        assert keys.find(wrong) is None


def test_the_file_has_no_secret_and_only_its_owner_reads_it(path: Path) -> None:
    _, secret = Keys.open(path).create("admin")
    assert secret not in path.read_text()
    assert len(secret) == len("pad-") + 43  # 256 bits
    assert [key.last4 for key in Keys.open(path).list()] == [secret[-4:]]
    assert secret not in repr(Keys.open(path).list())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_name("keys.json.lock").stat().st_mode) & 0o077 == 0


def test_a_revoked_key_stops_at_once_in_a_server_that_runs(path: Path) -> None:
    server, command = Keys.open(path), Keys.open(path)
    identity, secret = command.create("user", user="ada")
    kept, other = command.create("user", user="bob")
    assert server.find(secret) is not None
    command.revoke(identity)
    command.revoke(identity)
    assert server.find(secret) is None
    assert server.find(other) == Caller("user", "default", kept, "bob")
    assert [key.revoked for key in server.list()] == [True, False]


def test_a_file_that_is_gone_has_no_keys(path: Path) -> None:
    keys = Keys.open(path)
    _, secret = keys.create("admin")
    path.unlink()
    assert keys.find(secret) is None
    assert keys.list() == ()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 1, "keys": [{"id": "x"}]}', "\x00"])
def test_a_file_of_something_else_is_refused_and_left_alone(path: Path, text: str) -> None:
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(InvalidRequestError, match="no file of keys"):
        Keys.open(path)
    assert path.read_text() == text


def test_a_file_of_a_newer_version_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.write_text('{"format": 2, "keys": {}}')
    with pytest.raises(InvalidRequestError, match="newer version"):
        Keys.open(path)


def test_a_file_that_breaks_while_the_server_runs_refuses_every_key(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys.open(path)
    _, secret = keys.create("admin")
    path.write_text("{")
    with pytest.raises(ApiError) as refused:
        keys.find(secret)
    assert (refused.value.status, refused.value.code) == (503, "not_ready")
    assert str(path) not in refused.value.message
    assert "no file of keys" in caplog.text
    assert secret not in caplog.text


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file(path: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys.open(path)
    identity, secret = keys.create("admin")
    before = path.read_bytes()

    def fail(*args: object) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, broken, fail)
        with pytest.raises(InvalidRequestError, match="cannot be written: No space left"):
            keys.revoke(identity)
    assert path.read_bytes() == before
    assert sorted(each.name for each in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]
    assert keys.find(secret) is not None
    keys.revoke(identity)  # the lock was let go
    assert keys.find(secret) is None


def test_keys_made_at_the_same_time_are_all_there(path: Path) -> None:
    threads = [threading.Thread(target=lambda: Keys.open(path).create("admin")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key.id for key in Keys.open(path).list()}) == 8


@pytest.mark.parametrize(
    ("role", "more", "told"),
    [
        ("root", {}, "user, app, admin"),
        ("user", {}, "needs its user"),
        ("app", {"user": "ada"}, "no single user"),
        ("admin", {"user": "ada"}, "no single user"),
        ("app", {"tenant": " "}, "tenant has to be"),
        ("user", {"user": "a\nb"}, "user has to be"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(path: Path, role: str, more: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        Keys.open(path).create(role, **more)
    assert not path.exists()


def test_an_unknown_key_cannot_be_revoked(path: Path) -> None:
    identity, _ = Keys.open(path).create("admin")
    with pytest.raises(InvalidRequestError, match=f"no key 'nope'.*There are: {identity}"):
        Keys.open(path).revoke("nope")
