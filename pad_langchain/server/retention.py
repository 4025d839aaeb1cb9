"""`Retention`: ids of answers outlive the process, for as long as the operator said. By default nothing is written."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from pad_langchain.server.metrics import Metrics
from pad_memory import PreferenceMemory
from pad_memory.errors import StoreClosedError, StoreError

__all__ = ["Retention"]

_AGAIN = 5.0  # seconds until what could not be written is tried again
_LATEST = 60.0  # seconds after its end in which an answer is erased, at most
_WAITING = 10_000  # answers that wait to be written; as many as the memory has texts of
logger = logging.getLogger(__name__)


class Retention:
    """A thread that writes answers down once they are whole, many at a time, and erases those that have ended.

    An answer does not wait for it: who kills the process within milliseconds of an answer loses that answer's id.

    Args:
        memory: its store keeps them; whose users and answers these are it says by `attach`.
        seconds: how long, above 0. None: none are kept any more, and those of before are erased when they end.
        metrics: time what it does.
    """

    def __init__(self, memory: PreferenceMemory, seconds: float | None, metrics: Metrics) -> None:
        self._memory, self._metrics = memory, metrics
        self._span = None if seconds is None else timedelta(seconds=seconds)
        self._period = _LATEST if seconds is None else min(_LATEST, seconds)
        self._answers: deque[tuple[str, str]] = deque(maxlen=_WAITING)
        self._woken, self._closed = threading.Event(), False
        self._thread = threading.Thread(target=self._run, name="pad-retention", daemon=True)
        if seconds is not None:
            memory.attach(on_answer=self.add)
        self._thread.start()

    def add(self, user: str, response_id: str) -> None:
        """Have an answer of the memory's log written down. Returns at once."""
        self._answers.append((user, response_id))
        self._woken.set()

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._closed = True
        self._woken.set()
        self._thread.join()

    def _run(self) -> None:
        expires = time.monotonic()
        while True:
            self._write()
            if self._closed:
                return
            if time.monotonic() >= expires:
                self._done("expire", self._memory.expire_answers)
                expires = time.monotonic() + self._period
            self._woken.wait(_AGAIN if self._answers else self._period)
            self._woken.clear()

    def _write(self) -> None:
        answers = [self._answers.popleft() for _ in range(len(self._answers))]
        if not answers or self._span is None:
            return
        if not self._done("keep", partial(self._memory.keep_answers, answers, self._span)):
            self._answers.extendleft(reversed(answers))

    def _done(self, operation: str, work: Callable[[], object]) -> bool:
        """Do something of the memory. Returns whether it need not be tried again."""
        try:
            with self._metrics.memory(operation):
                work()
        except StoreClosedError:
            self._closed = True  # nothing can be written down any more
        except StoreError:
            logger.warning("Answers: the store could not %s them. It is tried again.", operation)
            return False
        except Exception as error:  # its message may have the id of a user
            logger.error("Answers: %s failed with %s.", operation, type(error).__name__)
        return True
