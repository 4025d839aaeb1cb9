"""The engine: one thread owns the model, everybody's requests ride its batch.

    submit(Request) → Stream of TokenEvents → Completion

Requests join and leave at token boundaries. One step is one forward of the base, and one of the guide if it has a
model of its own, for all rows.
"""

from __future__ import annotations

import atexit
import logging
import threading
from collections import deque
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch

from pad_langchain.engine.grammar import GrammarCompiler
from pad_langchain.engine.protocol import Guide
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.torch.admission import Admission
from pad_langchain.engine.torch.batch import Batch, Row
from pad_langchain.engine.torch.out_of_memory import explain_memory, out_of_memory
from pad_langchain.engine.types import EngineStats, FinishReason, Request, TokenEvent
from pad_langchain.errors import EngineBusyError, EngineClosedError, PadError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.compiled import decode_graph
from pad_langchain.models.loading import end_tokens
from pad_langchain.models.packed import pack
from pad_langchain.models.prompts import Prompts
from pad_langchain.models.rows import Rows
from pad_memory.openmp import dismiss_helpers

__all__ = ["TorchEngine"]

logger = logging.getLogger(__name__)


class TorchEngine:
    """Decodes requests under guidance, all in one batch.

    Args:
        model: a transformers causal LM, loaded.
        tokenizer: its fast tokenizer, with a chat template unless requests bring `prompt_ids`.
        guide: where rewards come from; None decodes the base alone.
        settings: those of `EngineSettings`: `max_batch`, `max_queue`, `max_batch_tokens`, `prefix_tokens`, …

    Raises:
        IncompatibleModelError: the parts do not fit each other.
        InvalidRequestError: a setting is out of its range.
    """

    def __init__(self, model: Any, tokenizer: Any, guide: Guide | None = None, **settings: Any) -> None:
        self.settings = EngineSettings(**settings)
        self.base = model if isinstance(model, Backbone) else Backbone(model)
        self.tokenizer: Any = tokenizer
        self.prompts = Prompts(tokenizer)
        self.guide = guide
        self.steps = 0  # forwards of the base over the whole batch, prefills not counted
        if guide is not None:
            guide.bind(self.base, self.prompts)
        # The base and, for a guide with a model of its own, that one.
        own = None if guide is None else guide.backbone
        self.models = list(dict.fromkeys((self.base, own or self.base)))
        for backbone in self.models:
            backbone.prefixes.budget = self.settings.prefix_tokens
            if self.settings.pack_weights is True:
                pack(backbone.model)
            backbone.graph = decode_graph(backbone.model) if self.settings.compile else None
        self._admission = Admission(self.base, self.prompts, guide, tokenizer, self.settings)
        self._eos = end_tokens(self.base.model, tokenizer)
        self._waiting: deque[list[Row]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._worker: threading.Thread | None = None
        self._batch: Batch | None = None

    @property
    def end_tokens(self) -> frozenset[int]:
        """Token ids that end an answer and are no text."""
        return self._eos

    @property
    def guided(self) -> bool:
        """Whether there is a guide: requests may have preferences."""
        return self.guide is not None

    @property
    def recommended(self) -> tuple[float, float]:
        """(beta, alpha) that the PersRM's config recommends; (1.0, 0.0) without one."""
        return (1.0, 0.0) if self.guide is None else (self.guide.beta, self.guide.alpha)

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that the base can hold; None: no limit known."""
        return self.base.context

    @cached_property
    def grammars(self) -> GrammarCompiler:
        """Compiles grammars for `Request.grammar`; the first use costs up to a second."""
        return GrammarCompiler(self.tokenizer, self.base.vocab_size, self._eos)

    @property
    def stats(self) -> EngineStats:
        """What the models did so far."""
        tallies = [backbone.tally for backbone in self.models]
        return EngineStats(
            forwards=sum(tally.forwards for tally in tallies),
            prefilled_tokens=sum(tally.prefilled for tally in tallies),
            reused_tokens=sum(tally.reused for tally in tallies),
        )

    @property
    def running(self) -> int:
        """Rows in the batch now."""
        batch = self._batch
        return 0 if batch is None else len(batch.rows)

    def submit(self, request: Request) -> Stream:
        """Queue a request and return its stream at once. Thread-safe.

        Raises:
            InvalidRequestError: the request cannot run on this engine; ContextLengthError: its prompt is too long.
            EngineBusyError: the queue is full.
            EngineClosedError: the engine was shut down.
        """
        stream, rows = self._admission.prepare(request)
        with self._changed:
            if self._closed:
                raise EngineClosedError("The engine is closed and takes no more requests. Make a new one.")
            if len(self._waiting) >= self.settings.max_queue:
                raise EngineBusyError(
                    f"{len(self._waiting)} requests are waiting, which is max_queue. Try again later, or raise "
                    f"max_queue."
                )
            self._waiting.append(rows)
            if self._worker is None:
                self._worker = threading.Thread(target=self._run, name="pad-engine", daemon=True)
                self._worker.start()
                # A thread inside torch while the interpreter shuts down aborts the process.
                atexit.register(self.close)
            self._changed.notify_all()
        dismiss_helpers()  # this thread may have loaded the model; two teams slow each other down
        return stream

    @torch.inference_mode()
    def warm_up(self, rows: Sequence[int] = (1, 2, 4, 8, 16), columns: Sequence[int] = (192, 384, 768)) -> float:
        """Compile the decode step, and capture its CUDA graphs, before the first request. Blocks for minutes.

        Args:
            rows: how many rows will decode together, those of guides included.
            columns: how long prompt and answer will be, tokens. Both are rounded up; other sizes wait for their use.

        Returns:
            seconds; 0.0 where nothing is compiled (see `EngineSettings.compile`).

        Raises:
            EngineBusyError: requests are running.
        """
        with self._changed:
            while self._batch is not None and all(row.stream.done for row in self._rows()):
                self._changed.wait(0.01)  # their results are out, the worker is about to drop them
            if self._batch is not None or self._waiting:
                raise EngineBusyError("Requests are running. Warm the engine up before the first, or wait for them.")
            seconds = 0.0
            for backbone in self.models:
                if backbone.graph is not None:
                    adapter = self.guide.adapter if self.guide is not None and backbone is self.base else None
                    seconds += backbone.graph.warm_up(Rows(backbone, [[0]]).cache, adapter, rows, columns)
        logger.info("Warmed up in %.1f s: rows %s, columns %s", seconds, list(rows), list(columns))
        return seconds

    def forget_prefixes(self) -> None:
        """Drop all kept keys and values of prompts. Requests that still run may leave theirs when they end."""
        for backbone in self.models:
            backbone.prefixes.clear()

    def count_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt for the base."""
        return len(self._admission.prompt(request))

    def room(self, request: Request) -> int:
        """New tokens that every context has room for, at most max_tokens; raises what `submit` would."""
        return self._admission.room(request)

    def close(self, timeout: float | None = 10.0) -> None:
        """Stop: requests in flight and in the queue end with EngineClosedError. Closing twice is fine.

        Args:
            timeout: seconds to wait for the step that is running.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            worker.join(timeout)
        atexit.unregister(self.close)

    def __enter__(self) -> TorchEngine:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # In the worker's thread

    @torch.inference_mode()
    def _run(self) -> None:
        while self._wait():
            try:
                self._step()
            except Exception as error:  # the thread must live, whatever a model does
                if not self._make_room(error):
                    logger.exception("A step of %d rows failed", self.running)
                    self._fail_batch(error)
        self._fail_batch(EngineClosedError("The engine was closed while the request ran."))
        with self._changed:
            waiting, self._waiting = list(self._waiting), deque()
        for group in waiting:
            group[0].stream.fail(EngineClosedError("The engine was closed before the request began."))

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when closed."""
        with self._changed:
            if not self._waiting and self._batch is None:
                dismiss_helpers()
            self._changed.wait_for(lambda: self._closed or self._waiting or self._batch is not None)
            return not self._closed

    def _step(self) -> None:
        """One turn: cancelled rows leave, all others advance by one token, waiting rows join, everybody chooses."""
        self._drop([row for row in self._rows() if row.stream.cancelled or row.stream.done], "cancelled")
        if self._batch is not None:
            self._batch.advance()
            self.steps += 1
        self._admit()
        if self._batch is None:
            return
        choices = self._batch.choose()
        leaving, finished = [], []
        for index, (row, choice) in enumerate(zip(self._batch.rows, choices, strict=True)):
            if isinstance(choice, PadError):
                row.stream.fail(choice)
                leaving.append(row)
            elif row.emit(choice, self._eos, tuple(map(self._admission.candidate, choice.weighed))):
                finished.append(index)
                leaving.append(row)
        for index in finished:
            self._batch.remember(index)
        self._drop(leaving)

    def _rows(self) -> list[Row]:
        return [] if self._batch is None else self._batch.rows

    def _drop(self, leaving: list[Row], reason: FinishReason | None = None) -> None:
        if not leaving or self._batch is None:
            return
        if reason is not None:
            for row in leaving:
                row.stream.put(TokenEvent(row.index, -1, row.text.flush(), 0.0, 0.0, reason))
        gone = {id(row) for row in leaving}
        kept = [index for index, row in enumerate(self._batch.rows) if id(row) not in gone]
        if not kept:
            self._batch = None
            return
        try:
            self._batch.keep(kept)
        except Exception as error:  # a half-thinned cache is useless
            self._fail_batch(error)

    def _admit(self) -> None:
        """Prefill waiting requests that fit, first come first served; if that fails, one by one."""
        groups: list[list[Row]] = []
        rows = list(self._rows())
        with self._changed:
            while self._waiting:
                group = self._waiting[0]
                cancelled = group[0].stream.cancelled
                if not (cancelled or self._admission.fit([*rows, *group])):
                    break
                self._waiting.popleft()
                if cancelled:
                    for row in group:
                        row.stream.put(TokenEvent(0, -1, "", 0.0, 0.0, "cancelled"))
                else:
                    groups.append(group)
                    rows += group
        if not groups:
            return
        try:
            if self._batch is not None:
                self._batch.feed_guide()
        except Exception:
            with self._changed:
                self._waiting.extendleft(reversed(groups))  # they have not begun
            raise
        for batch in self._prefill(groups):
            if self._batch is None:
                self._batch = batch
                continue
            try:
                self._batch.merge(batch)
            except Exception as error:  # a half-merged cache is useless
                for row in batch.rows:
                    row.stream.fail(self._explained(error))
                self._fail_batch(error)

    def _prefill(self, groups: list[list[Row]]) -> list[Batch]:
        try:
            return [Batch(self.base, self.guide, groups)]
        except Exception as error:
            if len(groups) == 1:
                logger.warning("A request failed in its prefill: %s", error)
                groups[0][0].stream.fail(self._explained(error))
                return []
        return [batch for group in groups for batch in self._prefill([group])]

    def _make_room(self, error: Exception) -> bool:
        """After a step ran out of memory: give up the kept prefixes, else the youngest row. False: it was not that."""
        if not out_of_memory(error) or not self._rows():
            return False
        if any(len(backbone.prefixes) for backbone in self.models):
            self.forget_prefixes()
        else:
            youngest = self._rows()[-1]
            logger.warning("Out of memory with %d rows: the youngest fails", self.running)
            youngest.stream.fail(self._explained(error))
            self._drop([youngest])
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return True

    def _explained(self, error: BaseException) -> BaseException:
        """The error a caller gets for it."""
        return explain_memory(error, self.running, self.settings.max_batch, self.settings.max_batch_tokens)

    def _fail_batch(self, error: BaseException) -> None:
        explained = self._explained(error)
        rows, self._batch = self._rows(), None
        for row in rows:
            row.stream.fail(explained)
