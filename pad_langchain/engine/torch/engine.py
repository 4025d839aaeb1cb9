"""The engine on torch: its models, its capabilities, and how to compile them beforehand."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from pad_langchain.engine.admission import Admission
from pad_langchain.engine.local.engine import LocalEngine
from pad_langchain.engine.local.row import Row
from pad_langchain.engine.protocol import Capabilities, Engine, Guide
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.torch.batch import Batch
from pad_langchain.engine.types import EngineStats
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.compiled import decode_graph
from pad_langchain.models.cpu.packed import pack
from pad_langchain.models.ends import end_tokens
from pad_langchain.models.kv.prefixes import PrefixStore
from pad_langchain.models.prompts import Prompts
from pad_langchain.models.rows import Rows
from pad_langchain.models.self_test import check_batches

__all__ = ["TorchEngine"]

logger = logging.getLogger(__name__)


class TorchEngine(LocalEngine):
    """Decodes requests under guidance, all in one batch.

    It lives until it is closed, or until no reference to it is left and all submitted requests are done.

    Args:
        model: a loaded transformers causal LM, or its `Backbone`.
        tokenizer: its fast tokenizer, with a chat template unless requests bring `prompt_ids`.
        guide: the source of rewards. None means the base decodes alone.
        settings: those of `EngineSettings`: `max_batch`, `max_queue`, `max_batch_tokens`, `prefix_tokens`, …

    Raises:
        IncompatibleModelError: the parts do not fit each other, or a model writes other tokens in a batch than alone.
        InvalidRequestError: a setting is out of its range.
    """

    capabilities = Capabilities(
        guides=frozenset({"head", "text", "self", "adapter"}), token_rewards=True, prefixes=True
    )

    def __init__(self, model: Any, tokenizer: Any, guide: Guide | None = None, **settings: Any) -> None:
        limits = EngineSettings(**settings)
        self.base = model if isinstance(model, Backbone) else Backbone(model)
        prompts = Prompts(tokenizer)
        if guide is not None:
            guide.bind(self.base, prompts)
        # The base and, for a guide with a model of its own, that one.
        own = None if guide is None else guide.backbone
        self.models = list(dict.fromkeys((self.base, own or self.base)))
        for backbone in self.models:
            check_batches(backbone)
            backbone.prefixes.budget = limits.prefix_tokens
            if limits.pack_weights is True:
                pack(backbone.model, join=not limits.compile)
            backbone.graph = decode_graph(backbone.model) if limits.compile else None
        admission = Admission(prompts, guide, limits, self.base.vocab_size, self.base.context)
        models = _Models(self.base, guide, self.models)
        super().__init__(models, tokenizer, guide, admission, end_tokens(self.base.model, tokenizer))

    @property
    def stats(self) -> EngineStats:
        """What the models have done since the engine was made."""
        tallies = [backbone.tally for backbone in self.models]
        return EngineStats(
            forwards=sum(tally.forwards for tally in tallies),
            prefilled_tokens=sum(tally.prefilled for tally in tallies),
            reused_tokens=sum(tally.reused for tally in tallies),
        )

    @torch.inference_mode()
    def warm_up(self, rows: Sequence[int] = (1, 2, 4, 8, 16), columns: Sequence[int] = (192, 384, 768)) -> float:
        """Compile the decode step, and capture its CUDA graphs, before the first request. Blocks for minutes.

        Args:
            rows: how many rows will decode together, those of guides included.
            columns: how many tokens prompt and answer will have. Both are rounded up. Other sizes are compiled at
                their first use.

        Returns:
            the seconds it took. 0.0 means nothing is compiled (see `EngineSettings.compile`).

        Raises:
            EngineBusyError: requests are running or waiting.
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

    def __enter__(self) -> TorchEngine:
        return self


class _Models:
    """Opens batches on the base and on the guide's own model, if it has one."""

    def __init__(self, base: Backbone, guide: Guide | None, models: Sequence[Backbone]) -> None:
        self.base, self.guide, self.models = base, guide, models

    def open(self, groups: Sequence[Sequence[Row]]) -> Batch:
        return Batch(self.base, self.guide, groups)

    def again(self, row: Row) -> Batch:
        return Batch.again(self.base, self.guide, row)

    def spare(self) -> bool:
        kept = any(len(backbone.prefixes) for backbone in self.models)
        for backbone in self.models:
            backbone.prefixes.clear()
        return kept

    def begin_anew(self) -> str:
        if any(backbone.device.type != "cpu" for backbone in self.models):
            return (
                f"The engine was made before the process forked, and its model is on {self.base.device}, which a "
                "forked process cannot use. Make the engine in the child (gunicorn: without preload_app), or start "
                'processes with "spawn".'
            )
        for backbone in self.models:
            backbone.prefixes = PrefixStore(backbone.prefixes.budget)
        return ""


_ENGINE: type[Engine] = TorchEngine  # a type checker compares the two
