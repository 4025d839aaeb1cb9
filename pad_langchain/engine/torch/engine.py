"""The engine on torch: what callers see of it. `worker.py` is the thread that owns the models.

submit(Request) → admission → queue → worker: batch, step → Stream of TokenEvents → Completion
"""

from __future__ import annotations

import copy
import logging
import weakref
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import torch

from pad_langchain.engine.admission import Admission, Admitted
from pad_langchain.engine.detokenize import Detokenizer
from pad_langchain.engine.grammar import GrammarCompiler
from pad_langchain.engine.protocol import Capabilities, Engine, Guide
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.stream import Stream
from pad_langchain.engine.torch.best_of import BestOf
from pad_langchain.engine.torch.queue import Queue
from pad_langchain.engine.torch.row import Row, generators
from pad_langchain.engine.torch.worker import StepReport, Worker
from pad_langchain.engine.types import EngineStats, Request
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.compiled import decode_graph
from pad_langchain.models.ends import end_tokens
from pad_langchain.models.packed import pack
from pad_langchain.models.prompts import Prompts
from pad_langchain.models.rows import Rows
from pad_langchain.models.self_test import check_batches

__all__ = ["TorchEngine"]

logger = logging.getLogger(__name__)


class TorchEngine:
    """Decodes requests under guidance, all in one batch.

    It lives until it is closed, or until nobody has it any more and what was submitted is done.

    Args:
        model: a transformers causal LM, loaded.
        tokenizer: its fast tokenizer, with a chat template unless requests bring `prompt_ids`.
        guide: where rewards come from; None decodes the base alone.
        settings: those of `EngineSettings`: `max_batch`, `max_queue`, `max_batch_tokens`, `prefix_tokens`, …

    Raises:
        IncompatibleModelError: the parts do not fit each other, or a model writes in a batch what it does not alone.
        InvalidRequestError: a setting is out of its range.
    """

    capabilities = Capabilities(
        guides=frozenset({"head", "text", "self", "adapter"}), token_rewards=True, hidden_states=True, prefixes=True
    )

    def __init__(self, model: Any, tokenizer: Any, guide: Guide | None = None, **settings: Any) -> None:
        self.settings = EngineSettings(**settings)
        self.base = model if isinstance(model, Backbone) else Backbone(model)
        self.tokenizer: Any = tokenizer
        self.prompts = Prompts(tokenizer)
        self.guide = guide
        if guide is not None:
            guide.bind(self.base, self.prompts)
        # The base and, for a guide with a model of its own, that one.
        own = None if guide is None else guide.backbone
        self.models = list(dict.fromkeys((self.base, own or self.base)))
        for backbone in self.models:
            check_batches(backbone)
            backbone.prefixes.budget = self.settings.prefix_tokens
            if self.settings.pack_weights is True:
                pack(backbone.model, join=not self.settings.compile)
            backbone.graph = decode_graph(backbone.model) if self.settings.compile else None
        self._admission = Admission(self.prompts, guide, self.settings, self.base.vocab_size, self.base.context)
        # A copy: the worker decodes while callers encode.
        self._detokenizer = Detokenizer(copy.deepcopy(tokenizer.backend_tokenizer))
        self._queue = Queue(self.settings.max_queue, self._admission.fit)
        ends = end_tokens(self.base.model, tokenizer)
        self._worker = Worker(self.base, guide, self.models, self._queue, self.settings, ends)
        # Nobody has the engine any more: what runs is finished, then its thread ends and the weights go.
        weakref.finalize(self, self._queue.finish).atexit = False

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError("An engine has a thread and cannot be copied or pickled. Share it, or make another one.")

    @property
    def context(self) -> int | None:
        """Tokens of prompt and answer together that the base can hold; None: no limit known."""
        return self.base.context

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
        return GrammarCompiler(self.tokenizer, self.base.vocab_size, self.end_tokens)

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
        with self._worker.idle():
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

    def close(self, timeout: float | None = 10.0) -> None:
        """Stop: requests in flight and in the queue end with EngineClosedError. Closing twice is fine.

        Args:
            timeout: seconds to wait for the step that is running.
        """
        self._worker.close(timeout)

    def __enter__(self) -> TorchEngine:
        return self

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


_ENGINE: type[Engine] = TorchEngine  # a type checker compares the two
