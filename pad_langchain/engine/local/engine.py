"""What callers see of an engine with a queue, and of one that decodes in this process.

submit(Request) → admission → queue → worker: batch, step → Stream of TokenEvents → Completion
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Protocol

from pad_langchain.engine.admission import Admission, Admitted
from pad_langchain.engine.detokenize import Detokenizer
from pad_langchain.engine.grammar import GrammarCompiler
from pad_langchain.engine.local.batch import Models
from pad_langchain.engine.local.best_of import BestOf
from pad_langchain.engine.local.queue import Queue
from pad_langchain.engine.local.row import Row, generators
from pad_langchain.engine.local.worker import StepReport, Worker
from pad_langchain.engine.protocol import Guide
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.types import Recommended, Request

__all__ = ["LocalEngine", "QueuedEngine", "Runner"]


class Runner(Protocol):
    """Takes rows out of an engine's queue and fills their streams. Thread-safe."""

    end_tokens: frozenset[int]

    @property
    def rows(self) -> Sequence[Row]:
        """The rows that decode now."""
        ...

    @property
    def alive(self) -> bool:
        """Whether its threads run, or have not been needed yet."""
        ...

    def ended(self) -> Callable[[], bool]:
        """Return what says, without holding this, whether its threads have ended. True where none ever ran."""
        ...

    def start(self) -> None:
        """Start the threads if they do not run yet."""
        ...

    def close(self, timeout: float | None = 10.0) -> None:
        """End all requests and the threads, in so many seconds if possible."""
        ...


class QueuedEngine:
    """Admits requests to a queue, which a runner takes them from.

    It lives until it is closed, or until no reference to it is left and all submitted requests are done.

    Args:
        runner: takes from `queue`.
        queue: where requests wait.
        tokenizer: the base's fast tokenizer.
        guide: the source of rewards. None means the base decodes alone.
        admission: checks requests. Its settings are the engine's.
    """

    def __init__(self, runner: Runner, queue: Queue, tokenizer: Any, guide: Guide | None, admission: Admission) -> None:
        self.tokenizer: Any = tokenizer
        self.prompts, self.settings, self.guide = admission.prompts, admission.settings, guide
        self._admission, self._queue, self._runner = admission, queue, runner
        # A copy: the runner decodes while callers encode.
        self._detokenizer = Detokenizer(copy.deepcopy(tokenizer.backend_tokenizer))
        # Nobody has the engine any more: what runs is finished, then its thread ends and the weights go.
        weakref.finalize(self, queue.finish).atexit = False

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("An engine has a thread and cannot be copied or pickled. Share it, or make another one.")

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that the base can hold. None means no limit is known."""
        return self._admission.context

    @property
    def end_tokens(self) -> frozenset[int]:
        """Ids of the tokens that end an answer. They add nothing to its text. Set others before the first request."""
        return self._runner.end_tokens

    @end_tokens.setter
    def end_tokens(self, tokens: frozenset[int]) -> None:
        self._runner.end_tokens = tokens

    @property
    def guided(self) -> bool:
        """Whether there is a guide, so that requests may have preferences."""
        return self.guide is not None

    @property
    def contrasts(self) -> bool:
        """Whether its guide is the base itself, which is contrasted with a prompt of the opposite."""
        return self.guide is not None and self.guide.kind == "self"

    @property
    def recommended(self) -> Recommended:
        """What the PersRM recommends. Without a guide it is what `Recommended()` says."""
        return Recommended() if self.guide is None else self.guide.recommended

    @cached_property
    def grammars(self) -> GrammarCompiler:
        """Compiles grammars for `Request.grammar`. The first use takes up to a second."""
        return GrammarCompiler(self.tokenizer, self._admission.vocab_size, self.end_tokens)

    def ended(self) -> Callable[[], bool]:
        """Return what says, without holding the engine, whether its thread has ended; true where none ever ran."""
        return self._runner.ended()

    @property
    def running(self) -> int:
        """Rows in the batch now."""
        return len(self._runner.rows)

    @property
    def waiting(self) -> int:
        """Requests in the queue now."""
        return len(self._queue)

    @property
    def closed(self) -> bool:
        """Whether the engine refuses every further request."""
        return self._queue.closed

    @property
    def alive(self) -> bool:
        """Whether it can answer: it is not closed, and its thread has not died."""
        return not self.closed and self._runner.alive

    def ready(self) -> bool:
        """Return whether a request would be answered now."""
        return self.alive

    def submit(self, request: Request) -> Stream:
        """Queue a request and return its stream at once. Thread-safe.

        Raises:
            InvalidRequestError: the request cannot run on this engine.
            ContextLengthError: its prompt leaves no room for a new token.
            EngineBusyError: the queue is full.
            EngineClosedError: the engine was shut down.
        """
        admitted = self._admission.admit(request)
        stream, rows = self._open(admitted)
        self._queue.put(rows)
        self._runner.start()
        return stream

    def count_tokens(self, request: Request) -> int:
        """Return how many tokens the request's prompt has for the base.

        Raises:
            InvalidRequestError: it has no prompt, or ids that the base does not know.
        """
        return len(self._admission.prompt(request))

    def room(self, request: Request) -> int:
        """Return how many new tokens fit the contexts of base and guide: 1 to the request's `max_tokens`.

        Raises:
            InvalidRequestError: the request cannot run on this engine.
            ContextLengthError: its prompt leaves no room for a new token.
        """
        return self._admission.place(request).limit

    def pause(self) -> None:
        """Hold back the requests that are not in the batch yet. Those in it go on (see `testing.paused`)."""
        self._queue.pause()

    def resume(self) -> None:
        """Let waiting requests join again, as many at once as fit."""
        self._queue.resume()

    def close(self, timeout: float | None = 10.0) -> None:
        """Stop the engine. Its requests, running or waiting, end with EngineClosedError. Closing twice is fine.

        Args:
            timeout: seconds to wait for the step that is running. None means wait until it ends.
        """
        self._runner.close(timeout)

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _open(self, admitted: Admitted) -> tuple[Stream, list[Row]]:
        """The caller's stream and the rows that fill it: one, or one per sample of best-of-n."""
        request = admitted.request
        stream = Stream(request, len(admitted.prompt))
        streams = [stream] if request.best_of == 1 else BestOf(stream, request.best_of).samples
        rows = [
            Row(admitted, one, self._detokenizer.stream(request.stop, request.visible), generator)
            for one, generator in zip(streams, generators(request.seed, len(streams)), strict=True)
        ]
        return stream, rows


class LocalEngine(QueuedEngine):
    """Decodes requests in a thread of its own, all in one batch.

    It lives until it is closed, or until no reference to it is left and all submitted requests are done.

    Args:
        models: run the batches.
        tokenizer: the base's fast tokenizer.
        guide: the source of rewards. None means the base decodes alone.
        admission: checks requests. Its settings are the engine's.
        ends: ids of the tokens that end an answer. They add nothing to its text.
    """

    def __init__(
        self, models: Models, tokenizer: Any, guide: Guide | None, admission: Admission, ends: frozenset[int]
    ) -> None:
        queue = Queue(admission.settings.max_queue, admission.fit)
        self._worker = Worker(models, queue, admission.settings, ends)
        super().__init__(self._worker, queue, tokenizer, guide, admission)

    @property
    def steps(self) -> int:
        """Forwards of the base over the whole batch so far, prefills not counted."""
        return self._worker.steps

    def watch(self, call: Callable[[StepReport], object] | None) -> None:
        """Call this with a report of every step, in the thread that runs it. None means no reports."""
        self._worker.report = call
