"""The token loop: one thread owns the models, and all requests share its batch.

Requests join and leave at token boundaries. One step is one forward of the base, and one of the guide if it has a
model of its own, for all rows.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from pad_langchain.engine.local.batch import Batch, Models
from pad_langchain.engine.local.failures import explain_memory, out_of_memory
from pad_langchain.engine.local.queue import Queue
from pad_langchain.engine.local.row import Chosen, Row
from pad_langchain.engine.local.step_lock import StepLock
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.types import Request
from pad_langchain.errors import EngineBusyError, EngineClosedError
from pad_langchain.models.forks import survive_forks
from pad_memory.openmp import dismiss_helpers

__all__ = ["StepReport", "Worker"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class StepReport:
    """One step of a batch, as `LocalEngine.watch` reports it.

    Args:
        requests: the request of each row, in the order in which the rows joined.
        joined: rows whose prompts were run in this step.
        kv_tokens: columns of KV cache that the base's rows use, padding included.
        cpu_seconds: CPU time that the worker's thread took for the step.
    """

    requests: tuple[Request, ...]
    joined: int
    kv_tokens: int
    cpu_seconds: float


_running: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


@atexit.register
def _let_end() -> None:
    """Wait for threads that free their models: one that is inside torch when the interpreter is gone aborts it."""
    for thread in list(_running):
        thread.join(10.0)


class Worker:
    """The thread of one engine, from the first request until it is closed.

    Args:
        models: the engine's.
        queue: where requests wait.
        settings: the engine's limits, for the messages of errors.
        end_tokens: ids of the tokens that end an answer.
    """

    def __init__(
        self,
        models: Models,
        queue: Queue,
        settings: EngineSettings,
        end_tokens: frozenset[int],
    ) -> None:
        self.models, self.queue, self.settings = models, queue, settings
        self.end_tokens = end_tokens
        self.steps = 0  # forwards of the base over the whole batch, prefills not counted
        self.report: Callable[[StepReport], object] | None = None
        self._batch: Batch | None = None
        self._failed: list[tuple[Row, int]] = []  # who failed together last, and how far they were
        self._thread: threading.Thread | None = None
        self._parents: Batch | None = None  # see `begin_anew`
        self._steps = StepLock()
        survive_forks(self)

    # From callers' threads

    @property
    def rows(self) -> list[Row]:
        """The rows in the batch now."""
        batch = self._batch
        return [] if batch is None else batch.rows

    @property
    def alive(self) -> bool:
        """Whether the thread runs, or has not been needed yet."""
        return self._thread is None or self._thread.is_alive()

    def ended(self) -> Callable[[], bool]:
        """Return what says, without holding this, whether the thread has ended; true where none ever ran."""
        thread = self._thread
        return lambda: thread is None or not thread.is_alive()

    def hold(self) -> bool:
        """Let no step begin, and wait for the running one. Return False if it did not end."""
        return self._steps.hold()

    def let_go(self) -> None:
        """Let steps begin again."""
        self._steps.release()

    def begin_anew(self) -> None:
        """End what was in flight in a forked child, as the parent answers it. The next request starts a thread."""
        lost = EngineClosedError(
            "The request was made before the process forked: its answer is in the parent. Ask again in this process."
        )
        streams = [row.stream for row in (*self.rows, *self.queue.begin_anew())]
        self.queue.refusal = self.models.begin_anew()
        if self.queue.refusal:
            self._parents = self._batch  # whose memory must not even be freed here
        self._batch, self._thread, self._failed, self._steps = None, None, [], StepLock()
        atexit.unregister(self.close)
        for stream in streams:
            stream.abandon(lost)

    def start(self) -> None:
        """Start the thread if it does not run yet. The calling thread gives up its OpenMP helpers."""
        with self.queue.changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="pad-engine", daemon=True)
                _running.add(self._thread)
                self._thread.start()
                # A thread inside torch while the interpreter shuts down aborts the process.
                atexit.register(self.close)
        dismiss_helpers()  # this thread may have loaded the model; two teams slow each other down

    def close(self, timeout: float | None = 10.0) -> None:
        """End all requests and the thread.

        Args:
            timeout: seconds to wait for the step that is running. None means wait until it ends.
        """
        self.queue.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)
        atexit.unregister(self.close)

    @contextmanager
    def idle(self) -> Iterator[None]:
        """Let nothing run and nothing be submitted inside the block.

        Raises:
            EngineBusyError: requests are running or waiting.
        """
        with self.queue.changed:
            while self._batch is not None and all(row.stream.done for row in self.rows):
                self.queue.changed.wait(0.01)  # their results are out, they are about to be dropped
            if self._batch is not None or len(self.queue):
                raise EngineBusyError("Requests are running. Warm the engine up before the first, or wait for them.")
            yield

    # In the thread

    @torch.inference_mode()
    def _run(self) -> None:
        while self._wait():
            try:
                with self._steps.step():
                    self._step()
            except BaseException as error:  # the thread must live, whatever a model does
                if not self._make_room(error):
                    logger.exception("A step of %d rows failed", len(self.rows))
                    self._isolate(self.rows, error)
        self._fail_batch(EngineClosedError("The engine was closed while the request ran."))
        self.queue.fail(EngineClosedError("The engine was closed before the request began."))
        atexit.unregister(self.close)  # which would keep the models

    def _wait(self) -> bool:
        """Sleep until there is work. Return False if closed, or if the engine is gone and all is done."""
        with self.queue.changed:
            if self._batch is None and not self.queue.ready:
                with self._steps.step():  # a fork in between would leave OpenMP half-way in the child
                    dismiss_helpers()
            self.queue.changed.wait_for(lambda: self._batch is not None or self.queue.ready)
            over = self.queue.finishing and self._batch is None and not len(self.queue)
            return not (self.queue.closed or over)

    def _step(self) -> None:
        """One turn: cancelled rows leave, all others advance by one token, waiting rows join, everybody chooses."""
        begun = time.thread_time()
        self._drop_cancelled()
        if self._batch is not None:
            self._batch.advance()
            self.steps += 1
        joined = self._join(self.queue.take(self.rows))
        if self._batch is None:
            return
        report = self.report  # another thread may set it meanwhile
        if report is None:
            self._emit(self._batch.choose())
            return
        requests, kv_tokens = tuple(row.request for row in self.rows), self._batch.kv_tokens
        self._emit(self._batch.choose())
        try:
            report(StepReport(requests, joined, kv_tokens, time.thread_time() - begun))
        except Exception:  # who watches must not harm who is watched
            logger.exception("Who watches the steps failed")

    def _emit(self, chosen: Sequence[Chosen | Exception | None]) -> None:
        """Put what the rows chose into their streams. Rows that are done leave."""
        assert self._batch is not None
        leaving, finished = [], []
        for index, (row, choice) in enumerate(zip(self._batch.rows, chosen, strict=True)):
            if isinstance(choice, Exception):
                row.stream.fail(choice)
                leaving.append(row)
            elif choice is not None and row.emit(choice, self.end_tokens):
                finished.append(index)
                leaving.append(row)
        for index in finished:
            try:
                self._batch.remember(index)
            except Exception:  # its answer is out; the next turn runs its prompt again
                logger.exception("What a finished row has run is not kept")
        self._drop(leaving)

    def _drop_cancelled(self) -> None:
        leaving = [row for row in self.rows if row.stream.cancelled or row.stream.done]
        for row in leaving:
            row.cancel()
        self._drop(leaving)

    def _drop(self, leaving: list[Row]) -> None:
        if not leaving or self._batch is None:
            return
        gone = {id(row) for row in leaving}
        kept = [index for index, row in enumerate(self._batch.rows) if id(row) not in gone]
        if not kept:
            self._end_batch()
            return
        rows = [self._batch.rows[index] for index in kept]
        try:
            self._batch.keep(kept)
        except Exception as error:  # a half-thinned cache is useless
            self._isolate(rows, error)

    def _join(self, groups: list[list[Row]]) -> int:
        """Prefill these rows at once, or one request at a time if that fails. Return how many rows joined."""
        if not groups:
            return 0
        try:
            if self._batch is not None:
                self._batch.settle()
        except Exception:
            self.queue.put_back(groups)
            raise
        joined = 0
        for batch in self._prefill(groups):
            joined += len(batch.rows)
            rows = [*self.rows, *batch.rows]
            try:
                self._merge(batch)
            except Exception as error:  # a half-merged cache is useless
                self._isolate(rows, error)
        return joined

    def _merge(self, batch: Batch) -> None:
        if self._batch is None:
            self._batch = batch
        else:
            self._batch.merge(batch)

    def _prefill(self, groups: list[list[Row]]) -> list[Batch]:
        try:
            return [self.models.open(groups)]
        except BaseException as error:
            if len(groups) == 1:
                logger.warning("A request failed in its prefill: %s", error)
                groups[0][0].stream.fail(self._explained(error))
                return []
        return [batch for group in groups for batch in self._prefill([group])]

    def _isolate(self, rows: Sequence[Row], error: BaseException) -> None:
        """After these rows failed together, run each alone what it has read, and go on with those that can.

        Random numbers and grammars are where they were, so a row that goes on gets the tokens it would have had. If no
        row fails alone and the same rows fail together once more, all of them end.
        """
        self._end_batch()
        for row in rows:
            if row.stream.cancelled:
                row.cancel()
        rows = [row for row in rows if not row.stream.done]
        reached = [(row, row.index) for row in rows]
        alone: list[Batch] = []
        if len(rows) > 1 and reached != self._failed:
            for row in rows:
                try:
                    batch = self.models.again(row)
                    batch.choose()
                except BaseException as own:
                    row.stream.fail(self._explained(own))
                else:
                    alone.append(batch)
        self._failed = [(batch.rows[0], batch.rows[0].index) for batch in alone]
        try:
            for batch in alone:
                self._merge(batch)
        except Exception as together:
            self._end_batch()
            error, alone = together, []
        if not alone:
            for row in rows:
                row.stream.fail(self._explained(error))

    def _make_room(self, error: BaseException) -> bool:
        """Where memory ran out, free the kept prefixes, else end the youngest row. Return False for other errors."""
        if not out_of_memory(error) or not self.rows:
            return False
        if not self.models.spare():
            youngest = self.rows[-1]
            logger.warning("Out of memory with %d rows: the youngest fails", len(self.rows))
            youngest.stream.fail(self._explained(error))
            self._drop([youngest])
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _explained(self, error: BaseException) -> Exception:
        """The error that callers get."""
        return explain_memory(error, len(self.rows), self.settings.max_batch, self.settings.max_batch_tokens)

    def _fail_batch(self, error: BaseException) -> None:
        explained = self._explained(error)
        rows = self.rows
        self._end_batch()
        for row in rows:
            row.stream.fail(explained)

    def _end_batch(self) -> None:
        batch, self._batch = self._batch, None
        if batch is not None:
            batch.close()
