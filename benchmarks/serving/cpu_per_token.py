"""What serving adds to the engine: CPU time for a token, and what others do to the next request.

    python benchmarks/serving/cpu_per_token.py

1  CPU time of the server's process for a token ÷ that of a process which has `Chat` alone, for the same requests; the
   two are measured by turns, and the median of the pairs' ratios is shown. Beside it the process ÷ its own busiest
   thread, the engine's: with one thread of computing, what is left is what serving takes, and other times or company
   of the rows are not in it
2  time to the first token of one more request while others stream
3  time until a client that leaves has given its row, or its place in the queue, free: as others see it in /metrics
4  time of a small answer while eight bodies of a megabyte are read, which are refused as too long

All on this machine, clients included, so 2 to 4 are upper bounds where cores are few.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.cli.options import quiet_libraries
from pad_langchain.server.keys import Keys

WISH = "be concise and brief"
THINGS = "a lion,copper,Japan,the moon,a violin,bread,an island,chess".split(",")
LARGE = 8  # bodies at once
PARTS = ("cpu", "first", "large", "leaving")
LONG = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array", "minItems": 300}}}


def question(number: int) -> str:
    """What stream `number` asks."""
    return f"Tell me about {THINGS[number % len(THINGS)]}."


Spent = tuple[float, float]  # CPU and wall-clock seconds for a token


def bare(model: str, streams: int, rounds: int, tokens: int, engine: dict[str, Any]) -> Spent:
    """What a token of `Chat` takes in this process."""
    quiet_libraries()
    chat = Chat.of(model, ChatSettings(engine_settings=engine))

    def ask() -> int:
        options = CallOptions(user_id=None, preference=WISH, max_tokens=tokens, temperature=0.0)
        turns = [chat.submit([{"role": "user", "content": question(n)}], options) for n in range(streams)]
        return sum(turn.result().usage.completion_tokens for turn in turns)  # type: ignore[union-attr]

    ask()
    before, begun = time.process_time(), time.perf_counter()
    written = sum(ask() for _ in range(rounds))
    used, taken = time.process_time() - before, time.perf_counter() - begun
    chat.engine.close()
    return used / written, taken / written


@dataclass
class Server:
    """A server's process, and a client of it."""

    process: subprocess.Popen[str]
    client: httpx.AsyncClient
    admin: httpx.AsyncClient
    model: str
    tokens: int
    asks: Callable[[int], str] = question

    def body(self, number: int, **more: Any) -> dict[str, Any]:
        asked = [{"role": "user", "content": self.asks(number)}]
        said = {"model": self.model, "messages": asked, "max_tokens": self.tokens, "temperature": 0.0}
        return {**said, "pad": {"preference": WISH}, **more}

    async def stream(self, number: int) -> tuple[float, int]:
        """Seconds to the first text of a stream, and its tokens."""
        begun, first, written = time.perf_counter(), None, 0
        body = self.body(number, stream=True, stream_options={"include_usage": True})
        async with self.client.stream("POST", "/v1/chat/completions", json=body) as answer:
            answer.raise_for_status()
            async for line in answer.aiter_lines():
                if not line.startswith("data: {"):
                    continue
                chunk = json.loads(line.removeprefix("data: "))
                if first is None and chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                    first = time.perf_counter() - begun
                if chunk["usage"]:
                    written = chunk["usage"]["completion_tokens"]
        return first if first is not None else time.perf_counter() - begun, written

    async def gauge(self, name: str) -> float:
        """What /metrics says of `pad_requests_NAME` now."""
        text = (await self.admin.get("/metrics")).text
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"pad_requests_{name} "))

    async def until(self, name: str, value: float) -> float:
        """Seconds until a gauge has a value."""
        begun = time.perf_counter()
        while await self.gauge(name) != value:
            if time.perf_counter() - begun > 120:
                raise TimeoutError(f"pad_requests_{name} did not become {value:g}.")
            await asyncio.sleep(0.005)
        return time.perf_counter() - begun


