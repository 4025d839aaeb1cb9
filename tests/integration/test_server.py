"""A server as its clients know it: `pad-langchain serve` on the demo pair, the SDK, LangChain, and plain HTTP."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from fresh import run_program
from pad_langchain import ChatPAD
from places import DOCS
from served_process import Running, serve
from snippets import blocks
from waiting import until

pytestmark = pytest.mark.slow

QUESTION = "What is a lion?"
ASKED: Any = [{"role": "user", "content": QUESTION}]
WISH = "be concise and brief"
NAME = "Rumpelstiltskin"
LONG = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array", "minItems": 300}}}
CITY = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"]}
CURLS = [block for page in ("server.md", "deploy.md") for block in blocks(DOCS / page, "bash") if "curl" in block]
TOOL: Any = {"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": CITY}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("server")
    with serve(folder, "--memory", str(folder / "memory")) as running:
        yield running


@pytest.fixture(scope="module")
def sdk(server: Running) -> openai.OpenAI:
    return server.sdk()


def events(text: str) -> list[dict[str, Any]]:
    """The chunks of a stream's bytes."""
    *lines, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [json.loads(line.removeprefix("data: ")) for line in lines]


# ---- the SDK


def test_the_text_is_chatpads(sdk: openai.OpenAI) -> None:
    expected = ChatPAD(model="pad-demo").invoke(QUESTION)
    said = sdk.chat.completions.create(model="pad-demo", messages=ASKED)
    assert said.choices[0].message.content == expected.text
    assert said.choices[0].finish_reason == "stop"
    assert said.usage is not None
    assert expected.usage_metadata is not None
    assert (said.usage.prompt_tokens, said.usage.completion_tokens) == (
        expected.usage_metadata["input_tokens"],
        expected.usage_metadata["output_tokens"],
    )


def test_a_stream_joins_to_the_answer(sdk: openai.OpenAI) -> None:
    said = sdk.chat.completions.create(model="pad-demo", messages=ASKED)
    with sdk.chat.completions.create(
        model="pad-demo", messages=ASKED, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, last = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said.choices[0].message.content
    assert (last.choices, last.usage) == ([], said.usage)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_the_bytes_of_a_stream(server: Running) -> None:
    said = {"model": "pad-demo", "messages": ASKED, "stream": True, "logprobs": True, "top_logprobs": 2}
    answer = server.http().post("/v1/chat/completions", json=said)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.headers["x-request-id"]
    chunks = events(answer.text)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    whole = server.http().post("/v1/chat/completions", json={**said, "stream": False}).json()
    ChatCompletion.model_validate(whole, strict=True)
    parts = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [one for part in parts if part["logprobs"] for one in part["logprobs"]["content"]] == (
        whole["choices"][0]["logprobs"]["content"]
    )


def test_rewards_are_chatpads(server: Running) -> None:
    asked = {"preference": WISH, "beta": 2.0}
    expected = ChatPAD(model="pad-demo").invoke(QUESTION, logprobs=True, **asked).response_metadata
    said = {"model": "pad-demo", "messages": ASKED, "logprobs": True, "pad": asked}
    found = server.http().post("/v1/chat/completions", json=said).json()
    entries = found["choices"][0]["logprobs"]["content"]
    rewards = [entry["reward"] for entry in expected["logprobs"]["content"]]
    assert [entry["reward"] for entry in entries] == pytest.approx(rewards[: len(entries)], abs=1e-4)
    assert len(rewards) - len(entries) == 1, "the token that ends the answer is none of its words"
    assert found["pad"]["mean_reward"] == pytest.approx(expected["pad"]["mean_reward"], abs=1e-4)


def test_tools_and_forms(sdk: openai.OpenAI) -> None:
    said = sdk.chat.completions.create(model="pad-demo", messages=ASKED, tools=[TOOL], tool_choice="required")
    assert said.choices[0].finish_reason == "tool_calls"
    (call,) = said.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert json.loads(call.function.arguments)["city"] in ("Rome", "Oslo")
    form: Any = {"type": "json_schema", "json_schema": {"name": "city", "schema": CITY}}
    said = sdk.chat.completions.create(model="pad-demo", messages=ASKED, response_format=form)
    assert json.loads(said.choices[0].message.content or "")["city"] in ("Rome", "Oslo")


def test_errors_are_the_sdks(server: Running, sdk: openai.OpenAI) -> None:
    create = sdk.chat.completions.create
    with pytest.raises(openai.NotFoundError, match="no model 'gpt-5'"):
        create(model="gpt-5", messages=ASKED)
    with pytest.raises(openai.BadRequestError, match="n has to be 1") as refused:
        create(model="pad-demo", messages=ASKED, n=2)
    assert (refused.value.code, refused.value.param) == ("unsupported_value", "n")
    with pytest.raises(openai.BadRequestError, match="context is") as refused:
        create(model="pad-demo", messages=[{"role": "user", "content": "lion " * 5_000}])
    assert refused.value.code == "context_length_exceeded"
    with pytest.raises(openai.AuthenticationError, match="missing, unknown or revoked"):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="pad-x").models.list()
    with pytest.raises(openai.PermissionDeniedError, match="names another"):
        create(model="pad-demo", messages=ASKED, user="bob")


