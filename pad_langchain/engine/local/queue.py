"""Requests that wait for a place in the batch: limited in number, first come first served."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from pad_langchain.engine.admission import Admitted
from pad_langchain.engine.local.row import Row
from pad_langchain.errors import EngineBusyError, EngineClosedError

__all__ = ["Queue"]


class Queue:
    """Groups of rows, one group per request. Callers put them in and the worker takes them out. Thread-safe.

    Args:
        limit: requests that may wait, 1 or more.
        fit: whether samples may decode together.
    """

    def __init__(self, limit: int, fit: Callable[[Sequence[Admitted]], bool]) -> None:
        self.limit, self.fit = limit, fit
        self.changed = threading.Condition()  # whoever holds it keeps the queue as it is
        self.paused = self.closed = self.finishing = False
        self.refusal = ""  # why no request can be taken any more; "" means one can
        self._groups: deque[list[Row]] = deque()

    def __len__(self) -> int:
        """Requests that wait."""
        return len(self._groups)

    def put(self, rows: list[Row]) -> None:
        """Add a request's rows. Where the queue is full, requests that nobody waits for any more make room.

        Raises:
            EngineBusyError: the queue is full.
            EngineClosedError: the queue was closed.
        """
        with self.changed:
            if self.refusal:
                raise EngineClosedError(self.refusal)
            if self.closed:
                raise EngineClosedError("The engine is closed and takes no more requests. Make a new one.")
            if len(self._groups) >= self.limit:
                self._drop_cancelled()
            if len(self._groups) >= self.limit:
                raise EngineBusyError(
                    f"{len(self._groups)} requests are waiting, which is max_queue. Try again later, ask fewer at a "
                    "time (a batch limits itself; a chain takes max_concurrency in its config), or raise max_queue."
                )
            self._groups.append(rows)
            self.changed.notify_all()

    def put_back(self, groups: Sequence[list[Row]]) -> None:
        """Return groups that were taken but have not begun to the front of the queue."""
        with self.changed:
            self._groups.extendleft(reversed(groups))

    def take(self, beside: Sequence[Row]) -> list[list[Row]]:
        """Take out the groups that fit beside these rows. A request that was cancelled while it waited ends here."""
        groups: list[list[Row]] = []
        if not self._groups:
            return groups  # in most steps; who comes now joins in the next
        held = [row.admitted for row in beside]
        with self.changed:
            while self._groups and not self.paused:
                group = self._groups[0]
                wanted = [row.admitted for row in group]
                cancelled = group[0].stream.cancelled
                if not (cancelled or self.fit([*held, *wanted])):
                    break
                self._groups.popleft()
                if cancelled:
                    for row in group:
                        row.cancel()
                else:
                    groups.append(group)
                    held += wanted
        for group in groups:
            group[0].stream.begin()
        return groups

    def _drop_cancelled(self) -> None:
        """End what was cancelled while it waited, wherever in the queue. The caller holds the lock."""
        kept: deque[list[Row]] = deque()
        for group in self._groups:
            if not group[0].stream.cancelled:
                kept.append(group)
                continue
            for row in group:
                row.cancel()
        self._groups = kept

    def begin_anew(self) -> list[Row]:
        """Take out all rows in a forked child, whatever locks the parent's threads held."""
        self.changed = threading.Condition()
        groups, self._groups = self._groups, deque()
        return [row for group in groups for row in group]

    def pause(self) -> None:
        """Hold back all requests."""
        with self.changed:
            self.paused = True

    def resume(self) -> None:
        """Let requests be taken again."""
        with self.changed:
            self.paused = False
            self.changed.notify_all()

    def close(self) -> None:
        """Refuse new requests and wake the worker."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def finish(self) -> None:
        """Let the worker stop once all requests are done, as no caller is left."""
        with self.changed:
            self.finishing, self.paused = True, False
            self.changed.notify_all()

    def fail(self, error: BaseException) -> None:
        """End all waiting requests with an error."""
        with self.changed:
            groups, self._groups = self._groups, deque()
        for group in groups:
            group[0].stream.fail(error)

    @property
    def ready(self) -> bool:
        """Whether the worker can take a request or has to stop."""
        return self.closed or self.finishing or (bool(self._groups) and not self.paused)
