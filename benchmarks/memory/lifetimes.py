"""Are times in wishes read right, is what is sensitive marked, and what does it cost?

    python benchmarks/memory/lifetimes.py             the suites in tests/data/lifetimes, and the time by part
    python benchmarks/memory/lifetimes.py --verbose   and every mistake

Times: CPU milliseconds per wish, the median of rounds over the suites' texts, in one thread.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from pad_memory.language.times import Limits, timed_parts
from pad_memory.values.sensitive import kinds

DATA = Path(__file__).parents[2] / "tests" / "data" / "lifetimes"
HALVES = {"seen while writing": "", "put aside": "_aside"}


def times(name: str) -> Iterator[tuple[str, str, datetime]]:
    """Yield (words, what is meant, when they are said)."""
    said = datetime.now()
    for line in (DATA / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("@ "):
            _, clock, zone = line.split()
            said = datetime.fromisoformat(clock).replace(tzinfo=ZoneInfo(zone))
        else:
            words, meant = line.split("\t")
            yield words, meant, said


def shown(limits: Limits | None, said: datetime) -> str:
    """What was read, as the suite writes it."""
    if limits is None:
        return "-"
    if limits.answers is not None:
        return f"#{limits.answers}"
    ends = ("" if end is None else datetime.fromtimestamp(end, said.tzinfo) for end in (limits.since, limits.until))
    return "..".join(end and end.replace(tzinfo=None).isoformat() for end in ends)


def full(meant: str) -> str:
    if meant[0] in "-#":
        return meant
    return "..".join(end and datetime.fromisoformat(end).isoformat() for end in meant.split(".."))


def milliseconds(read: Callable[[str], object], texts: Sequence[str], rounds: int = 15) -> float:
    """The median CPU time per text."""
    read(texts[0])
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        for text in texts:
            read(text)
        taken.append(1000.0 * (time.process_time() - start) / len(texts))
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verbose", action="store_true", help="print every text that is read wrongly")
    verbose = parser.parse_args().verbose
    texts: list[str] = []
    print(f"{'half':<22}{'times':>8}{'caught':>8}{'kind':>8}{'false':>8}")
    for half, ending in HALVES.items():
        rows = list(times(f"times{ending}.txt"))
        read = [
            shown(timed_parts(words, said.timestamp(), str(said.tzinfo))[-1].limits, said) for words, _, said in rows
        ]
        right = [got == full(meant) for got, (_, meant, _) in zip(read, rows, strict=True)]
        told = [line.split("\t") for line in (DATA / f"sensitive{ending}.txt").read_text("utf-8").splitlines()]
        innocent = (DATA / f"innocent{ending}.txt").read_text("utf-8").splitlines()
        caught, kind = (sum(map(bool, found)) / len(told) for found in zip(*_found(told), strict=True))
        false = [text for text in innocent if kinds(text)]
        print(f"{half:<22}{sum(right) / len(rows):>8.3f}{caught:>8.3f}{kind:>8.3f}{len(false) / len(innocent):>8.3f}")
        if verbose:
            wrong = [f"{words}: {got}" for (words, _, _), got, ok in zip(rows, read, right, strict=True) if not ok]
            print(*wrong, *(text for kind, text in told if kind not in kinds(text)), *false, sep="\n")
        texts += [words for words, _, _ in rows] + [text for _, text in told] + innocent
    plain = [text for text in texts if timed_parts(text, 0.0)[0].limits is None]
    for name, each in (("all texts", texts), ("without a time", plain)):
        timed = milliseconds(lambda text: timed_parts(text, 0.0), each)
        marked = milliseconds(kinds.__wrapped__, each)
        print(f"{name}: a time {timed:.3f} ms, what is sensitive {marked:.3f} ms per wish ({len(each)} texts)")


def _found(told: Sequence[Sequence[str]]) -> list[tuple[bool, bool]]:
    return [(bool(kinds(text)), kind in kinds(text)) for kind, text in told]


if __name__ == "__main__":
    main()