# ---- LangChain


def test_langchains_client(server: Running) -> None:
    langchain_openai = pytest.importorskip("langchain_openai")
    llm = langchain_openai.ChatOpenAI(
        model="pad-demo", base_url=f"{server.url}/v1", api_key=server.keys["ada"], stream_usage=True
    )
    said = llm.invoke(QUESTION)
    assert said.text == ChatPAD(model="pad-demo").invoke(QUESTION).text
    assert said.response_metadata["id"].startswith("chatcmpl-")
    chunks = list(llm.stream(QUESTION))
    assert "".join(chunk.text for chunk in chunks) == said.text
    assert chunks[-1].usage_metadata == said.usage_metadata or any(
        chunk.usage_metadata == said.usage_metadata for chunk in chunks
    )
    called = llm.bind_tools([TOOL], tool_choice="required").invoke(QUESTION)
    assert called.tool_calls[0]["name"] == "weather"
    found = llm.with_structured_output({"title": "City", **CITY}, method="json_schema").invoke(QUESTION)
    assert found["city"] in ("Rome", "Oslo")


# ---- what users teach


def test_feedback_by_the_completions_id_changes_the_next_answers(server: Running) -> None:
    bob, http = server.sdk("bob"), server.http("bob")
    said = bob.chat.completions.create(model="pad-demo", messages=ASKED)
    critique = {"kind": "critique", "response_id": said.id, "text": "Too long. Be concise and brief."}
    told = http.post("/v1/feedback", json=critique)
    assert told.status_code == 201, told.text
    assert [one["key"] for one in told.json()["learned"]] == ["length:concise"]
    (known,) = http.get("/v1/preferences").json()["data"]
    assert known["key"] == "length:concise"
    steered = bob.chat.completions.create(model="pad-demo", messages=ASKED)
    assert [one["text"] for one in steered.pad["condition"]] == [WISH]  # type: ignore[attr-defined]
    assert steered.choices[0].message.content != said.choices[0].message.content
    for up in (True, False):
        thumb = {"kind": "thumb", "response_id": steered.id, "up": up, "id": "one"}
        assert http.post("/v1/feedback", json=thumb).status_code == 201
    assert http.get("/v1/preferences", params={"query": QUESTION}).json()["data"][0]["key"] == "length:concise"
    foreign = server.http("cleo").post("/v1/feedback", json={"kind": "thumb", "response_id": said.id, "up": True})
    assert (foreign.status_code, foreign.json()["error"]["code"]) == (404, "unknown_response")
    assert http.delete(f"/v1/feedback/{told.json()['id']}").status_code == 200
    assert http.delete("/v1/me").json()["rows"] > 0
    assert http.get("/v1/preferences").json()["data"] == []


