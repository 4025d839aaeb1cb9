"""Which wishes belong into what is asked for? Ten users ask forty things each, half of them texts for others.

    python benchmarks/memory/selective.py [--part seen | aside] [--misses]

`selective/seen.txt` and `selective/aside.txt` have the users, their wishes and their requests, with the wishes that
belong there and those that do not. Both were written before the code, from the words of the feature's description
alone, and `aside.txt` was put aside until the code was done. *Wrongly*: share of (request, wish) that do not belong
together and steer. *Rightly*: share of those that do and steer. Beside it what holding nothing back does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pad_memory import PreferenceMemory, Statement

HERE = Path(__file__).with_name("selective")
EVERYTHING = 100


@dataclass
class User:
    """Somebody's wishes by letter, and their requests, each with the letters of what belongs and what does not."""

    name: str
    wishes: dict[str, str] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)


def users(path: Path) -> list[User]:
    """Read a file of users."""
    found: list[User] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        head, _, rest = line.partition(" ")
        if head == "user":
            found.append(User(rest))
        elif head == "wish":
            letter, _, text = rest.partition(": ")
            found[-1].wishes[letter] = text
        elif head and head != "#":
            found[-1].requests.append((head, rest))
    return found


def judged(memory: PreferenceMemory, user: User, selective: bool) -> Iterator[tuple[str, str, str, bool, bool]]:
    """(request, letter, wish, whether it belongs, whether it steers)."""
    events = memory.events(user.name)
    letter_of = {event.id: letter for event, letter in zip(events, user.wishes, strict=True)}
    for letters, request in user.requests:
        condition = memory.condition(user.name, request, budget=EVERYTHING, selective=selective)
        steers = {letter_of[id] for item in condition for id in item.evidence}
        for letter in letters:
            small = letter.lower()
            yield request, small, user.wishes[small], letter.isupper(), small in steers


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=["seen", "aside"], default=None, help="None: both")
    parser.add_argument("--misses", action="store_true", help="print what was decided wrongly")
    options = parser.parse_args()
    print(f"{'part':<8}{'held back':<12}{'wrongly':>9}{'of':>6}{'rightly':>9}{'of':>6}{'ms each':>9}")
    for part in [options.part] if options.part else ["seen", "aside"]:
        told = users(HERE / f"{part}.txt")
        with PreferenceMemory() as memory:
            for user in told:
                for place, wish in enumerate(user.wishes.values()):
                    memory.record(user.name, Statement(wish, time=1000.0 + place))
            for selective in (False, True):
                begun = time.perf_counter()
                rows = [row for user in told for row in judged(memory, user, selective)]
                took = (time.perf_counter() - begun) / sum(len(user.requests) for user in told)
                wrong = [steers for *_, belongs, steers in rows if not belongs]
                right = [steers for *_, belongs, steers in rows if belongs]
                print(
                    f"{part:<8}{'some' if selective else 'nothing':<12}{sum(wrong) / len(wrong):>9.3f}{len(wrong):>6}"
                    f"{sum(right) / len(right):>9.3f}{len(right):>6}{1000 * took:>9.2f}"
                )
            for request, letter, wish, belongs, steers in rows:
                if options.misses and belongs != steers:
                    print(f"  {'held back' if belongs else 'steers'}: {letter} {wish!r} in {request!r}")


if __name__ == "__main__":
    main()
