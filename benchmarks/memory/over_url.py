"""What a memory on a Chroma server costs: times of one client, and what several writing processes lose or double.

    python benchmarks/memory/over_url.py
    python benchmarks/memory/over_url.py --costs costs.json       what a call takes of the client's and of Chroma's CPU

It starts `chroma run` on a temporary folder. One user has 200 events: half of them wishes in words, half choices. A
time is the median of `--repeats` calls. "Unchanged" means that nobody wrote since the last call. "Changed" means that
another client recorded one more, "replaced" that it restated one, so that all are read anew. Embeddings and rewards
come from hashes and the classifier of values is off: no model's time is in the figures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
import psutil

from pad_langchain.testing import HashEmbedder
from pad_memory import Choice, Feedback, PreferenceMemory, Statement, Values

EVENTS = 200
WISHES = ("short answers", "no jokes", "mention cats", "call me Sam", "use bullet points")
WRITER = "--write-as"


def scorer(prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
    """A fixed random reward for each preference, in nats."""
    seed = int.from_bytes(hashlib.sha256(response.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).normal(size=len(preferences))


def opened(url: str) -> PreferenceMemory:
    return PreferenceMemory(url=url, embedder=HashEmbedder(384), scorer=scorer, values=Values(classifier=False))


@contextmanager
def served() -> Iterator[tuple[str, psutil.Process]]:
    """Run a Chroma server on a temporary folder; yield its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", folder, "--port", str(port)]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while server.poll() is None:
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}", psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait()


def event(number: int) -> Feedback:
    if number % 2:
        return Statement(WISHES[number // 2 % len(WISHES)])
    return Choice(f"question {number}", f"one answer {number} " * 40, f"another answer {number} " * 40)


def milliseconds(call: Callable[[], object], repeats: int, before: Callable[[], object] = lambda: None) -> float:
    """The median wall time of a call; `before` each one something is done that does not count."""
    times = []
    for _ in range(repeats):
        before()
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000.0 * median(times)


def one_client(url: str, repeats: int) -> Iterator[tuple[str, float]]:
    with opened(url) as memory, opened(url) as other:
        for number in range(EVENTS - 1):
            memory.record("ada", event(number))
        last = memory.record("ada", Statement("be polite"))
        memory.condition("ada")
        yield "condition, unchanged", milliseconds(lambda: memory.condition("ada"), repeats)
        yield "profile, unchanged", milliseconds(lambda: memory.profile("ada"), repeats)
        renew = touch(other, last)
        yield "condition, replaced", milliseconds(lambda: memory.condition("ada"), repeats, renew)
        renew = add(other)
        yield "condition, changed", milliseconds(lambda: memory.condition("ada"), repeats, renew)
        yield "profile, changed", milliseconds(lambda: memory.profile("ada"), repeats, renew)
        yield "record, new user", milliseconds(lambda: memory.record("bob", Statement("no jokes")), min(repeats, 20))
        yield "record, 200 events", milliseconds(lambda: memory.record("ada", Statement("no jokes")), min(repeats, 20))


def costs(url: str, chroma: psutil.Process, repeats: int) -> dict[str, float]:
    """Milliseconds of a call as the client waits, and CPU milliseconds of Chroma's process for it."""
    with opened(url) as memory, opened(url) as other:
        for number in range(EVENTS - 1):
            memory.record("ada", event(number))
        memory.condition("ada")
        renew = add(other)
        told, alone = dict[str, float](), _cpu(chroma, renew, repeats)
        for name, call, before in (
            ("condition", lambda: memory.condition("ada"), None),
            ("changed", lambda: memory.condition("ada"), renew),
            ("record", lambda: memory.record("ada", Statement("no jokes")), None),
        ):
            told[f"{name}_ms"] = milliseconds(call, repeats, before or (lambda: None))
            both = (lambda call=call: (renew(), call())) if before else call
            told[f"{name}_chroma_ms"] = _cpu(chroma, both, repeats) - (alone if before else 0.0)
    return told


def _cpu(process: psutil.Process, call: Callable[[], object], repeats: int) -> float:
    """CPU milliseconds of another process for a call, in the mean: its clock has ticks of ten."""
    begun = sum(process.cpu_times()[:2])
    for _ in range(repeats):
        call()
    return 1e3 * (sum(process.cpu_times()[:2]) - begun) / repeats


def add(other: PreferenceMemory) -> Callable[[], object]:
    """What another client does before each call: it records one more event, of the kinds that there are already."""
    numbers = iter(range(EVENTS, 10**6))
    return lambda: other.record("ada", event(next(numbers)))


def touch(other: PreferenceMemory, last: str) -> Callable[[], object]:
    """What another client does before each call: it restates one event, so that there are no more than before."""
    versions = iter(range(10**6))
    return lambda: other.record("ada", Statement(f"be polite {next(versions)}", id=last))


def writers(url: str, processes: int, events: int) -> tuple[int, int, int, float]:
    """Return how many events are back, how many ids are doubled, how many sequence numbers repeat, and ms a record."""
    names = [f"writer {number}" for number in range(processes)]
    command = [sys.executable, __file__, "--url", url, "--events", str(events), WRITER]
    running = [subprocess.Popen([*command, name], stdout=subprocess.PIPE, text=True) for name in names]
    times = [float(process.communicate()[0]) for process in running]
    with opened(url) as memory:
        found = memory.export("all")["events"]
    ids = [item["event"]["id"] for item in found]
    numbers = [item["sequence"] for item in found]
    wanted = {f"{name} {number}" for name in names for number in range(events)}
    return len(wanted & set(ids)), len(ids) - len(set(ids)), len(numbers) - len(set(numbers)), median(times)


def write(url: str, name: str, events: int) -> None:
    with opened(url) as memory:
        numbers = iter(range(events))

        def record() -> None:
            memory.record("all", Statement("short answers", id=f"{name} {next(numbers)}"))

        print(milliseconds(record, events))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--events", type=int, default=200, help="of each writing process")
    parser.add_argument("--costs", type=Path, help="file of JSON to write them to, instead of all else")
    parser.add_argument("--url", help="a server that runs already")
    parser.add_argument(WRITER, metavar="NAME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write_as:
        write(given.url, given.write_as, given.events)
        return
    with served() as (own, chroma):
        url = given.url or own
        if given.costs:
            given.costs.write_text(json.dumps(costs(own, chroma, given.repeats)))
            return
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        for name, time_ms in one_client(url, given.repeats):
            print(f"{name:<24}{time_ms:8.1f} ms")
        back, doubled, repeated, time_ms = writers(url, given.processes, given.events)
        print(
            f"{given.processes} writers of {given.events} events: {back} back, {doubled} doubled, {time_ms:.0f} ms each"
        )
        print(f"sequence numbers that repeat: {repeated}")
        print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
