"""Users nothing was heard of for long: who they are, and all of them erased."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pad_memory.users.ledger import Ledger

__all__ = ["IdleUser", "Progress", "forget_idle"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class IdleUser:
    """A user nothing was heard of for long.

    Args:
        user: the user id.
        last: Unix seconds of the latest event or change of an item.
        events, items: how many there are.
    """

    user: str
    last: float
    events: int
    items: int


def forget_idle(ledger: Ledger, before: float, *, dry_run: bool, progress: Progress | None) -> Iterator[IdleUser]:
    """Yield the users of whom nothing is kept that is younger, each after they are erased.

    A part of the users is looked through and erased at a time, while others wait. A call that was killed is finished
    by the next one.

    Args:
        ledger: the memory's.
        before: Unix seconds.
        dry_run: erase nobody.
        progress: called after each part with (parts done, parts in all).
    """
    with ledger.store() as store:
        parts = store.shards()
    for done, part in enumerate(parts, 1):
        with ledger.store() as store:
            rows = store.rows_in(part, ledger.tenant)
            idle = _idle(rows.values(), before)
            if idle and not dry_run:
                # A version first: without it nobody trusts the rest.
                gone = [(row["kind"] != "version", id) for id, row in rows.items() if row["owner"] in idle]
                ledger.drop(idle)
                store.erase_in(part, [id for _, id in sorted(gone)])
        yield from idle.values()
        if progress is not None:
            progress(done, len(parts))


def _idle(rows: Iterable[Mapping[str, Any]], before: float) -> dict[str, IdleUser]:
    """The idle users among the rows of a part, by owner."""
    found: dict[str, IdleUser] = {}
    for row in rows:
        if row["kind"] not in ("event", "item"):
            continue
        event = row["kind"] == "event"
        time = json.loads(row["record"])["event"]["time"] if event else json.loads(row["item"])["updated"]
        known = found.get(row["owner"], IdleUser(row["user"], time, 0, 0))
        found[row["owner"]] = IdleUser(
            known.user, max(known.last, time), known.events + event, known.items + (not event)
        )
    return {owner: user for owner, user in found.items() if user.last < before}
