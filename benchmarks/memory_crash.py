"""Is a memory whole after its process was killed? A writer is killed with SIGKILL, then its folder is opened again.

    python benchmarks/memory_crash.py --trials 200 --aimed 50

The writer acknowledges each event it recorded. Most trials kill it after a random time; the aimed ones kill it the
moment an index file changes, which Chroma does in place once in a hundred rows. Every opening runs in a process of its
own, so that a crash of Chroma is seen; it has to find every acknowledged event and a readable vector for each wish.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pad_memory import PreferenceMemory, Statement
from pad_memory.inference import text_key
from pad_memory.store import row_id

USERS = 2  # few, so that their shards are saved often
PATIENCE = 300.0  # seconds until an opening counts as hung


class HashEmbedder:
    """One fixed random unit vector a text, float32 [N, 32]."""

    name = "hash"

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        rows_NE = np.array([np.random.default_rng(seed).normal(size=32) for seed in seeds]).reshape(-1, 32)
        return (rows_NE / np.linalg.norm(rows_NE, axis=1, keepdims=True)).astype(np.float32)


def write(folder: Path) -> None:
    """Record wishes for ever, and print each one's id once it is recorded."""
    with PreferenceMemory(folder, embedder=HashEmbedder()) as memory:
        number = sum(len(memory.events(f"user {user}")) for user in range(USERS))
        while True:
            user = f"user {number % USERS}"
            print(
                user,
                memory.record(user, Statement(f"mention thing {number}", id=f"event {number}")),
                sep="\t",
                flush=True,
            )
            number += 1


def check(folder: Path, acknowledged: Path) -> None:
    """Exit with 1 where an acknowledged event or a vector is missing."""
    with PreferenceMemory(folder, embedder=HashEmbedder()) as memory:
        have = {(user, event.id) for user in memory.users() for event in memory.events(user)}
        want = {tuple(line.split("\t")) for line in acknowledged.read_text().splitlines()}
        if want - have:
            sys.exit(f"lost {sorted(want - have)}")
        for user in memory.users():
            owner = memory._owner(user)
            texts = [row["text"] for row in memory._open.read(owner, "wording")]
            read = [reading for record in memory._records(owner) for reading in record.evidence.readings]
            own = {item.text for item in read if not item.ends and (item.key or "text:").startswith("text:")}
            if own - set(texts):
                sys.exit(f"{user} has no row for {sorted(own - set(texts))}")
            vectors = memory._open.vectors(owner, [row_id(owner, "wording", text_key(text)) for text in texts])
            if not np.array_equal(np.sort([*vectors.values()], axis=0), np.sort(HashEmbedder().embed(texts), axis=0)):
                sys.exit(f"a vector of {user} is missing or wrong")
        if memory.repair().rebuilt:
            sys.exit("vectors were missing")


def changed(folder: Path, since: int) -> bool:
    """Whether an index file was written to after `since` (ns)."""
    try:
        return any(path.stat().st_mtime_ns > since for path in folder.glob("*/*.bin"))
    except FileNotFoundError:
        return False


def trial(folder: Path, acknowledged: Path, aimed: bool, rng: random.Random) -> str:
    """Kill one writer and open the folder again; return what came of it."""
    me = [sys.executable, __file__]
    with subprocess.Popen([*me, "--write", str(folder)], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        lines = [writer.stdout.readline()]  # it is up
        if aimed:
            since = time.time_ns()
            patience = time.monotonic() + PATIENCE
            while not changed(folder, since) and time.monotonic() < patience:
                pass
            time.sleep(rng.choice([0, 0, 0.0002, 0.0005]))
        else:
            time.sleep(rng.uniform(0, 1.5))
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
    with acknowledged.open("a") as log:
        log.writelines(line for line in lines if line.endswith("\n"))
    torn = (folder / "writing").exists()
    try:
        reader = subprocess.run(
            [*me, "--check", str(folder), str(acknowledged)], capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return "HUNG"
    if reader.returncode:
        return f"BROKEN ({reader.returncode}): {reader.stderr[-300:]}"
    return "amid a write, whole" if torn else "between writes, whole"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--aimed", type=int, default=50, help="of them, killed while an index is being saved")
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--check", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        return write(options.write)
    if options.check:
        return check(*options.check)
    rng, found = random.Random(0), Counter[str]()
    with tempfile.TemporaryDirectory() as temporary:
        for number in range(options.trials):
            if number % 20 == 0:  # a fresh store now and then
                folder, acknowledged = Path(temporary) / f"memory {number}", Path(temporary) / f"ids {number}"
            found[trial(folder, acknowledged, number < options.aimed, rng)] += 1
            print(f"\r{number + 1} of {options.trials}", end="", flush=True)
    print()
    for outcome, count in found.most_common():
        print(f"{count:>5}  {outcome}")
    if any(outcome.isupper() or outcome.startswith("BROKEN") for outcome in found):
        sys.exit(1)
    return None


if __name__ == "__main__":
    main()