@contextmanager
def served(model: str, tokens: int, engine: dict[str, Any]) -> Iterator[Server]:
    """A server on a free port, without a memory, until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.json"
        keys = [Keys(file).create("user", user="ada")[1], Keys(file).create("admin")[1]]
        command = [sys.executable, "-m", "pad_langchain", "serve", "--model", model, "--port", "0"]
        command += ["--keys", str(file), "--memory", "none", "--engine-settings", json.dumps(engine)]
        environment = {**os.environ, "PAD_SERVER_MAX_BODY_BYTES": str(1 << 24)}
        with open(Path(folder) / "log", "wb") as log:
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment)
        try:
            assert process.stdout is not None
            said = next((line for line in process.stdout if "/v1 answers" in line), None)
            if said is None:
                raise SystemExit((Path(folder) / "log").read_text())
            clients = [_client(said.partition("/v1")[0], key) for key in keys]
            yield Server(process, clients[0], clients[1], model, tokens)
        finally:
            process.kill()
            process.communicate()


def _client(url: str, key: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=600, limits=limits)


async def cpu(server: Server, streams: int, rounds: int) -> tuple[Spent, float]:
    """What a token takes in the server's process, and the process's CPU time ÷ that of its busiest thread."""

    async def ask() -> int:
        return sum(written for _, written in await asyncio.gather(*(server.stream(n) for n in range(streams))))

    await ask()
    process = psutil.Process(server.process.pid)
    before, begun = by_thread(process), time.perf_counter()
    written = sum([await ask() for _ in range(rounds)])
    taken = time.perf_counter() - begun
    used = [seconds - before.get(thread, 0.0) for thread, seconds in by_thread(process).items()]
    return (sum(used) / written, taken / written), sum(used) / max(used)


def by_thread(process: psutil.Process) -> dict[int, float]:
    """CPU seconds of each thread."""
    return {thread.id: thread.user_time + thread.system_time for thread in process.threads()}


async def first_tokens(server: Server, others: int, samples: int) -> float:
    """Median seconds to the first token of one more request while others stream, one answer after another."""
    ends = asyncio.Event()

    async def go_on(number: int) -> None:
        while not ends.is_set():
            await server.stream(number)

    going = [asyncio.ensure_future(go_on(number)) for number in range(others)]
    await server.until("running", others)
    taken = [(await server.stream(others + sample))[0] for sample in range(samples)]
    ends.set()
    await asyncio.gather(*going)
    return statistics.median(taken)


async def leaving(server: Server) -> dict[str, float]:
    """Seconds until the row or the place of a client that left is free; the server's batch has one row."""
    body = server.body(0, response_format=LONG, max_tokens=None)
    seconds = {}

    async def streamed() -> None:
        said = {**body, "stream": True}
        async with (
            server.client.stream("POST", "/v1/chat/completions", json=said) as answer,
            aclosing(answer.aiter_lines()) as lines,
        ):
            async for _ in lines:
                await asyncio.Event().wait()

    async def leave(call: asyncio.Future[Any], gauge: str) -> float:
        await server.until(gauge, 1)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        return await server.until(gauge, 0)

    def plain() -> asyncio.Future[Any]:
        return asyncio.ensure_future(server.client.post("/v1/chat/completions", json=body))

    seconds["streamed"] = await leave(asyncio.ensure_future(streamed()), "running")
    seconds["plain"] = await leave(plain(), "running")
    holds = plain()
    await server.until("running", 1)
    seconds["queued"] = await leave(plain(), "waiting")
    await leave(holds, "running")
    return seconds