def test_two_answers_are_compared(server: Running) -> None:
    http = server.http("cleo")
    found = http.post("/v1/comparisons", json={"messages": ASKED}).json()
    assert found["first"]["text"] != found["second"]["text"]
    assert http.post("/v1/feedback", json={"kind": "statement", "text": f"call me {NAME}"}).status_code == 201
    choice = {"kind": "choice", "chosen_id": found["first"]["id"], "rejected_id": found["second"]["id"]}
    assert http.post("/v1/feedback", json=choice).status_code == 201


# ---- who leaves, and how many come


@pytest.mark.parametrize("streamed", [False, True])
def test_who_leaves_frees_the_row(server: Running, streamed: bool) -> None:
    said = {"model": "pad-demo", "messages": ASKED, "stream": streamed, "response_format": LONG, "max_tokens": 2_000}
    client = server.http()
    with client.stream("POST", "/v1/chat/completions", json=said) if streamed else _asking(server, said):
        until(lambda: server.running() == 1)
    until(lambda: server.running() == 0)


@contextmanager
def _asking(server: Running, said: Any) -> Iterator[None]:
    """Ask for a whole answer, and leave at the end of the block."""
    body = json.dumps(said).encode()
    host, _, port = server.url.removeprefix("http://").partition(":")
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {server.keys['ada']}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection((host, int(port))) as asking:
        asking.sendall(head.encode() + body)
        yield


def test_a_full_queue_says_so_and_the_sdk_comes_again(server: Running) -> None:
    def ask(retries: int) -> Any:
        try:
            with server.sdk("dan", max_retries=retries) as client:
                return client.chat.completions.create(model="pad-demo", messages=ASKED).choices[0].finish_reason
        except openai.RateLimitError as error:
            return error

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(ask, [0] * 12))
        refused = [error for error in found if isinstance(error, openai.RateLimitError)]
        assert 1 <= len(refused) < 12
        assert {error.code for error in refused} == {"queue_full"}
        assert {error.response.headers["retry-after"] for error in refused} == {"1"}
        assert list(pool.map(ask, [10] * 12)) == ["stop"] * 12


# ---- the end


def test_a_stream_ends_well_after_the_signal(tmp_path: Path) -> None:
    with serve(tmp_path, "--memory", "none") as server:
        said = {"model": "pad-demo", "messages": ASKED, "stream": True, "response_format": LONG, "max_tokens": 200}
        with server.http().stream("POST", "/v1/chat/completions", json=said) as answer:
            parts = answer.iter_text()
            text = next(parts)
            server.process.send_signal(signal.SIGTERM)
            text += "".join(parts)
        assert events(text)[-1]["choices"][0]["finish_reason"] in ("length", "stop")
        server.process.wait(30)
        assert "Traceback" not in server.log.read_text()


# ---- the page in docs/


@pytest.mark.parametrize("snippet", blocks(DOCS / "server.md", "python"))
def test_snippets_of_the_page_run(server: Running, snippet: str, tmp_path: Path) -> None:
    for module in ("langchain_openai", "llama_index.llms.openai_like"):
        if module in snippet:
            pytest.importorskip(module)
    here = snippet.replace("http://127.0.0.1:8700", server.url)
    done = run_program(here, cwd=tmp_path, env={**os.environ, "PAD_KEY": server.keys["ada"]})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() or "print(" not in snippet


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
@pytest.mark.parametrize("snippet", CURLS)
def test_commands_of_the_pages_run(server: Running, snippet: str, tmp_path: Path) -> None:
    here = snippet.replace("http://127.0.0.1:8700", server.url).replace("curl ", "curl -sS --fail-with-body ")
    environment = {**os.environ, "PAD_KEY": server.keys["ada"], "PAD_ADMIN_KEY": server.keys["admin"]}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", here],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()


# ---- the last of this server's tests: what it wrote


def test_the_log_has_no_key_no_prompt_and_no_preference(server: Running) -> None:
    log = server.log.read_text()
    assert "POST /v1/chat/completions 200" in log
    assert "Traceback" not in log
    for word in (*server.keys.values(), QUESTION, "lion", WISH, NAME):
        assert word not in log
