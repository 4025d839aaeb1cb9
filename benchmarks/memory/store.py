"""What a large memory costs: times, memory, open files, a second process, and what stays after forgetting.

    python benchmarks/memory/store.py --rows 100000

Each user has ten rows: five wishes in words, each with its vector, in 384 dimensions. One user more has 1,000 rows and
is forgotten. A time is the median over up to 300 users. Embeddings come from a hash, whose time is taken off, and the
classifier of values is off: no model's time is in the figures. On a busy machine read the CPU times.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from pad_memory import CATALOGUE, PreferenceMemory, Statement, Values
from pad_memory.evidence import Evidence, Recorded
from pad_memory.language import Reading
from pad_memory.store import Store
from pad_memory.store.rows import StoredRow, owner_of
from pad_memory.store.shards import shard_of
from pad_memory.users import Ledger
from pad_memory.values import Guard

ROWS_A_USER = 10
SAMPLE = 300
FEWEST = 3 * ROWS_A_USER
TENANT = "default"
FORGOTTEN = "the one who leaves"
SECOND = """
import sys, time
import chromadb
from pad_memory import PreferenceMemory
from pad_memory.errors import StoreLockedError
class Nothing:
    name = "hash"
start = time.perf_counter()
try:
    PreferenceMemory(sys.argv[1], embedder=Nothing())
except StoreLockedError:
    print(time.perf_counter() - start)
"""


class HashEmbedder:
    """One fixed random unit vector a text, float32 [N, 384], and the seconds that all of them took."""

    name = "hash"
    wall = cpu = 0.0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        wall, cpu = time.perf_counter(), time.process_time()
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts]
        rows_NE = np.array([np.random.default_rng(seed).normal(size=384) for seed in seeds]).reshape(-1, 384)
        rows_NE = (rows_NE / np.linalg.norm(rows_NE, axis=1, keepdims=True)).astype(np.float32)
        HashEmbedder.wall += time.perf_counter() - wall
        HashEmbedder.cpu += time.process_time() - cpu
        return rows_NE


def opened(folder: Path | None) -> PreferenceMemory:
    return PreferenceMemory(folder, embedder=HashEmbedder(), values=Values(classifier=False))


class TogetherStore(Store):
    """Keeps rows back and writes each shard's together when it is closed: one call a wish would take an hour."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, None, HashEmbedder())
        self.kept: dict[str, tuple[str, list[StoredRow]]] = {}

    def write(self, owner: str, rows: Sequence[StoredRow]) -> None:
        self.kept.setdefault(shard_of(owner), (owner, []))[1].extend(rows)

    def close(self) -> None:
        for owner, rows in self.kept.values():
            super().write(owner, rows)
        super().close()


def fill(folder: Path, users: Iterable[tuple[str, int]]) -> None:
    """Store wishes as `record` would.

    Args:
        folder: where there is no store yet.
        users: (user id, number of rows), two rows a wish.
    """
    rulebook = Guard(Values()).rulebook
    ledger = Ledger(TogetherStore(folder), HashEmbedder(), CATALOGUE, tenant=TENANT, rulebook=rulebook)
    for user, rows in users:
        records = [wish_of(user, number) for number in range(rows // 2)]
        ledger.extend(ledger.owner(user), user, records)
    ledger.close()


def wish_of(user: str, number: int) -> Recorded:
    """What `record` makes of a wish in the user's own words."""
    text = f"mention thing {number} of {user}"
    event = Statement(text).stamped(id=f"event {number}", time=time.time(), user=user, tenant=TENANT)
    return Recorded(event, number, Evidence(readings=(Reading(text, None),)))


def resident_mib() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def median_ms(call: Callable[[str], object], users: Iterable[str]) -> str:
    """Describe the times of a call for each user, without the embedder's."""
    walls, cpus = [], []
    for user in users:
        wall, cpu = time.perf_counter() - HashEmbedder.wall, time.process_time() - HashEmbedder.cpu
        call(user)
        walls.append(1000 * (time.perf_counter() - HashEmbedder.wall - wall))
        cpus.append(1000 * (time.process_time() - HashEmbedder.cpu - cpu))
    p10, p50, p95 = np.percentile(walls, [10, 50, 95])
    return f"p10 {p10:.2f}, p50 {p50:.2f}, p95 {p95:.2f} ms; CPU p50 {np.median(cpus):.2f}, mean {np.mean(cpus):.2f} ms"


def bytes_left(folder: Path, needles: Sequence[bytes]) -> int:
    """Count the needles found in any file, in the database's free pages too."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return sum(needle in content for needle in needles for content in contents)


def measure(folder: Path, rows: int) -> None:
    with opened(None) as empty:
        empty.record("ada", Statement("call me Sam"))
        empty.condition("ada")
        base_mib = resident_mib()
    users = [f"user {number}" for number in range(rows // ROWS_A_USER)]
    start = time.perf_counter()
    memory = opened(folder)
    opening = time.perf_counter() - start
    order = np.random.default_rng(0).permutation(users)
    sample = min(SAMPLE, len(users) // 3)
    first, cold, fresh = order[:sample], order[sample : 2 * sample], order[2 * sample : 3 * sample]

    def record(user: str) -> None:
        memory.record(user, Statement(f"mention tea to {user}"))

    print(f"open                {opening:.2f} s")
    print("condition, first    ", median_ms(memory.condition, first))  # loads all shards
    print("condition, cold     ", median_ms(memory.condition, cold))
    print("condition, warm     ", median_ms(memory.condition, cold))
    print("record, user cached ", median_ms(record, cold))
    print("record, cold        ", median_ms(record, fresh))
    print(f"memory above empty  {resident_mib() - base_mib:.0f} MiB, open files {open_files()}")
    command = [sys.executable, "-c", SECOND, str(folder)]
    other = subprocess.run(command, capture_output=True, text=True, check=True)
    print(f"second process      refused after {float(other.stdout):.2f} s")
    memory.record(FORGOTTEN, Statement(f"mention the latest of {FORGOTTEN}"))  # it lies in the journal
    text = b"of " + FORGOTTEN.encode()
    owner = owner_of(TENANT, FORGOTTEN).encode()
    needles = [text, owner, HashEmbedder().embed([f"mention thing 7 of {FORGOTTEN}"])[0].tobytes()]
    before = bytes_left(folder, needles)
    start, cpu = time.perf_counter(), time.process_time()
    erased = memory.forget(FORGOTTEN)
    print(f"forget {erased:,} rows   {time.perf_counter() - start:.2f} s, CPU {time.process_time() - cpu:.2f} s")
    open_left = bytes_left(folder, needles)
    start = time.perf_counter()
    memory.condition(users[0])
    print(f"next condition      {time.perf_counter() - start:.2f} s")
    memory.close()
    print(f"found in files      before {before}, after forget {open_left}, after close {bytes_left(folder, needles)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000, help=f"at least {FEWEST}")
    parser.add_argument("--folder", type=Path, help="fill a store here, or use the one that is here")
    options = parser.parse_args()
    if options.rows < FEWEST:
        parser.error(f"--rows is {options.rows} but has to be {FEWEST} or more: three users of {ROWS_A_USER} rows")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    print(f"{options.rows:,} rows, limit of open files {soft:,} of {hard:,}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary) / "memory"
        if not folder.exists():
            start = time.perf_counter()
            users = [(f"user {number}", ROWS_A_USER) for number in range(options.rows // ROWS_A_USER)]
            users.append((FORGOTTEN, 1000))
            fill(folder, users)
            print(f"filled in           {time.perf_counter() - start:.0f} s")
        measure(folder, options.rows)


if __name__ == "__main__":
    main()
