"""The own time of a server in front of vLLM: what `serve --engine-url` adds to a request.

    python benchmarks/serving/front.py

Four processes: this client; `pad-langchain serve` with the demo head; a Chroma server, which has the user's wishes with
their embeddings; and a stand-in for vLLM, which answers at once. The client asks the front, and by turns the stand-in
what the front asks it. The difference is the front's own time: key, memory, condition, template, gate, queue, text.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from pad_langchain.arithmetic.head_file import WEIGHTS_NAME, read_config
from pad_langchain.defaults import DEMO_MODEL, HEADS
from pad_langchain.server.keys import Keys
from pad_memory import PreferenceMemory, Statement

USER = "ada"
WISHES = ("be concise and brief", "use a formal tone", "give an example", "I am vegetarian")
TOKEN = 300  # what the stand-in writes
STARTS = 240.0  # seconds
WARM = 20  # requests before those that are measured


def stand_in(port: int) -> None:
    """Answer as a vLLM with our plugin does, and compute nothing."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    config = read_config(HEADS[DEMO_MODEL])
    mark = hashlib.sha256((HEADS[DEMO_MODEL] / WEIGHTS_NAME).read_bytes()).hexdigest()
    head = {"fingerprint": mark, "rank": config.rank, "gate_bound": 1e6}
    head |= {"vocab_size": config.vocab_size, "hidden_size": config.hidden_size}

    async def models(_: Request) -> Response:
        return JSONResponse({"data": [{"id": DEMO_MODEL, "max_model_len": 2048}]})

    async def info(_: Request) -> Response:
        return JSONResponse({"version": "0", "heads": {DEMO_MODEL: head}})

    async def complete(request: Request) -> Response:
        many = (await request.json())["max_tokens"]

        async def events() -> Any:
            for left in reversed(range(many)):
                choice = {"text": "", "token_ids": [TOKEN], "finish_reason": None if left else "length"}
                yield f"data: {json.dumps({'choices': [choice]})}\n\n"
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    routes = [
        Route("/v1/models", models),
        Route("/pad/info", info),
        Route("/v1/completions", complete, methods=["POST"]),
    ]
    uvicorn.run(Starlette(routes=routes), port=port, log_config=None, lifespan="off")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextlib.contextmanager
def running(command: Sequence[str], url: str, path: str) -> Iterator[psutil.Process]:
    """Run a process until the end of the block, which begins when it answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + STARTS
    try:
        while time.monotonic() < end and process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(url + path).status_code < 500:
                    yield psutil.Process(process.pid)
                    return
            time.sleep(0.1)
        raise SystemExit(f"{command[:4]} does not answer.")
    finally:
        process.terminate()
        process.wait()


def timed(client: httpx.Client, url: str, body: dict[str, Any]) -> float:
    """Milliseconds of one request."""
    begun = time.perf_counter()
    client.post(url, json=body).raise_for_status()
    return 1e3 * (time.perf_counter() - begun)


def cpu(process: psutil.Process) -> float:
    """Milliseconds of CPU that a process has taken."""
    taken = process.cpu_times()
    return 1e3 * (taken.user + taken.system)


def measure(front: str, vllm: str, key: str, requests: int, tokens: int, news: bool) -> list[tuple[float, float]]:
    """Milliseconds of requests to the front and, by turns, to the stand-in. With `news` each has another question."""

    def asked(number: int) -> dict[str, Any]:
        question = f"Tell me about lion {number}." if news else "Tell me about a lion."
        return {"model": DEMO_MODEL, "messages": [{"role": "user", "content": question}], "max_tokens": tokens}

    sent = {"model": DEMO_MODEL, "prompt": [1] * 40, "max_tokens": tokens, "vllm_xargs": {"pad_gate": [0.5] * 64}}
    with httpx.Client(headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        pairs = [
            (timed(client, f"{front}/v1/chat/completions", asked(n)), timed(client, f"{vllm}/v1/completions", sent))
            for n in range(requests + WARM)
        ]
    return pairs[WARM:]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--stand-in", type=int, help=argparse.SUPPRESS)
    said = parser.parse_args()
    if said.stand_in is not None:
        stand_in(said.stand_in)
        return
    table = Table(
        "tokens",
        "question",
        "front p50",
        "front p95",
        "stand-in p50",
        "own p50",
        "own p95",
        "front CPU, mean",
        title="milliseconds",
    )
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        vllm, chroma, front = (f"http://127.0.0.1:{free_port()}" for _ in range(3))
        port = {url: url.rpartition(":")[2] for url in (vllm, chroma, front)}
        chroma_command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(folder / "chroma")]
        stack.enter_context(running([sys.executable, __file__, "--stand-in", port[vllm]], vllm, "/v1/models"))
        stack.enter_context(running([*chroma_command, "--port", port[chroma]], chroma, "/api/v2/heartbeat"))
        with PreferenceMemory(url=chroma) as memory:
            for wish in WISHES:
                memory.record(USER, Statement(wish))
        keys = folder / "keys.json"
        _, key = Keys(keys).create("user", user=USER)
        command = [sys.executable, "-m", "pad_langchain", "serve", "--model", DEMO_MODEL, "--engine-url", vllm]
        command += ["--memory", chroma, "--keys", str(keys), "--port", port[front]]
        process = stack.enter_context(running(command, front, "/ready"))
        for tokens, news in ((1, False), (32, False), (1, True)):
            before = cpu(process)
            pairs = measure(front, vllm, key, said.requests, tokens, news)
            spent = (cpu(process) - before) / (said.requests + WARM)
            own = sorted(one - other for one, other in pairs)
            through, direct = (sorted(each) for each in zip(*pairs, strict=True))
            row = [statistics.median(through), through[int(0.95 * len(through))], statistics.median(direct)]
            row += [statistics.median(own), own[int(0.95 * len(own))], spent]
            table.add_row(str(tokens), "another each time" if news else "the same", *(f"{value:.1f}" for value in row))
    console = Console()
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
