"""CompatCanary, a public suite that says whether an API is OpenAI's."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from node import needs_node, npx
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


def test_every_probe_passes(server: Server, tmp_path: Path) -> None:
    needs_node()
    report = tmp_path / "report.json"
    command = [*npx(f"compatcanary@{VERSION}"), "compatcanary", "scan", "--base-url", server.v1, "--model", "pad-demo"]
    command += ["--profile", "modern", "--timeout", "60", "--format", "json", "--output", str(report)]
    environment = {**os.environ, "OPENAI_API_KEY": server.key}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280)
    assert report.exists(), f"compatcanary made no report:\n{done.stdout}{done.stderr}"
    found = json.loads(report.read_text())
    assert {each["id"]: each["status"] for each in found["results"]} == dict.fromkeys(PROBES, "pass"), found
    assert (found["compatible"], found["score"]) == (True, 100)
