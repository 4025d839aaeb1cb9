"""What callers see of an engine that decodes in this process.

submit(Request) → admission → queue → worker: batch, step → Stream of TokenEvents → Completion
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from functools import cached_property
from typing import Any

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
from pad_langchain.engine.types import Request

__all__ = ["LocalEngine"]


class LocalEngine:
    """Decodes requests in a thread of its own, all in one batch.

    It lives until it is closed, or until nobody has it any more and what was submitted is done.

    Args:
        models: what runs.
        tokenizer: the base's fast tokenizer.
        guide: where rewards come from; None decodes the base alone.
        admission: looks at requests; its settings are the engine's.
        ends: token ids that end an answer and are no text.
    """

    def __init__(
        self, models: Models, tokenizer: Any, guide: Guide | None, admission: Admission, ends: frozenset[int]
    ) -> None:
        self.tokenizer: Any = tokenizer
        self.prompts, self.settings, self.guide = admission.prompts, admission.settings, guide
        self._admission = admission
        # A copy: the worker decodes while callers encode.
        self._detokenizer = Detokenizer(copy.deepcopy(tokenizer.backend_tokenizer))
        self._queue = Queue(self.settings.max_queue, admission.fit)
        self._worker = Worker(models, self._queue, self.settings, ends)
        # Nobody has the engine any more: what runs is finished, then its thread ends and the weights go.
        weakref.finalize(self, self._queue.finish).atexit = False

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("An engine has a thread and cannot be copied or pickled. Share it, or make another one.")

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that the base can hold; None: no limit known."""
        return self._admission.context

    @property
    def end_tokens(self) -> frozenset[int]:
        """Token ids that end an answer and are no text; set others before the first request."""
        return self._worker.end_tokens

    @end_tokens.setter
    def end_tokens(self, tokens: frozenset[int]) -> None:
        self._worker.end_tokens = tokens

    @property
    def guided(self) -> bool:
        """Whether there is a guide: requests may have preferences."""
        return self.guide is not None

    @property
    def recommended(self) -> tuple[float, float]:
        """(beta, alpha) that the PersRM's config recommends; (1.0, 0.0) without one."""
        return (1.0, 0.0) if self.guide is None else (self.guide.beta, self.guide.alpha)

    @cached_property
    def grammars(self) -> GrammarCompiler:
        """Compiles grammars for `Request.grammar`; the first use costs up to a second."""
        return GrammarCompiler(self.tokenizer, self._admission.vocab_size, self.end_tokens)

    @property
    def running(self) -> int:
        """Rows in the batch now."""
        return len(self._worker.rows)

    @property
    def waiting(self) -> int:
        """Requests in the queue now."""
        return len(self._queue)

    @property
    def closed(self) -> bool:
        """Whether it takes no more requests."""
        return self._queue.closed

    @property
    def steps(self) -> int:
        """Forwards of the base over the whole batch so far, prefills not counted."""
        return self._worker.steps

    def submit(self, request: Request) -> Stream:
        """Queue a request and return its stream at once. Thread-safe.

        Raises:
            InvalidRequestError: the request cannot run on this engine; ContextLengthError: its prompt is too long.
            EngineBusyError: the queue is full.
            EngineClosedError: the engine was shut down.
        """
        admitted = self._admission.admit(request)
        stream, rows = self._open(admitted)
        self._queue.put(rows)
        self._worker.start()
        return stream

    def count_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt for the base."""
        return len(self._admission.prompt(request))

    def room(self, request: Request) -> int:
        """New tokens that every context has room for, at most max_tokens; raises what `submit` would."""
        return self._admission.place(request).limit

    def pause(self) -> None:
        """Let requests wait that are not in the batch yet; those in it go on (see `pad_langchain.testing.paused`)."""
        self._queue.pause()

    def resume(self) -> None:
        """Let them join again, as many at once as fit."""
        self._queue.resume()

    def watch(self, call: Callable[[StepReport], object] | None) -> None:
        """Have every step reported, in the thread that runs it; None: no more."""
        self._worker.report = call

    def close(self, timeout: float | None = 10.0) -> None:
        """Stop: requests in flight and in the queue end with EngineClosedError. Closing twice is fine.

        Args:
            timeout: seconds to wait for the step that is running.
        """
        self._worker.close(timeout)

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _open(self, admitted: Admitted) -> tuple[Stream, list[Row]]:
        """The caller's stream and the rows that fill it: one, or one for each sample of best-of-n."""
        request = admitted.request
        stream = Stream(request, len(admitted.prompt))
        streams = [stream] if request.best_of == 1 else BestOf(stream, request.best_of).samples
        rows = [
            Row(admitted, one, self._detokenizer.stream(request.stop, request.visible), generator)
            for one, generator in zip(streams, generators(request.seed, len(streams)), strict=True)
        ]
        return stream, rows
