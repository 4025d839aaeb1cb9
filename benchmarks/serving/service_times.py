"""What each part of serving takes on this machine, for `simulate.py`: steps, prompts, conditions, gates, and HTTP.

    python benchmarks/serving/service_times.py --output benchmarks/results/service-times.json

1  the engine in this process: milliseconds of a step by how many rows write, and of a prompt's token
2  the memory on a Chroma server: a user's condition and a new event, as the client waits and as CPU time of Chroma's
   process; bytes on its disk for an event; what a head makes of four wishes
3  a server's process: CPU time beside its engine's thread; and how 8 and 32 clients fare that ask again at once, which
   is what the simulation has to predict and does not read

The engine computes on one thread: HTTP and the clients have the other core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from cpu_per_token import Server, by_thread, question, served

from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.cli.options import quiet_libraries
from pad_langchain.engine.llama_cpp.sequences import BESIDE
from pad_langchain.engine.types import Request, WeightedPreference

WISHES = ["be concise and brief", "use simple everyday words", "warm and friendly", "numbered steps"]
LONG = "give long and detailed answers"  # so that all of a batch write together for a while
WIDTHS = (1, 2, 4, 8, 16, 32)
STREAMS = (8, 32)


def asked(number: int) -> str:
    """A question whose prompt nobody else has from its first word on."""
    return f"{number} people ask: {question(number)} They live in town {number * 7}, like walks and have little time."


def engine(model: str, tokens: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of steps by their rows and of a prompt's token: medians over batches of each width."""
    chat = Chat.of(model, ChatSettings(engine_settings={"threads": 1, "max_batch": max(WIDTHS), "prefix_tokens": 0}))
    options = CallOptions(user_id=None, preference=LONG, max_tokens=tokens, temperature=0.0)
    seen: list[tuple[float, int, int]] = []  # when, rows, tokens of prompts so far

    def note(report: Any) -> None:
        seen.append((time.perf_counter(), len(report.requests), chat.engine.stats.prefilled_tokens))

    def ask(width: int, first: int) -> None:
        turns = [chat.submit([{"role": "user", "content": asked(first + number)}], options) for number in range(width)]
        for turn in turns:
            turn.result()

    ask(2, 10**6)
    steps, number = defaultdict[int, list[float]](list), 0
    read = list[float]()  # tokens of a prompt that others had not read
    chat.engine.watch(note)
    for _ in range(rounds):
        for width in WIDTHS:
            seen.clear()
            begun = chat.engine.stats.prefilled_tokens
            ask(width, number)
            number += width
            read.append((chat.engine.stats.prefilled_tokens - begun) / width)
            for before, after in pairwise(seen):
                if before[2] == after[2]:  # no part of a prompt: as many wrote as there were rows
                    steps[after[1]].append(1e3 * (after[0] - before[0]))
    chat.engine.watch(None)
    each = statistics.median(one_prompt(chat, options, number + place) for place in range(10))
    chat.engine.close()
    by_width = {str(rows): statistics.median(took) for rows, took in sorted(steps.items()) if len(took) >= 5}
    return {
        "step_ms": by_width,
        "prompt_token_ms": each,
        "prompt_tokens": min(read),
        "beside": BESIDE,
        "max_batch": max(WIDTHS),
    }


def one_prompt(chat: Chat, options: CallOptions, number: int) -> float:
    """Milliseconds of a prompt's token: the first answer token of a prompt that nobody knows, all but the last step."""
    first = replace(options, max_tokens=1)
    begun, read = time.perf_counter(), chat.engine.stats.prefilled_tokens
    chat.submit([{"role": "user", "content": asked(number)}], first).result()
    return 1e3 * (time.perf_counter() - begun) / (chat.engine.stats.prefilled_tokens - read)


def memory(repeats: int) -> dict[str, float]:
    """What a user of 200 events costs over a Chroma server. No time of an embedder or a PersRM is in it."""
    script = Path(__file__).parents[1] / "memory" / "over_url.py"
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "costs.json"
        subprocess.run([sys.executable, script, "--costs", file, "--repeats", str(repeats)], check=True)
        told: dict[str, float] = json.loads(file.read_text())
    return told


def gate(model: str, repeats: int) -> float:
    """Milliseconds in which a head plans a request of four wishes, whose embeddings are at hand."""
    chat = Chat.of(model, ChatSettings())
    guide = chat.engine.guide  # type: ignore[attr-defined]
    vectors = guide.embedder.embed(WISHES)
    wishes = tuple(
        WeightedPreference(text, 1.0, embedding=np.asarray(vector, np.float32))
        for text, vector in zip(WISHES, vectors, strict=True)
    )
    request = Request(messages=[{"role": "user", "content": "Hello"}], preferences=wishes)
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        guide.plan(request)
        times.append(time.perf_counter() - begun)
    chat.engine.close()
    return 1e3 * statistics.median(times)


async def streams(server: Server, count: int, seconds: float) -> dict[str, Any]:
    """What clients see that ask again as soon as they are answered: milliseconds, 50 and 95 of 100."""
    first, whole, written, number = list[float](), list[float](), list[int](), iter(range(10**6))
    process = psutil.Process(server.process.pid)
    warm, ends = time.perf_counter() + seconds / 4, time.perf_counter() + seconds

    async def client() -> None:
        while (begun := time.perf_counter()) < ends:
            token, tokens = await server.stream(next(number))
            if begun >= warm:
                first.append(1e3 * token)
                whole.append(1e3 * (time.perf_counter() - begun))
                written.append(tokens)

    before = by_thread(process)
    await asyncio.gather(*(client() for _ in range(count)))
    used = [spent - before.get(thread, 0.0) for thread, spent in by_thread(process).items()]
    return {
        "first_ms": [float(np.percentile(first, share)) for share in (50, 95)],
        "whole_ms": [float(np.percentile(whole, share)) for share in (50, 95)],
        "new_tokens": sorted(written),
        "beside_engine": sum(used) / max(used) - 1.0,
    }


def server(model: str, tokens: int, seconds: float) -> dict[str, Any]:
    """How clients of a server's process fare, and when one that is alone has its first token."""
    settings = {"threads": 1, "max_batch": max(STREAMS), "prefix_tokens": 0}
    with served(model, tokens, settings) as running, asyncio.Runner() as runner:
        running.asks = asked
        runner.run(running.stream(10**6))
        lone = statistics.median(1e3 * runner.run(running.stream(10**5 + number))[0] for number in range(10))
        measured = {str(count): runner.run(streams(running, count, seconds)) for count in STREAMS}
        runner.run(running.client.aclose())
        runner.run(running.admin.aclose())
    return {"lone_first_ms": lone, "measured": measured}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--tokens", type=int, default=48, help="of an answer at most")
    parser.add_argument("--rounds", type=int, default=3, help="batches of each width")
    parser.add_argument("--repeats", type=int, default=50, help="calls of the memory")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which clients ask")
    parser.add_argument("--output", type=Path, default=Path("service-times.json"))
    options = parser.parse_args(arguments)
    quiet_libraries()
    told = {
        "date": date.today().isoformat(),
        "machine": f"{psutil.cpu_count()} CPU cores, engine on one thread",
        "model": options.model,
        "new_tokens": options.tokens,
        "engine": engine(options.model, 2 * options.tokens, options.rounds),
        "memory": memory(options.repeats),
        "gate_ms": gate(options.model, options.repeats),
        **server(options.model, options.tokens, options.seconds),
    }
    options.output.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
