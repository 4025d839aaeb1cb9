"""Does anybody ever see a row of somebody else's? Random calls with hostile ids from threads and from asyncio.

    python benchmarks/memory/apart.py --operations 100000

Every text a user records holds their number, and what any call returns for them is searched for other numbers. Ids are
patterns, empty, Unicode, 10 kB long, and event ids are other users'. Ids outside what is allowed must be refused. Every
10,000 operations there is a fresh memory: in one, histories would grow so long that folding them took most of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from pad_memory import PreferenceMemory, Statement, Values
from pad_memory.errors import InvalidEventError, InvalidUserError

IDS = [*"*%_?.", "", " ", "\n", "ada", "ADA", "ada ", " ada", "a\u0301da", "áda", "ádа", "$ne", '{"$ne": ""}', "[]"]
IDS += ["' OR 1=1 --", "../ada", "\x00", "ada\x00", "😀", "👩‍👩‍👧", "\ud800", "ı", "i", "İ", "ﬁ", "fi", "user", "owner"]
IDS += ["x" * 10_240, "x" * 1024, "x" * 1023, "é" * 512, "null", "None", "0", "-1", "pad-memory", "pad-memory-00"]
EVENTS = ["*", "%", "1", "event", "a" * 64, "' OR 1=1"]  # shared by all users
THREADS = 8
ROUND = 10_000  # operations in one memory


class HashEmbedder:
    """One fixed random unit vector a text, float32 [N, 16]."""

    name = "hash"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        return np.stack([_vector(text) for text in texts])


@cache
def _vector(text: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    vector_E = np.random.default_rng(seed).normal(size=16)
    return (vector_E / np.linalg.norm(vector_E)).astype(np.float32)


def foreign(number: int, found: object) -> int:
    """Count the marks of other users in what a call returned."""
    return sum(int(mark) != number for mark in re.findall(r"secret (\d+)\b", repr(found)))


def operate(memory: PreferenceMemory, number: int, rng: random.Random) -> tuple[str, int]:
    """Do one random thing as one user; return what came of it and the foreign rows seen."""
    user, event = IDS[number], rng.choice(EVENTS)
    name = rng.choices(
        ["record", "events", "condition", "profile", "export", "import_", "forget event", "forget"],
        [30, 20, 20, 15, 8, 4.5, 2, 0.5],
    )[0]
    try:
        if name == "record":
            words = f"mention secret {number} thing {rng.randrange(5)}"
            found: object = memory.record(user, Statement(words, id=rng.choice([None, event])))
        elif name == "condition":
            found = memory.condition(user, query=f"thing {rng.randrange(5)}", budget=2)
        elif name == "import_":
            found = memory.import_(json.loads(json.dumps(memory.export(user))))
        elif name == "forget event":
            found = memory.forget(user, event)
        else:
            found = getattr(memory, name)(user)
    except InvalidUserError:
        return "refused", 0
    except InvalidEventError:
        return "no such event", 0
    return name, foreign(number, found)


async def operate_async(memory: PreferenceMemory, number: int, rng: random.Random) -> int:
    """The same through `aio`, eight at a time."""
    user = IDS[number]
    try:
        found = await asyncio.gather(
            *(memory.aio.record(user, Statement(f"mention secret {number} thing {thing}")) for thing in range(2)),
            *(memory.aio.condition(user, f"thing {thing}", budget=2) for thing in range(3)),
            memory.aio.events(user),
            memory.aio.profile(user),
            memory.aio.export(user),
        )
    except InvalidUserError:
        return 0
    if rng.random() < 0.2:
        await memory.aio.forget(user)
    return foreign(number, found)


def run(memory: PreferenceMemory, operations: int, seed: int = 0) -> tuple[Counter[str], int]:
    """Return how often each thing was done, and the number of foreign rows seen.

    Args:
        memory: an empty one.
        operations: nine in ten of them from 8 threads, one in ten through asyncio, eight together.
        seed: of what is drawn.
    """

    def work(thread: int) -> tuple[Counter[str], int]:
        rng, done, bad = random.Random(f"{seed} {thread}"), Counter[str](), 0
        for _ in range(operations * 9 // 10 // THREADS):
            outcome, count = operate(memory, rng.randrange(len(IDS)), rng)
            done[outcome] += 1
            bad += count
        return done, bad

    done, bad = Counter[str](), 0
    with ThreadPoolExecutor(THREADS) as pool:
        for some, count in pool.map(work, range(THREADS)):
            done += some
            bad += count
    rng = random.Random(seed)

    async def all_async() -> int:
        numbers = [rng.randrange(len(IDS)) for _ in range(max(1, operations // 80))]
        return sum([await operate_async(memory, number, rng) for number in numbers])

    bad += asyncio.run(all_async())
    done["asyncio"] = 8 * max(1, operations // 80)
    for number, user in enumerate(IDS):  # the users are told apart to the end
        if user in memory.users():
            bad += foreign(number, memory.events(user))
    return done, bad


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=100_000)
    options = parser.parse_args()
    done, bad, start = Counter[str](), 0, time.monotonic()
    for number in range(-(-options.operations // ROUND)):
        with PreferenceMemory(embedder=HashEmbedder(), values=Values(classifier=False)) as memory:
            some, count = run(memory, min(ROUND, options.operations - number * ROUND), seed=number)
        done += some
        bad += count
        print(f"{sum(done.values()):,} operations, {bad} foreign rows, {time.monotonic() - start:.0f} s", flush=True)
    print(", ".join(f"{count:,} {name}" for name, count in done.most_common()))
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
