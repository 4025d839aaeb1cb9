"""The files that docs/deploy.md shows fit the settings, and each other."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields

import pytest
import uvicorn
import yaml

from pad_langchain.server.ray import RayDeployment
from pad_langchain.server.settings import PREFIX, ServerSettings
from pad_memory.sources import ResponseLog
from places import DOCS
from snippets import blocks

PAGE = DOCS / "deploy.md"
TEXT = PAGE.read_text()


def block(language: str, has: str = "") -> str:
    (found,) = (each for each in blocks(PAGE, language) if has in each)
    return found


def unit() -> list[tuple[str, str]]:
    """The (name, value) lines of the systemd unit, in order; a name may come more than once."""
    lines = block("ini").splitlines()
    known = re.compile(r"\[\w+\]|#.*|(\w+)=(.*)|")
    assert all(known.fullmatch(line) for line in lines)
    return [(name, value) for name, value in re.findall(r"^(\w+)=(.*)$", block("ini"), re.MULTILINE)]


def environment() -> dict[str, str]:
    return dict(value.partition("=")[::2] for name, value in unit() if name == "Environment")


def ours(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(PREFIX)}


def directive(text: str, name: str) -> str:
    (found,) = re.findall(rf"^\s*{name} ([^;\n]+)", text, re.MULTILINE)
    return str(found)


def test_the_units_settings_are_settings_and_it_waits_for_the_answers() -> None:
    settings = ServerSettings.load({}, ours(environment()))
    told = dict(unit())
    assert float(told["TimeoutStopSec"]) > settings.shutdown_grace_s + settings.drain_s
    assert settings.memory is not None
    folder = f"/var/lib/{told['StateDirectory']}/"
    assert settings.memory.startswith(folder)
    assert str(settings.keys_file).startswith(folder)
    assert str(settings.keys_file) in block("bash", "useradd")


def test_the_server_answers_to_the_names_that_the_proxies_pass_on() -> None:
    hosts = ServerSettings.load({}, ours(environment())).hosts
    assert directive(block("nginx"), "server_name") in hosts
    assert re.search(r"^([\w.]+) \{$", block("caddyfile"), re.MULTILINE)[1] in hosts  # type: ignore[index]
    assert "127.0.0.1" in hosts


@pytest.mark.parametrize("language", ["nginx", "caddyfile"])
def test_a_proxys_braces_close_and_it_hides_the_metrics(language: str) -> None:
    text = re.sub(r"#.*", "", block(language))
    assert text.count("{") == text.count("}")
    assert "/metrics" in text
    assert str(ServerSettings("m").port) in text


def test_nginx_lets_the_server_refuse_bodies_and_closes_connections_first() -> None:
    settings, nginx = ServerSettings("m"), block("nginx")
    largest = int(directive(nginx, "client_max_body_size").removesuffix("k")) * 1024
    assert settings.max_body_bytes < largest < 1.5 * settings.max_body_bytes
    keep = inspect.signature(uvicorn.Config).parameters["timeout_keep_alive"].default
    assert f"after {keep} s" in nginx
    assert int(directive(nginx, "keepalive_timeout").removesuffix("s")) < keep
    assert int(directive(nginx, "client_body_timeout").removesuffix("s")) == settings.body_timeout_s
    assert directive(nginx, "proxy_buffering") == "off"


def test_the_configuration_is_one() -> None:
    settings = ServerSettings(**yaml.safe_load(block("yaml", "drain_s:")))
    assert settings.memory == "http://127.0.0.1:8000"
    assert settings.drain_s > 0


def test_prometheus_sends_a_key() -> None:
    (job,) = yaml.safe_load(block("yaml", "scrape_configs"))["scrape_configs"]
    assert "credentials_file" in job["authorization"]
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{ServerSettings('m').port}"]}]


def test_every_setting_and_variable_that_is_named_exists() -> None:
    names = {field.name for field in fields(ServerSettings)}
    assert {name.lower() for name in re.findall(rf"{PREFIX}(\w+)", TEXT)} <= names
    said = set(re.findall(r"`(max_\w+|drain_s|shutdown_grace_s|rate|burst)`", TEXT))
    assert said - {"max_batch", "max_queue", "max_batch_tokens"} <= names


def test_what_is_said_of_recent_answers_is_so() -> None:
    log = ResponseLog()
    assert log.seconds == 24 * 3600
    assert f"up to {log.per_user} a user, {log.answers:,} in all" in TEXT
    assert f"{log.characters // 1_000_000} million characters" in TEXT


def test_rays_configuration_is_one() -> None:
    deployment = RayDeployment(**yaml.safe_load(block("yaml", "replicas:")))
    assert deployment.replicas.most > 1
    assert deployment.settings.answer_retention_s is not None  # or feedback finds no answer of another replica
    assert f"RAY_SERVE_SESSION_ID_HEADER_KEY={deployment.session_header}" in block("bash", "ray start")
