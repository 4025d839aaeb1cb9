"""The engine: one thread owns the model, everybody's requests ride its batch.

    submit(Request) → Stream of TokenEvents → Completion

Requests join and leave at token boundaries. One step is one forward of the base, and one of the guide if it is a
model, for all rows.
"""

from __future__ import annotations

import atexit
import copy
import logging
import threading
from collections import deque
from functools import cached_property
from typing import Any

import torch

from pad_langchain.engine.backbone import Backbone
from pad_langchain.engine.grammar import GrammarCompiler
from pad_langchain.engine.guides import Embedder, Guide
from pad_langchain.engine.prompts import Prompts
from pad_langchain.engine.step import Batch, Choice, Row
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.text import TextStream
from pad_langchain.engine.types import Candidate, FinishReason, Request, TokenEvent
from pad_langchain.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineClosedError,
    InvalidRequestError,
    PadError,
)

__all__ = ["Engine"]

logger = logging.getLogger(__name__)


class Engine:
    """Decodes requests under guidance, all in one batch.

    Args:
        model: a transformers causal LM, loaded.
        tokenizer: its fast tokenizer, with a chat template unless requests bring `prompt_ids`.
        guide: where rewards come from; None decodes the base alone.
        max_batch: rows that decode together at most; more wait, first come first served.
        max_queue: requests that may wait; one more is refused.

    Raises:
        IncompatibleModelError: the parts do not fit each other.
    """

    def __init__(
        self, model: Any, tokenizer: Any, guide: Guide | None = None, *, max_batch: int = 32, max_queue: int = 1024
    ) -> None:
        for name, value in (("max_batch", max_batch), ("max_queue", max_queue)):
            if value < 1:
                raise InvalidRequestError(f"{name} has to be an integer of at least 1, but is {value!r}.")
        self.base = model if isinstance(model, Backbone) else Backbone(model)
        self.tokenizer = tokenizer
        self.prompts = Prompts(tokenizer)
        self.guide = guide
        self.max_batch, self.max_queue = max_batch, max_queue
        self.persrm: Any | None = None  # the PersRM behind the guide, set by `from_pretrained`
        self.steps = 0  # forwards of the base over the whole batch, prefills not counted
        if guide is not None:
            guide.bind(self.base, self.prompts)
        # The worker decodes while callers encode; the two must not share one tokenizer object.
        self._backend = copy.deepcopy(tokenizer.backend_tokenizer)
        self._eos = _end_tokens(self.base.model, tokenizer)
        self._waiting: deque[Row] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._worker: threading.Thread | None = None
        self._batch: Batch | None = None

    @classmethod
    def from_pretrained(
        cls,
        model: Any,
        reward_model: Any | None = None,
        *,
        tokenizer: Any | None = None,
        device: str = "auto",
        dtype: Any = "auto",
        embedder: Embedder | None = None,
        max_batch: int = 32,
        max_queue: int = 1024,
        **model_kwargs: Any,
    ) -> Engine:
        """Load base and PersRM and put an engine on them.

        Args:
            model: a hub id, a folder, or a loaded causal LM (then pass its `tokenizer`).
            reward_model: a PersRM folder or hub id (head or text), a loaded `PersRM` or `VectorHead`, "self" (the base
                guides itself: told the preference against not told it), or None (the base alone).
            device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", …
            dtype: "auto" (bfloat16 on CUDA, float32 on the CPU), "bfloat16", "float32", … or a torch dtype.
            embedder: embeds preferences for a head; None loads the sentence embedder the head names, when first needed.
            model_kwargs: passed to transformers for the base (`device_map`, `quantization_config`, …).

        Raises:
            ModelLoadError: a model was not found or cannot be read.
            IncompatibleModelError: base and PersRM do not fit each other.
        """
        from pad_langchain.engine.loading import load_causal_lm
        from pad_langchain.reward.persrm import PersRM, guide_for

        model, tokenizer = load_causal_lm(model, tokenizer, device=device, dtype=dtype, **model_kwargs)
        base = Backbone(model)
        persrm, guide = guide_for(reward_model, base, tokenizer, device=device, dtype=dtype, embedder=embedder)
        engine = cls(base, tokenizer, guide, max_batch=max_batch, max_queue=max_queue)
        assert persrm is None or isinstance(persrm, PersRM)
        engine.persrm = persrm
        return engine

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
        row = self._prepare(request)
        with self._changed:
            if self._closed:
                raise EngineClosedError("The engine is closed and takes no more requests. Make a new one.")
            if len(self._waiting) >= self.max_queue:
                raise EngineBusyError(
                    f"{len(self._waiting)} requests are waiting, which is max_queue. Try again later, or raise "
                    f"max_queue."
                )
            self._waiting.append(row)
            if self._worker is None:
                self._worker = threading.Thread(target=self._run, name="pad-engine", daemon=True)
                self._worker.start()
                # A thread inside torch while the interpreter shuts down aborts the process.
                atexit.register(self.close)
            self._changed.notify_all()
        return row.stream

    def count_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt for the base."""
        return len(self._prompt(request))

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

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # In the caller's thread

    def _prompt(self, request: Request) -> list[int]:
        if request.prompt_ids is not None:
            ids = list(request.prompt_ids)
            bad = [token for token in ids if not 0 <= token < self.base.vocab_size]
            if bad:
                raise InvalidRequestError(
                    f"prompt_ids has to be token ids from 0 to {self.base.vocab_size - 1}, but has {bad[:5]!r}."
                )
        else:
            ids = self.prompts.render(request.messages, request.tools)
        if not ids:
            raise InvalidRequestError("The prompt has no tokens. Pass messages, or prompt_ids with at least one id.")
        return ids

    def _prepare(self, request: Request) -> Row:
        """Everything that can be refused is refused here, before the request costs a neighbour anything."""
        if request.top_k > self.base.vocab_size:
            raise InvalidRequestError(
                f"top_k has to be from 1 to the vocabulary's {self.base.vocab_size} tokens, but is {request.top_k!r}."
            )
        prompt = self._prompt(request)
        room = request.max_tokens
        if self.context is not None:
            room = min(room, self.context - len(prompt))
            if room < 1:
                raise ContextLengthError(
                    f"The prompt has {len(prompt)} tokens, but the model's context is {self.context} and one must be "
                    f"left to "
                    f"write: at most {self.context - 1} are allowed. Drop older messages or shorten the prompt."
                )
        plan = None
        if request.preferences and request.beta != 0.0:
            if self.guide is None:
                raise InvalidRequestError(
                    f"There is no PersRM to guide {len(request.preferences)} preferences with. Load one "
                    f"(reward_model=), pass no "
                    "preferences, or beta=0."
                )
            plan = self.guide.plan(request)
            room = room if plan.room is None else min(room, plan.room)
        generator = torch.Generator()
        if request.seed is None:
            generator.seed()
        else:
            generator.manual_seed(request.seed)
        return Row(
            request=request,
            stream=Stream(request, len(prompt)),
            prompt=prompt,
            plan=plan,
            limit=room,
            text=TextStream(self._backend, request.stop),
            generator=generator,
            grammar=None if request.grammar is None else request.grammar.start(),
        )

    # In the worker's thread

    @torch.inference_mode()
    def _run(self) -> None:
        while self._wait():
            try:
                self._step()
            except Exception as error:  # the thread must live, whatever a model does
                logger.exception("A step of %d rows failed", self.running)
                self._fail_batch(error)
        self._fail_batch(EngineClosedError("The engine was closed while the request ran."))
        with self._changed:
            waiting, self._waiting = list(self._waiting), deque()
        for row in waiting:
            row.stream.fail(EngineClosedError("The engine was closed before the request began."))

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._waiting or self._batch is not None)
            return not self._closed

    def _step(self) -> None:
        """One turn: cancelled rows leave, all others advance by one token, waiting rows join, everybody chooses."""
        self._drop([row for row in self._rows() if row.stream.cancelled], "cancelled")
        if self._batch is not None:
            self._batch.advance()
            self.steps += 1
        self._admit()
        if self._batch is None:
            return
        choices = self._batch.choose()
        leaving = []
        for row, choice in zip(self._batch.rows, choices, strict=True):
            if isinstance(choice, PadError):
                row.stream.fail(choice)
                leaving.append(row)
            elif self._emit(row, choice):
                leaving.append(row)
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
        if kept:
            self._batch.keep(kept)
        else:
            self._batch = None

    def _admit(self) -> None:
        """Prefill waiting rows together; if that fails, one by one, so that only the culprit fails."""
        with self._changed:
            count = min(self.max_batch - self.running, len(self._waiting))
            rows = [self._waiting.popleft() for _ in range(count)]
        for row in rows:
            if row.stream.cancelled:
                row.stream.put(TokenEvent(0, -1, "", 0.0, 0.0, "cancelled"))
        rows = [row for row in rows if not row.stream.cancelled]
        if not rows:
            return
        for batch in self._prefill(rows):
            if self._batch is None:
                self._batch = batch
                continue
            try:
                self._batch.merge(batch)
            except Exception as error:
                # A half-merged cache is useless: these rows fail here, those of the batch in `_run`.
                for row in batch.rows:
                    row.stream.fail(error)
                raise

    def _prefill(self, rows: list[Row]) -> list[Batch]:
        try:
            return [Batch(self.base, self.guide, rows)]
        except Exception as error:
            if len(rows) == 1:
                logger.warning("A request failed in its prefill: %s", error)
                rows[0].stream.fail(error)
                return []
        return [batch for row in rows for batch in self._prefill([row])]

    def _emit(self, row: Row, choice: Choice) -> bool:
        """Turn a choice into the row's next event; True when it was the last."""
        reason: FinishReason | None = None
        if choice.token_id in self._eos:
            text, reason = row.text.flush(), "stop"
        else:
            text, stopped = row.text.push(choice.token_id)
            if row.grammar is not None:
                try:
                    row.grammar.accept(choice.token_id)
                except PadError as error:
                    row.stream.fail(error)
                    return True
            if stopped:
                reason = "stop"
            elif row.grammar is not None and row.grammar.finished:
                text, reason = text + row.text.flush(), "stop"
            elif row.index + 1 >= row.limit:
                text, reason = text + row.text.flush(), "length"
        candidates = tuple(
            Candidate(
                weighed.token_id,
                self._backend.decode([weighed.token_id], skip_special_tokens=False),
                weighed.logprob,
                weighed.reward,
                weighed.score,
            )
            for weighed in choice.weighed
        )
        event = TokenEvent(row.index, choice.token_id, text, choice.logprob, choice.reward, reason, candidates)
        row.index, row.last = row.index + 1, choice.token_id
        row.stream.put(event)
        return reason is not None

    def _fail_batch(self, error: BaseException) -> None:
        rows, self._batch = self._rows(), None
        for row in rows:
            row.stream.fail(error)


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends an answer: the tokenizer's and all of the generation config's."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ends = [configured] if isinstance(configured, int) else list(configured or [])
    if tokenizer.eos_token_id is not None:
        ends.append(tokenizer.eos_token_id)
    return frozenset(ends)
