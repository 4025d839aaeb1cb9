"""What a server is told: which source counts, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pad_langchain.errors import InvalidRequestError
from pad_langchain.server.settings import ServerSettings, is_loopback

SECRET = "x" * 32


def unasked() -> None:
    raise AssertionError("something else says it")


def test_the_flag_counts_before_the_environment_before_the_file_before_the_default(tmp_path: Path) -> None:
    file = tmp_path / "server.yaml"
    file.write_text("model: of-file\nport: 1\nburst: 1\nrate: 60\n")
    settings = ServerSettings.load(
        {"port": 3, "rate": None},
        {"PAD_SERVER_PORT": "2", "PAD_SERVER_BURST": "2", "PAD_SERVER_HOST": "", "OTHER": "x"},
        config=file,
        defaults={"model": unasked, "port": unasked, "max_tools": lambda: 7},
    )
    assert (settings.port, settings.burst, settings.model) == (3, 2, "of-file")
    assert (settings.rate, settings.max_tools, settings.host) == (60.0, 7, "127.0.0.1")


def test_the_environment_names_the_file_unless_a_flag_does(tmp_path: Path) -> None:
    for name, port in (("flag", 1), ("environment", 2)):
        (tmp_path / name).write_text(f"port: {port}")
    environment = {"PAD_SERVER_CONFIG": str(tmp_path / "environment"), "PAD_SERVER_MODEL": "m"}
    assert ServerSettings.load({}, environment).port == 2
    assert ServerSettings.load({}, environment, config=tmp_path / "flag").port == 1


def test_defaults_have_the_forms_of_a_preference() -> None:
    assert ServerSettings("pad-demo", defaults=["be brief", ["be formal", 0.5]]).defaults == (
        ("be brief", 1.0),
        ("be formal", 0.5),
    )
    with pytest.raises(InvalidRequestError, match=r"defaults.*texts and \(text, weight\) pairs, but is 7"):
        ServerSettings("pad-demo", defaults=7)


def test_texts_of_the_environment_become_lists_mappings_and_none() -> None:
    settings = ServerSettings.load(
        {},
        {
            "PAD_SERVER_MODEL": "pad-demo",
            "PAD_SERVER_REWARD_MODEL": "none",
            "PAD_SERVER_DEFAULTS": "be brief, no emojis",
            "PAD_SERVER_RATE": "None",
            "PAD_SERVER_CHAT_TEMPLATE_SWITCHES": "enable_thinking, fast",
            "PAD_SERVER_ENGINE_SETTINGS": "{max_batch: 4}",
            "PAD_SERVER_TRUSTED_HOSTS": "Chat.example.com, *.example.org",
            "PAD_SERVER_JWT_SECRET": SECRET,
            "PAD_SERVER_JWT_ISSUER": "open-webui",
        },
    )
    assert (settings.reward_model, settings.rate) == (None, None)
    assert settings.chat_template_switches == ("enable_thinking", "fast")
    assert settings.engine_settings == {"max_batch": 4}
    assert settings.defaults == (("be brief", 1.0), ("no emojis", 1.0))
    assert settings.hosts == ("chat.example.com", "*.example.org")


def test_all_errors_are_told_at_once_with_the_nearest_names() -> None:
    with pytest.raises(InvalidRequestError) as refused:
        ServerSettings.load({"prot": 1, "port": "x"}, {"PAD_SERVER_MODLE": "m", "PAD_SERVER_BURST": "0"})
    for part in ("lack model", "'prot', did you mean 'port'", "'modle', did you mean 'model'", "port has", "burst has"):
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"port": 65_536}, "port has to be less than or equal to 65535"),
        ({"port": True}, "a number is asked for"),
        ({"rate": 0}, "rate has to be greater than 0"),
        ({"rate": float("inf")}, "finite"),
        ({"max_body_bytes": 0}, "max_body_bytes"),
        ({"engine_settings": "{"}, "a mapping in YAML"),
        ({"engine_settings": "4"}, "engine_settings"),
        ({"allowed_origins": ["*"]}, "an origin is"),
        ({"allowed_origins": "https://a.example/path"}, "an origin is"),
        ({"trusted_hosts": "example.com:80/x"}, "a host is"),
        ({"user_header": "X User"}, "the name of a header"),
        ({"jwt_secret": SECRET}, "need each other"),
        ({"jwt_issuer": "open-webui"}, "need each other"),
        ({"host": "0.0.0.0"}, "pad-langchain keys create"),
    ],
)
def test_what_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(InvalidRequestError, match=re.escape(told)):
        ServerSettings("pad-demo", **wrong)


@pytest.mark.parametrize("secret", ["hush-hush", 12_345_678])
def test_a_secret_is_never_shown(secret: object) -> None:
    with pytest.raises(InvalidRequestError, match="32 bytes") as refused:
        ServerSettings("pad-demo", jwt_secret=secret, jwt_issuer="i")
    assert str(secret) not in str(refused.value)
    assert SECRET not in repr(ServerSettings("pad-demo", jwt_secret=SECRET, jwt_issuer="i"))


def test_others_may_call_where_there_are_keys(tmp_path: Path) -> None:
    settings = ServerSettings("pad-demo", host="0.0.0.0", keys=str(tmp_path / "keys.json"))
    assert settings.hosts == ("*",)
    assert settings.keys_file == tmp_path / "keys.json"


def test_where_only_this_machine_calls_it_is_called_by_its_own_names() -> None:
    settings = ServerSettings("pad-demo", host="127.0.0.7")
    assert settings.hosts == ("localhost", "127.0.0.1", "[::1]", "127.0.0.7")
    assert settings.keys_file.name == "server-keys.json"


def test_relative_places_are_read_when_they_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ServerSettings("pad-demo", memory="here", keys="keys.json")
    assert (settings.memory, settings.keys) == (str(tmp_path / "here"), str(tmp_path / "keys.json"))
    assert ServerSettings("pad-demo", memory="http://chroma:8000").memory == "http://chroma:8000"
    assert ServerSettings("pad-demo", memory="none").memory is None


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("LOCALHOST", True)]
    + [(host, False) for host in ("0.0.0.0", "::", "10.0.0.1", "example.com", "localhost.example.com", "")],
)
def test_which_addresses_are_of_this_machine_only(host: str, local: bool) -> None:
    assert is_loopback(host) is local


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (0, "greater than 0"),
        (-1, "greater than 0"),
        ("soon", "number"),
        (True, "a number is asked for"),
        (float("inf"), "finite"),
        (1e10, "less than or equal to 315360000"),
    ],
)
def test_a_retention_that_is_none_is_refused(tmp_path: Path, value: object, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"answer_retention_s.*{told}"):
        ServerSettings("pad-demo", memory=str(tmp_path), answer_retention_s=value)


def test_a_retention_needs_a_memory(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequestError, match="answer_retention_s keeps answers in the memory, but there is none"):
        ServerSettings("pad-demo", answer_retention_s=60)
    assert ServerSettings("pad-demo", memory=str(tmp_path), answer_retention_s="none").answer_retention_s is None
    assert (
        ServerSettings.load(
            {"model": "pad-demo", "memory": str(tmp_path)}, {"PAD_SERVER_ANSWER_RETENTION_S": "60"}
        ).answer_retention_s
        == 60.0
    )
