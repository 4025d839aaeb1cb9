"""CompatCanary, a public suite that says whether an API is OpenAI's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from served_elsewhere import Server

VERSION = "0.2.2"
PROBES = {
    "models.list",
    "chat.basic",
    "chat.streaming",
    "chat.tool_call",
    "chat.structured_output",
    "responses.basic",
    "responses.streaming",
}


def _node() -> int:
    """The major version of node; 0 where there is none, or no npx."""
    if shutil.which("npx") is None or shutil.which("node") is None:
        return 0
    said = subprocess.run(["node", "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
    return int(said.strip().removeprefix("v").partition(".")[0])


def test_every_probe_passes(server: Server, tmp_path: Path) -> None:
    if _node() < 20:
        pytest.skip("needs node 20 or newer, with npx")
    report = tmp_path / "report.json"
    command = ["npx", "--yes", f"compatcanary@{VERSION}", "scan", "--base-url", server.v1, "--model", "pad-demo"]
    command += ["--profile", "modern", "--timeout", "60", "--format", "json", "--output", str(report)]
    environment = {**os.environ, "OPENAI_API_KEY": server.key}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert report.exists(), f"compatcanary made no report:\n{done.stdout}{done.stderr}"
    found = json.loads(report.read_text())
    assert {each["id"]: each["status"] for each in found["results"]} == dict.fromkeys(PROBES, "pass"), found
    assert (found["compatible"], found["score"]) == (True, 100)