async def large_bodies(server: Server, size: int) -> tuple[float, float]:
    """Seconds of a small answer: the median alone, and the longest of five while large bodies are read."""

    async def small() -> float:
        begun = time.perf_counter()
        (await server.client.post("/v1/chat/completions", json=server.body(0, max_tokens=4))).raise_for_status()
        return time.perf_counter() - begun

    text = "a lion " * (size // 7)
    body = server.body(0, messages=[{"role": "user", "content": text}])
    await small()
    alone = statistics.median([await small() for _ in range(5)])
    calls = [asyncio.ensure_future(server.client.post("/v1/chat/completions", json=body)) for _ in range(LARGE)]
    await asyncio.sleep(0.2)  # they are on their way
    beside = max([await small() for _ in range(5)])
    refused = [(await call).status_code for call in calls]
    if refused != [400] * LARGE:
        raise SystemExit(f"The large bodies were answered by {refused}, not refused as too long.")
    return alone, beside


def measured(options: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The rows of the table: what, and how much."""
    engine = {"max_batch": max(*options.streams, *options.others) + 2, "max_queue": 64, **options.engine}
    parts = set(options.parts)
    with served(options.model, options.tokens, engine) as server, asyncio.Runner() as runner:
        for streams in options.streams if "cpu" in parts else ():
            pairs, shares = list[tuple[Spent, Spent]](), list[float]()
            for _ in range(options.pairs):
                spent, share = runner.run(cpu(server, streams, options.rounds))
                pairs.append((spent, _bare_elsewhere(options, streams, engine)))
                shares.append(share)
            for place, what in enumerate(("CPU", "wall clock")):
                ratios = [mine[place] / own[place] for mine, own in pairs]
                mine, own = (1e6 * statistics.median(one[place] for one in side) for side in zip(*pairs, strict=True))
                told = f"{_spread(ratios)}, {mine:,.0f} and {own:,.0f} µs"
                yield f"{what} for a token, {streams} streams: server ÷ engine", told
            yield f"CPU, {streams} streams: server's process ÷ its engine's thread", _spread(shares)
        for others in options.others if "first" in parts else ():
            seconds = runner.run(first_tokens(server, others, options.samples))
            yield f"first token while {others} stream, p50", f"{seconds * 1000:,.0f} ms"
        if "large" in parts:
            alone, beside = runner.run(large_bodies(server, options.bytes))
            yield f"small answer, alone and beside {LARGE} large bodies", f"{alone:.2f} and {beside:.2f} s"
        runner.run(_close(server))
    if "leaving" not in parts:
        return
    with served(options.model, options.tokens, {**engine, "max_batch": 1}) as server, asyncio.Runner() as runner:
        for what, seconds in runner.run(leaving(server)).items():
            yield f"free again after a client left, {what}", f"{seconds * 1000:,.0f} ms"
        runner.run(_close(server))


def _spread(ratios: Sequence[float]) -> str:
    """The median, and the least and the most."""
    return f"{statistics.median(ratios):.3f} ({min(ratios):.3f}–{max(ratios):.3f})"


async def _close(server: Server) -> None:
    await server.client.aclose()
    await server.admin.aclose()


def _bare_elsewhere(options: argparse.Namespace, streams: int, engine: dict[str, Any]) -> Spent:
    command = [sys.executable, __file__, "--bare", str(streams), "--engine", json.dumps(engine)]
    command += ["--model", options.model, "--rounds", str(options.rounds), "--tokens", str(options.tokens)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    used, taken = map(float, done.stdout.split()[-2:])
    return used, taken


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="pad-demo", help="pad-demo, smollm2-135m, or any other")
    parser.add_argument("--streams", type=int, nargs="+", default=[8, 32], help="for the CPU time")
    parser.add_argument("--others", type=int, nargs="+", default=[1, 31], help="that stream beside one more request")
    parser.add_argument("--rounds", type=int, default=8, help="answers of each stream")
    parser.add_argument("--pairs", type=int, default=3, help="server and engine by turns, for the CPU time")
    parser.add_argument("--tokens", type=int, default=64, help="of an answer at most")
    parser.add_argument("--samples", type=int, default=21, help="first tokens, of which the median is shown")
    parser.add_argument("--bytes", type=int, default=1 << 20, help="of a large body")
    parser.add_argument("--engine", type=json.loads, default={}, help="settings of the engine, as JSON")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="of the table")
    parser.add_argument("--bare", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def main() -> None:
    options = parsed()
    if options.bare:
        print(*bare(options.model, options.bare, options.rounds, options.tokens, options.engine))
        return
    table = Table(
        "what",
        "figure",
        title=f"{options.model}, answers up to {options.tokens} tokens, large bodies of {options.bytes:,} bytes",
    )
    for row in measured(options):
        table.add_row(*row)
    console = Console()
    console.width = max(console.width, 110)  # a row is a line, also in a file
    console.print(table)


if __name__ == "__main__":
    main()
