"""A server: right requests are answered as offline, wrong ones with 400, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

STARTS_S = 400


@pytest.fixture(scope="module")
def told(expected: dict[str, Any]) -> dict[str, Any]:
    return expected["demo"]


@pytest.fixture(scope="module")
def client(told: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    processor = ("--logits-processors", "pad_vllm:PadProcessor")
    with (
        serving(told, tmp_path_factory.mktemp("server"), *processor) as url,
        httpx.Client(base_url=url, timeout=120) as client,
    ):
        yield client


@contextlib.contextmanager
def serving(told: dict[str, Any], folder: Path, *options: str) -> Iterator[str]:
    """A server process; its URL, once it is ready."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"dtype": "float32", "max-model-len": "512", "block-size": "32", "max-num-seqs": "16"}
    settings |= {"generation-config": "vllm", "structured-outputs-config": '{"backend": "guidance"}', "port": str(port)}
    words = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", told["base"], "--enforce-eager"]
    words += ["--host", "127.0.0.1", "--served-model-name", "base", *options]
    words += [word for name, value in settings.items() for word in (f"--{name}", value)]
    variables = {**os.environ, "PAD_PERSRM": told["persrm"], "VLLM_PLUGINS": "pad_vllm"}
    variables.pop("VLLM_ENABLE_V1_MULTIPROCESSING", None)
    log = folder / "server.log"
    with log.open("wb") as said:
        process = subprocess.Popen(words, env=variables, stdout=said, stderr=said)
        try:
            url, begun = f"http://127.0.0.1:{port}", time.monotonic()
            while not ready(url):
                if process.poll() is not None or time.monotonic() - begun > STARTS_S:
                    raise RuntimeError(f"The server did not start:\n{log.read_text(errors='replace')[-50000:]}")
                time.sleep(1)
            yield url
        finally:
            process.terminate()
            process.wait(60)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def body(told: dict[str, Any], case: dict[str, Any], **changes: Any) -> dict[str, Any]:
    more = {} if case["lark"] is None else {"structured_outputs": {"grammar": case["lark"]}}
    return {
        "model": "base",
        "prompt": case["prompt"],
        "max_tokens": case["max_tokens"],
        "temperature": 0,
        "return_token_ids": True,
        "stop_token_ids": told["ends"],
        "vllm_xargs": case["xargs"],
        **more,
        **changes,
    }


def answer(client: httpx.Client, told: dict[str, Any], case: dict[str, Any], **changes: Any) -> list[int]:
    replied = client.post("/v1/completions", json=body(told, case, **changes))
    assert replied.status_code == 200, replied.text
    return [token for token in replied.json()["choices"][0]["token_ids"] if token not in told["ends"]]


def test_a_client_learns_which_heads_there_are(client: httpx.Client, told: dict[str, Any]) -> None:
    info = client.get("/pad/info").json()
    weights = Path(told["persrm"]) / "persrm_head.safetensors"
    config = json.loads((Path(told["persrm"]) / "persrm_head.json").read_text())
    (head,) = info["heads"].values()
    assert head["fingerprint"] == sha256(weights.read_bytes()).hexdigest()
    assert head["rank"] == config["rank"]
    assert head["gate_bound"] > 1
    assert (head["hidden_size"], head["vocab_size"]) == (config["hidden_size"], config["vocab_size"])
    assert info["base"]["hidden_size"] == config["hidden_size"]
    if config.get("tokenizer"):
        assert info["base"]["tokenizer"] == config["tokenizer"]
    assert info["version"]


def test_requests_at_once_have_the_tokens_of_our_engine(client: httpx.Client, told: dict[str, Any]) -> None:
    cases = told["mixed"][:20] + told["grammar"][:4]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda case: answer(client, told, case), cases))
    assert found == [case["tokens"] for case in cases]


def test_a_stream_has_the_same_tokens(client: httpx.Client, told: dict[str, Any]) -> None:
    case = next(case for case in told["mixed"] if case["xargs"])
    tokens: list[int] = []
    with client.stream("POST", "/v1/completions", json=body(told, case, stream=True)) as replied:
        for line in replied.iter_lines():
            if line.startswith("data: {"):
                tokens += json.loads(line[6:])["choices"][0].get("token_ids") or []
    assert [token for token in tokens if token not in told["ends"]] == case["tokens"]


def test_wrong_gates_are_refused_while_others_are_answered(client: httpx.Client, told: dict[str, Any]) -> None:
    right = next(case for case in told["mixed"] if case["xargs"])
    gate = right["xargs"]["pad_gate"]
    wrong: list[dict[str, Any]] = [
        {"pad_gate": gate[:-1]},
        {"pad_gate": [*gate, 0.0]},
        {"pad_gate": []},
        {"pad_gate": "gate"},
        {"pad_gate": [*gate[:-1], "1"]},
        {"pad_gate": [*gate[:-1], 1e30]},
        {"pad_gate": [*gate[:-1], float("nan")]},
        {"pad_gate": [*gate[:-1], float("inf")]},
        {"pad_gate": gate, "pad_beta": "1"},
        {"pad_gate": gate, "pad_beta": 1e9},
        {"pad_gate": gate, "pad_alpha": 2},
        {"pad_gate": gate, "pad_top_k": 0},
        {"pad_gate": gate, "pad_top_k": 10**6},
        {"pad_gate": gate, "pad_head": "other"},
        {"pad_gate": gate, "pad_head": "../../etc"},
        {"pad_gate": {"values": gate}},
        {"pad_gaet": gate},
        {"pad_beta": 1.0},
    ]

    def refused(xargs: dict[str, Any]) -> tuple[int, str]:
        content = json.dumps(body(told, right, vllm_xargs=xargs))  # httpx itself refuses NaN
        replied = client.post("/v1/completions", content=content, headers={"Content-Type": "application/json"})
        return replied.status_code, replied.text

    with ThreadPoolExecutor(8) as pool:
        neighbours = [pool.submit(answer, client, told, case) for case in told["mixed"][:6]]
        replies = list(pool.map(refused, wrong * 3))
    assert [code for code, _ in replies] == [400] * len(replies), replies
    assert all("pad_" in text for _, text in replies)
    assert [each.result() for each in neighbours] == [case["tokens"] for case in told["mixed"][:6]]
    assert client.get("/health").status_code == 200
    assert answer(client, told, right) == right["tokens"]


def test_a_server_without_the_processor_does_not_start(told: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="--logits-processors pad_vllm:PadProcessor"), serving(told, tmp_path):
        pass
