"""What deploy.yaml becomes for Ray Serve, which is not installed here; tests/clients/ray_serve.py runs it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from pad_langchain.cli import deploy
from pad_langchain.cli.main import app
from pad_langchain.errors import InvalidRequestError, MissingDependencyError
from pad_langchain.server.ray import RayDeployment, _Replica, application
from pad_langchain.server.settings import ServerSettings

SERVER = {"model": "pad-demo", "memory": "http://chroma:8000", "keys": "/etc/pad/keys.json", "host": "0.0.0.0"}


def written(tmp_path: Path, **told: Any) -> Path:
    file = tmp_path / "deploy.yaml"
    file.write_text(yaml.safe_dump(told))
    return file


def test_the_servers_settings_come_back_as_the_replicas_settings(tmp_path: Path) -> None:
    server = {**SERVER, "port": 8701, "defaults": ["be brief"], "engine_settings": {"max_batch": 4, "max_queue": 8}}
    made = RayDeployment.load(written(tmp_path, server=server, replicas={"most": 3}, cpus=2, gpus=0.5)).serve_config()
    (one,) = made["applications"]
    assert ServerSettings(**one["args"]["server"]) == ServerSettings(**server)
    assert made["http_options"] == {"host": "0.0.0.0", "port": 8701}
    (deployment,) = one["deployments"]
    # Ours refuses what is too much, with a 429 that says when to come again.
    assert deployment["max_ongoing_requests"] > 12
    assert deployment["max_queued_requests"] == -1
    assert deployment["autoscaling_config"] == {"min_replicas": 1, "max_replicas": 3, "target_ongoing_requests": 16.0}
    assert deployment["ray_actor_options"]["num_cpus"] == 2
    assert deployment["ray_actor_options"]["num_gpus"] == 0.5
    assert made["logging_config"] == {"enable_access_log": False}
    assert yaml.safe_load(yaml.safe_dump(made)) == made


def test_users_stay_with_their_replica_unless_told_otherwise() -> None:
    for by_user in (True, False):
        made = RayDeployment(SERVER, by_user=by_user).serve_config()["applications"][0]["deployments"][0]
        assert ("request_router_config" in made) is by_user
    assert RayDeployment({**SERVER, "user_header": "X-OpenWebUI-User-Id"}).session_header == "x-openwebui-user-id"


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"server": {**SERVER, "memory": "/data"}, "replicas": {"most": 2}}, "one process opens"),
        ({"server": {**SERVER, "jwt_secret": "x" * 40}}, "PAD_SERVER_JWT_SECRET"),
        ({"server": {"model": "pad-demo", "host": "0.0.0.0"}}, "there are no keys"),
        ({"server": {**SERVER, "modle": "x"}}, "did you mean 'model'"),
        ({"server": SERVER, "replicas": {"least": 3, "most": 2}}, "replicas.least is 3.*at most replicas.most, 2"),
        ({"server": SERVER, "replica": {"most": 2}}, "There is no setting 'replica', did you mean 'replicas"),
        ({"server": SERVER, "cpus": 0}, "cpus has to be greater than 0, but is 0"),
        ({}, "has no `server:`"),
    ],
)
def test_what_is_not_allowed_is_said(tmp_path: Path, told: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidRequestError, match=said):
        RayDeployment.load(written(tmp_path, **told))


def test_a_secret_of_the_environment_is_in_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAD_SERVER_JWT_SECRET", "s" * 40)
    made = RayDeployment({**SERVER, "jwt_issuer": "idp"}).serve_config()
    assert "s" * 40 not in yaml.safe_dump(made)
    assert made["applications"][0]["args"]["server"]["jwt_issuer"] == "idp"


def test_the_command_writes_the_file_and_never_over_another(tmp_path: Path) -> None:
    file, output = written(tmp_path, server=SERVER), tmp_path / "serve.yaml"
    command = ["deploy", "ray", "--config", str(file), "--output", str(output)]
    for _ in range(2):  # its own file is made anew
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert "RAY_SERVE_SESSION_ID_HEADER_KEY=x-pad-user" in done.output
        assert yaml.safe_load(output.read_text()) == RayDeployment(SERVER).serve_config()
    output.write_text("mine: 1\n")
    done = CliRunner().invoke(app, command)
    assert done.exit_code != 0
    assert "was not made by this command" in done.output
    assert output.read_text() == "mine: 1\n"


def test_without_ray_both_ways_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "pad-langchain\[ray\]"'):
        application({"server": SERVER})
    monkeypatch.setattr(deploy.sys, "executable", str(tmp_path / "python"))
    file, output = written(tmp_path, server=SERVER), tmp_path / "serve.yaml"
    done = CliRunner().invoke(app, ["deploy", "ray", "--config", str(file), "--output", str(output), "--run"])
    assert done.exit_code != 0
    assert "pad-langchain[ray]" in done.output


@pytest.mark.asyncio
async def test_a_replica_fails_its_check_where_its_engine_stopped(tmp_path: Path) -> None:
    replica = _Replica({"model": "pad-demo", "keys": str(tmp_path / "keys.json")})
    made = replica.__serve_build_asgi_app__()
    await replica.check_health()  # it still loads
    made.state.service = SimpleNamespace(chat=SimpleNamespace(engine=SimpleNamespace(alive=False)))
    with pytest.raises(RuntimeError, match="engine has stopped"):
        await replica.check_health()
