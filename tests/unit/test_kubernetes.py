"""docker/kubernetes fits Kubernetes' own schemas, the server's settings, and itself. No cluster runs here."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from pad_langchain.server.app import build_app
from pad_langchain.server.settings import PREFIX, ServerSettings
from places import ROOT

FOLDER = ROOT / "docker" / "kubernetes"
OBJECTS = [
    pytest.param(each, id=f"{file.stem}-{each['kind']}")
    for file in sorted(FOLDER.glob("*.yaml"))
    for each in yaml.safe_load_all(file.read_text())
]
VERSION = kubernetes_validate.latest_version()


def found(kind: str, name: str) -> Any:
    (one,) = (each.values[0] for each in OBJECTS if named(each.values[0]) == (kind, name))
    return one


def named(made: Any) -> tuple[str, str]:
    return made["kind"], made["metadata"]["name"]


def pods() -> list[Any]:
    """What Deployments and StatefulSets make pods of."""
    return [each.values[0] for each in OBJECTS if "template" in each.values[0].get("spec", {})]


@pytest.mark.parametrize("made", OBJECTS)
def test_each_object_fits_the_schema_which_knows_a_slip(made: Any) -> None:
    kubernetes_validate.validate(made, VERSION, strict=True)
    slipped = copy.deepcopy(made)
    slipped.setdefault("spec", {})["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(slipped, VERSION, strict=True)


def test_the_configuration_is_the_servers(tmp_path: Path) -> None:
    told = found("ConfigMap", "pad-api")["data"]
    settings = ServerSettings.load({}, {**told, f"{PREFIX}HOST": "0.0.0.0"})  # the image says the host
    assert len(told) == len([name for name in told if name.startswith(PREFIX)])
    pod = found("Deployment", "pad-api")["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] > settings.drain_s + settings.shutdown_grace_s
    (container,) = pod["containers"]
    probe = container["readinessProbe"]
    assert settings.drain_s > probe["periodSeconds"] * probe.get("failureThreshold", 3)
    assert container["ports"][0]["containerPort"] == settings.port
    services = {name for kind, name in (named(each.values[0]) for each in OBJECTS) if kind == "Service"}
    assert {settings.memory, *(settings.engine_url or ())} == {f"http://{name}:8000" for name in services - {"pad-api"}}
    mounted = [place["mountPath"] for place in container["volumeMounts"]]
    for path in (settings.model, settings.reward_model, settings.keys):
        assert any(str(path).startswith(f"{place}/") for place in mounted)


def test_probes_ask_what_the_server_answers() -> None:
    routes = set(build_app(ServerSettings("pad-demo")).openapi()["paths"])
    (container,) = found("Deployment", "pad-api")["spec"]["template"]["spec"]["containers"]
    asked = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {"/health", "/ready"} <= routes


@pytest.mark.parametrize("made", pods())
def test_pods_are_found_by_their_service_and_mount_what_there_is(made: Any) -> None:
    labels, spec = made["spec"]["template"]["metadata"]["labels"], made["spec"]["template"]["spec"]
    name = made["metadata"]["name"]
    assert made["spec"]["selector"]["matchLabels"] == labels == {"app": name}
    service = found("Service", name)["spec"]
    assert service["selector"] == labels
    (container,) = spec["containers"]
    assert service["ports"][0].get("targetPort", service["ports"][0]["port"]) in (
        container["ports"][0]["name"],
        container["ports"][0]["containerPort"],
    )
    claimed = [each["metadata"]["name"] for each in made["spec"].get("volumeClaimTemplates", ())]
    known = {*claimed, *(each["name"] for each in spec.get("volumes", ()))}
    assert {each["name"] for each in container["volumeMounts"]} == known
    for volume in spec.get("volumes", ()):
        if claim := volume.get("persistentVolumeClaim"):
            assert found("PersistentVolumeClaim", claim["claimName"])
    assert spec["enableServiceLinks"] is False


@pytest.mark.parametrize("name", ["chroma", "vllm"])
def test_what_has_no_keys_is_reached_by_the_servers_alone(name: str) -> None:
    policy = found("NetworkPolicy", name)["spec"]
    assert policy["podSelector"]["matchLabels"] == {"app": name}
    assert policy["ingress"] == [
        {"from": [{"podSelector": {"matchLabels": {"app": "pad-api"}}}], "ports": [{"port": 8000}]}
    ]


def test_versions_are_those_that_are_tested() -> None:
    (chroma,) = found("StatefulSet", "chroma")["spec"]["template"]["spec"]["containers"]
    version = re.search(r"^chromadb==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert version is not None
    assert chroma["image"] == f"chromadb/chroma:{version[1]}"


def test_the_image_of_vllm_gets_what_it_copies() -> None:
    copied = re.findall(r"^COPY (\S+) ", (ROOT / "docker" / "vllm.Dockerfile").read_text(), re.MULTILINE)
    let_in = (ROOT / "docker" / "vllm.Dockerfile.dockerignore").read_text().splitlines()
    assert copied == [line.removeprefix("!") for line in let_in if line.startswith("!")]
    assert all((ROOT / place).is_dir() for place in copied)
    assert (ROOT / "pad_vllm" / "arithmetic").resolve() == ROOT / "pad_langchain" / "arithmetic"
