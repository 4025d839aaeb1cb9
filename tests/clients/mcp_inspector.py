"""The inspector of the Model Context Protocol's authors against `pad-langchain mcp`, over a pipe and over HTTP."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from node import needs_node, npx

# The inspector wants a newer node than most machines have; npm has one.
PACKAGES = ("node@22.23.3", "@modelcontextprotocol/inspector@0.17.2")
TOOLS = set(
    "how_to_answer read_profile state_preference give_thumb give_rating give_choice give_edit give_critique "
    "next_question undo forget pause resume".split()
)


def _inspected(target: list[str], method: str, *options: str) -> Any:
    """What the inspector prints of one call, parsed."""
    command = [*npx(*PACKAGES), "mcp-inspector", "--cli", *target, "--method", method, *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def _call(target: list[str], tool: str, **arguments: str) -> Any:
    given = [part for name, value in arguments.items() for part in ("--tool-arg", f"{name}={value}")]
    return _inspected(target, "tools/call", "--tool-name", tool, *given)


@pytest.fixture(params=["pipe", "http"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """What the inspector is told to connect to."""
    needs_node()
    command = [sys.executable, "-m", "pad_langchain", "mcp", "--user", "ada", "--memory", str(tmp_path / "memory")]
    if request.param == "pipe":
        yield command
        return
    served = subprocess.Popen([*command, "--http", "--port", "0"], stderr=subprocess.PIPE, text=True)
    try:
        assert served.stderr is not None
        found = re.match(r"(http://127\.0\.0\.1:\d+/mcp) ", served.stderr.readline())
        assert found
        yield [found[1], "--transport", "http"]
    finally:
        served.send_signal(signal.SIGINT)
        served.communicate(timeout=60)


def test_it_lists_the_tools_and_what_one_learned_another_reads(target: list[str]) -> None:
    assert {tool["name"] for tool in _inspected(target, "tools/list")["tools"]} == TOOLS
    learned = _call(target, "state_preference", text="Please be brief.")
    assert learned["structuredContent"]["learned"] == ["be concise and brief"]
    read = _call(target, "how_to_answer", query="What is a lion?")
    assert read["structuredContent"] == {"result": "The user prefers: be concise and brief."}
    refused = _call(target, "undo", event_id="nope")
    assert refused["isError"] is True
