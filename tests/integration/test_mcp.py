"""`pad-langchain mcp` as an assistant starts it: a process at the end of a pipe, and one that serves HTTP."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from mcp import Client, StdioServerParameters

from pad_memory import PreferenceMemory
from places import DOCS

COMMAND = ["-m", "pad_langchain", "mcp", "--user", "ada", "--memory"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if name.startswith(("PYTHON", "HF_", "OMP_", "PATH"))}


@pytest.mark.slow
async def test_over_a_pipe(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    process = StdioServerParameters(command=sys.executable, args=[*COMMAND, str(folder)], env=ENVIRONMENT)
    async with Client(process, read_timeout_seconds=120) as client:
        answer = (await client.call_tool("state_preference", {"text": "Please be brief."})).structured_content
        found = await client.call_tool("how_to_answer", {"query": "What is a lion?"})
    assert answer is not None
    assert (answer["learned"], answer["held_back"]) == (["be concise and brief"], None)
    assert found.structured_content == {"result": "The user prefers: be concise and brief."}
    with PreferenceMemory(folder) as memory:
        assert [event.words for event in memory.events("ada")] == ["Please be brief."]


@pytest.mark.slow
def test_ctrl_c_ends_it_though_nothing_was_typed(tmp_path: Path) -> None:
    command = [sys.executable, *COMMAND, str(tmp_path / "m")]
    request = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    piped = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **piped) as process:  # type: ignore[call-overload]
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1, "it serves"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == -signal.SIGINT
        assert process.stderr.read() == ""


@pytest.mark.slow
async def test_over_http_and_another_process_is_refused_the_folder(tmp_path: Path) -> None:
    command = [sys.executable, *COMMAND, str(tmp_path / "m")]
    served = subprocess.Popen([*command, "--http", "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert served.stderr is not None
    try:
        found = re.match(r"(http://127\.0\.0\.1:\d+/mcp) is the memory of 'ada'\n", served.stderr.readline())
        assert found
        async with Client(found[1], read_timeout_seconds=120) as client:
            thumb = await client.call_tool("give_thumb", {"prompt": "q", "response": "r", "up": True})
            assert not thumb.is_error
            profile = (await client.call_tool("read_profile", {})).structured_content
            assert profile == {"wants": [], "later": [], "no_more": [], "refused": [], "waiting": 1}
            refused = await client.call_tool("undo", {"event_id": "nope"})
            assert refused.is_error
            assert "nope" in refused.content[0].text  # type: ignore[union-attr]
        page = Request(found[1], b"{}", {"Content-Type": "application/json", "Origin": "http://elsewhere.example"})
        with pytest.raises(HTTPError, match="403"):
            urlopen(page, timeout=60)
        second = subprocess.run(command, input="", capture_output=True, text=True, timeout=120)
        assert (second.returncode, second.stdout, second.stderr.count("\n")) == (2, "", 1)
        assert second.stderr.startswith("error: ")
    finally:
        served.send_signal(signal.SIGINT)
        assert "Traceback" not in served.communicate(timeout=60)[1]


def test_the_configurations_in_the_docs_are_json_that_starts_the_command() -> None:
    blocks = re.findall(r"^```json\n(.*?)^```$", (DOCS / "mcp.md").read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    for block in map(json.loads, blocks):
        (servers,) = block.values()
        for server in servers.values():
            assert server.get("args", ["mcp"])[0] == "mcp"
            assert server.get("command", "pad-langchain") == "pad-langchain"
            assert re.fullmatch(r"http://127\.0\.0\.1:8321/mcp", server.get("url", "http://127.0.0.1:8321/mcp"))
