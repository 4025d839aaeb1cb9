"""Is a memory whole after its process was killed? A writer is killed with SIGKILL, then its folder is opened again.

    python benchmarks/memory/crash.py --trials 200 --aimed 50

The writer acknowledges each event it recorded. Most trials kill it after a random time; the aimed ones kill it the
moment an index file changes, which Chroma does in place once in a hundred rows. Every opening runs in a process of its
own, so that a crash of Chroma is seen; it has to find every acknowledged event and a readable vector for each wish.
Both processes are forked from one that has imported everything but opened nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NoReturn

import chromadb  # noqa: F401  imported before the forks
import numpy as np

from pad_memory import PreferenceMemory, Statement, Values
from pad_memory.language.reader import Reading
from pad_memory.values.rules import rules

USERS = 2  # few, so that their shards are saved often
FORK = multiprocessing.get_context("fork")
PATIENCE = 300.0  # seconds until an opening counts as hung


class HashEmbedder:
    """One fixed random unit vector a text, float32 [N, 32]."""

    name = "hash"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        rows_NE = np.array([np.random.default_rng(seed).normal(size=32) for seed in seeds]).reshape(-1, 32)
        return (rows_NE / np.linalg.norm(rows_NE, axis=1, keepdims=True)).astype(np.float32)


class Verbatim:
    """Takes every word for a wish of the user's own, at once."""

    def read(self, text: str, *, keep_rest: bool = True) -> Sequence[Reading]:
        return [Reading(text, None)]


def opened(folder: Path) -> PreferenceMemory:
    return PreferenceMemory(folder, embedder=HashEmbedder(), reader=Verbatim(), values=Values(classifier=False))


def write(folder: Path, pipe: int) -> NoReturn:
    """Record wishes for ever, and tell the pipe each one's user and id once it is recorded."""
    with opened(folder) as memory:
        number = sum(len(memory.events(f"user {user}")) for user in range(USERS))
        while True:
            user = f"user {number % USERS}"
            id = memory.record(user, Statement(f"mention thing {number}", id=f"event {number}"))
            os.write(pipe, f"{user}\t{id}\n".encode())
            number += 1


def check(folder: Path, acknowledged: set[str], pipe: int) -> None:
    """Tell the pipe whatever is missing: an acknowledged event, a wish's row or vector."""
    missing = []
    with opened(folder) as memory:
        have = {f"{user}\t{event.id}" for user in memory.users() for event in memory.events(user)}
        missing += [f"lost {sorted(acknowledged - have)}"] if acknowledged - have else []
        for user in memory.users():
            wishes = {item.text for item in memory.profile(user).preferences}
            items = memory.condition(user, budget=len(wishes)).items  # a wish without its row does not steer
            steer = {item.text: item.embedding for item in items}
            missing += [f"{user} has no row for {sorted(wishes - set(steer))}"] if wishes - set(steer) else []
            if not np.array_equal([*steer.values()], HashEmbedder().embed([*steer])):
                missing.append(f"a vector of {user} is wrong")
        missing += ["vectors were missing"] if memory.repair().rebuilt else []
    os.write(pipe, "; ".join(missing).encode())


def forked(work: Callable[[int], object]) -> tuple[BaseProcess, int]:
    """Do something with the writing end of a pipe in a process of its own; return it and the reading end."""
    reading, writing = os.pipe()
    process = FORK.Process(target=_apart, args=(work, reading, writing))
    process.start()
    os.close(writing)
    return process, reading


def _apart(work: Callable[[int], object], reading: int, writing: int) -> None:
    os.close(reading)
    work(writing)


def read_to_end(pipe: int) -> str:
    with os.fdopen(pipe) as stream:
        return stream.read()


def changed(folder: Path, since: int) -> bool:
    """Whether an index file was written to after `since` (ns)."""
    with suppress(FileNotFoundError):
        return any(path.stat().st_mtime_ns > since for path in folder.glob("*/*.bin"))
    return False


def trial(folder: Path, acknowledged: set[str], aimed: bool, rng: random.Random) -> str:
    """Kill one writer and open the folder again; return what came of it."""
    writer, pipe = forked(lambda pipe: write(folder, pipe))
    start = os.read(pipe, 1 << 16).decode()  # it is up
    since, patience = time.time_ns(), time.monotonic() + PATIENCE
    if aimed:
        while not changed(folder, since) and time.monotonic() < patience:
            time.sleep(0.0001)
        time.sleep(rng.choice([0, 0, 0.0002, 0.0005]))
    else:
        time.sleep(rng.uniform(0, 1.5))
    writer.kill()
    writer.join()
    acknowledged.update(line for line in (start + read_to_end(pipe)).split("\n")[:-1])
    torn = (folder / "writing").exists()
    reader, pipe = forked(lambda pipe: check(folder, acknowledged, pipe))
    reader.join(PATIENCE)
    if reader.is_alive():
        reader.kill()
        reader.join()
        return "HUNG"
    said = read_to_end(pipe)
    if reader.exitcode or said:
        return f"BROKEN ({reader.exitcode}): {said[-300:]}"
    return "amid a write to Chroma, whole" if torn else "between writes to Chroma, whole"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--aimed", type=int, default=50, help="of them, killed while an index is being saved")
    options = parser.parse_args()
    rules()  # compiled before the forks
    rng, found = random.Random(0), Counter[str]()
    start, events = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(options.trials):
            if number % 20 == 0:  # a fresh store now and then
                folder, acknowledged = Path(temporary) / f"memory {number}", set[str]()
            before = len(acknowledged)
            found[trial(folder, acknowledged, number < options.aimed, rng)] += 1
            events += len(acknowledged) - before
            print(f"\r{number + 1} of {options.trials}", end="", flush=True)
    print(f"\n{events:,} acknowledged events, {time.monotonic() - start:.0f} s")
    for outcome, count in found.most_common():
        print(f"{count:>5}  {outcome}")
    if any(outcome.startswith(("HUNG", "BROKEN")) for outcome in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
