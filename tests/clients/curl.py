"""curl, and whoever speaks plain HTTP."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from asked import CITIES, FUNCTION, LONG, MESSAGES, OFTEN, QUESTION, SCHEMA_FORM, SHORT, TOOL
from served_elsewhere import Server

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def _command(server: Server, path: str, body: dict[str, Any], *options: str, who: str = "ada") -> list[str]:
    said = json.dumps({"model": "pad-demo", **body})
    command = ["curl", "--silent", "--show-error", "--no-buffer", *options, f"{server.v1}{path}"]
    command += ["-H", f"Authorization: Bearer {server.keys[who]}", "-H", "Content-Type: application/json", "-d", said]
    return command


def curl(server: Server, path: str, body: dict[str, Any], *options: str, who: str = "ada") -> str:
    command = _command(server, path, body, *options, who=who)
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def chat(server: Server, **fields: Any) -> dict[str, Any]:
    answer = json.loads(curl(server, "/chat/completions", {"messages": MESSAGES, **fields}, "--fail-with-body"))
    choice: dict[str, Any] = answer["choices"][0]
    return choice


def test_chat_and_usage(server: Server, whole: dict[str, Any]) -> None:
    found = json.loads(curl(server, "/chat/completions", {"messages": MESSAGES}, "--fail-with-body"))
    assert (found["choices"], found["usage"]) == (whole["choices"], whole["usage"])
    assert json.loads(server.call("/v1/models"))["data"][0]["id"] == "pad-demo"


def test_stream(server: Server, said: str) -> None:
    text = curl(server, "/chat/completions", {"messages": MESSAGES, "stream": True}, "--fail-with-body")
    *lines, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == said


def test_response_and_its_stream(server: Server, said: str) -> None:
    found = json.loads(curl(server, "/responses", {"input": QUESTION}, "--fail-with-body"))
    assert found["output"][0]["content"][0]["text"] == said
    *parts, rest = curl(server, "/responses", {"input": QUESTION, "stream": True}).split("\n\n")
    assert rest == ""
    names, events = zip(*(part.split("\ndata: ") for part in parts), strict=True)
    found = [json.loads(each) for each in events]
    assert [name.removeprefix("event: ") for name in names] == [each["type"] for each in found]
    assert "".join(each["delta"] for each in found if each["type"] == "response.output_text.delta") == said
    assert found[-1]["type"] == "response.completed"


def test_tools_and_schemas(server: Server) -> None:
    (call,) = chat(server, tools=[TOOL], tool_choice="required")["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"])["city"] in CITIES
    assert json.loads(chat(server, response_format=SCHEMA_FORM)["message"]["content"])["city"] in CITIES
    body = {"input": QUESTION, "tools": [{"type": "function", **FUNCTION}], "tool_choice": "required"}
    (item,) = json.loads(curl(server, "/responses", body))["output"]
    assert json.loads(item["arguments"])["city"] in CITIES


@pytest.mark.parametrize(
    ("path", "body", "status", "code", "param"),
    [
        ("/chat/completions", {"messages": MESSAGES, "n": 2}, "400", "unsupported_value", "n"),
        ("/chat/completions", {"messages": MESSAGES, "model": "gpt-5"}, "404", "model_not_found", "model"),
        ("/responses", {"input": QUESTION, "store": True}, "400", "unsupported_value", "store"),
        ("/responses", {}, "400", "invalid_value", "input"),
        ("/nothing", {}, "404", "unknown_url", None),
    ],
)
def test_errors(server: Server, path: str, body: dict[str, Any], status: str, code: str, param: str | None) -> None:
    text, _, found = curl(server, path, body, "--write-out", "\n%{http_code}").rpartition("\n")
    error = json.loads(text)["error"]
    assert (found, error["code"], error["param"]) == (status, code, param)


@pytest.mark.parametrize("streamed", [True, False])
def test_who_leaves_frees_its_row(server: Server, streamed: bool) -> None:
    body = {"messages": MESSAGES, "response_format": LONG, "max_tokens": 2_000, "stream": streamed}

    def begin() -> Any:
        asking = subprocess.Popen(_command(server, "/chat/completions", body), stdout=subprocess.DEVNULL)

        def leave() -> None:
            asking.kill()
            asking.wait()

        return leave

    server.frees_the_row(begin)


def test_a_full_queue_is_tried_again(server: Server) -> None:
    body = {"messages": MESSAGES, "max_tokens": SHORT}

    def ask() -> str:
        text = curl(server, "/chat/completions", body, "--fail", "--retry", str(OFTEN), who="dan")
        content: str = json.loads(text)["choices"][0]["message"]["content"]
        return content

    server.all_get_through(ask)
