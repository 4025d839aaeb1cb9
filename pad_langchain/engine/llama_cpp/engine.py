"""The engine on llama.cpp: a GGUF model guided by a head, or by itself."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from threadpoolctl import ThreadpoolController

from pad_langchain.engine.admission import Admission, Admitted
from pad_langchain.engine.llama_cpp.base import LlamaBase
from pad_langchain.engine.llama_cpp.batch import LlamaBatch
from pad_langchain.engine.llama_cpp.binding import FORKED, Context, load_binding
from pad_langchain.engine.llama_cpp.cores import free_cores
from pad_langchain.engine.llama_cpp.kept import KeptSequences
from pad_langchain.engine.llama_cpp.sequences import Sequences
from pad_langchain.engine.local.engine import LocalEngine
from pad_langchain.engine.local.row import Row
from pad_langchain.engine.protocol import Capabilities, Engine, Guide
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.types import EngineStats
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models.ends import end_tokens
from pad_langchain.models.prompts import Prompts

__all__ = ["LlamaCppEngine"]

logger = logging.getLogger(__name__)

# Keys and values take their memory at once, and what is kept is copied: less of both than on torch.
CELLS = 8192
KEPT = 4096


class LlamaCppEngine(LocalEngine):
    """Decodes requests under guidance with llama.cpp, all in one batch.

    It lives until it is closed, or until no reference to it is left and all submitted requests are done. A forked child
    cannot use it.

    Args:
        base: the model.
        tokenizer: its fast tokenizer from transformers, with a chat template unless requests bring `prompt_ids`.
        guide: a guide of kind "head" or "self". None means the base decodes alone.
        settings: `max_batch`, `max_queue`, `max_batch_tokens` and `prefix_tokens` of `EngineSettings`. The defaults of
            the last two are 8,192 tokens or one whole context, whichever is more, and 4,096 tokens. Where sequences
            hold their keys and values apart (`unified_kv=False`), it is a whole context for each, or their share.

    Raises:
        IncompatibleModelError: the parts do not fit each other, or the guide needs torch.
        EngineMemoryError: there is no memory for keys and values of `max_batch_tokens`.
        InvalidRequestError: a setting is out of its range.
    """

    capabilities = Capabilities(guides=frozenset({"head", "self"}), token_rewards=True, prefixes=True)

    def __init__(self, base: LlamaBase, tokenizer: Any, guide: Guide | None = None, **settings: Any) -> None:
        self.base, self.models = base, [base]
        prompts = Prompts(tokenizer)
        if guide is not None:
            if guide.kind not in self.capabilities.guides:
                raise IncompatibleModelError(
                    f"A PersRM of kind {guide.kind!r} runs a model of its own, which llama.cpp cannot do here; it can "
                    f"run {sorted(self.capabilities.guides)}. Pass backend='torch', or a head as reward_model."
                )
            guide.bind(base, prompts)
        self.threads = base.settings.threads or free_cores()
        limits, sequences, longest = _room(base, guide, settings)
        admission = _Admission(prompts, guide, limits, base.vocab_size, longest)
        admission.sequences = sequences
        context = Context(base.model, base.settings, self.threads, limits.max_batch_tokens, sequences)
        base.check_logits(context)
        self._kept = KeptSequences(limits.prefix_tokens)
        self._sequences = Sequences(context, self._kept)
        models = _Models(base, guide, self._sequences)
        super().__init__(models, tokenizer, guide, admission, base.file.end_tokens | end_tokens(None, tokenizer))
        logger.info(
            "llama.cpp decodes %s on %d threads, %d tokens of keys and values as %s",
            base.file.path,
            self.threads,
            limits.max_batch_tokens,
            base.settings.kv_type,
        )

    @property
    def stats(self) -> EngineStats:
        """What the model has done since the engine was made."""
        tally = self._sequences.tally
        return EngineStats(tally.forwards, tally.prefilled, tally.reused)

    def forget_prefixes(self) -> None:
        """Drop all kept keys and values of prompts. Requests that still run may leave theirs when they end."""
        self._kept.clear()

    def __enter__(self) -> LlamaCppEngine:
        return self


def _room(base: LlamaBase, guide: Guide | None, settings: Mapping[str, Any]) -> tuple[EngineSettings, int, int]:
    """The engine's limits, how many sequences its context has, and how many tokens each of them may hold.

    Raises:
        InvalidRequestError: a setting is out of its range, or there are more sequences than llama.cpp can hold apart.
    """
    limits = EngineSettings(**{"max_batch_tokens": max(CELLS, base.context), "prefix_tokens": KEPT, **settings})
    most = load_binding().llama_max_parallel_sequences()
    if base.settings.unified_kv:
        return limits, min(most, 4 * limits.max_batch), base.context
    sequences = limits.max_batch * (2 if guide is not None and guide.kind == "self" else 1)
    cells = settings.get("max_batch_tokens", sequences * base.context)
    if sequences > most or cells < sequences:
        raise InvalidRequestError(
            f"With unified_kv=False {sequences} sequences have keys and values of their own, of {cells} tokens in all; "
            f"llama.cpp can hold {most} apart, and each needs a token at least. Lower max_batch, raise "
            "max_batch_tokens, or leave unified_kv out."
        )
    return replace(limits, max_batch_tokens=cells), sequences, min(base.context, cells // sequences)


class _Admission(Admission):
    """Rows here take no padding, and the context holds a limited number of sequences."""

    sequences: int

    def fit(self, samples: Sequence[Admitted]) -> bool:
        return (
            len(samples) <= self.settings.max_batch
            and sum(one.kv_rows for one in samples) <= self.sequences
            and sum(one.kv_rows * one.kv_tokens for one in samples) <= self.settings.max_batch_tokens
        )


class _Models:
    """Opens batches in the engine's context."""

    def __init__(self, base: LlamaBase, guide: Guide | None, sequences: Sequences) -> None:
        self.base, self.guide, self.sequences = base, guide, sequences
        self._alone = False

    def open(self, groups: Sequence[Sequence[Row]]) -> LlamaBatch:
        if not self._alone:
            _stay_on_one_thread()
            self._alone = True
        return LlamaBatch(self.base, self.guide, self.sequences, [row for group in groups for row in group])

    def again(self, row: Row) -> LlamaBatch:
        batch = self.open([[row]])
        try:
            batch.finish_prompts()
        except BaseException:
            batch.close()
            raise
        return batch

    def spare(self) -> bool:
        kept = len(self.sequences.kept) > 0
        self.sequences.kept.clear()
        return kept

    def begin_anew(self) -> str:
        return FORKED


def _stay_on_one_thread() -> None:
    """Keep torch's work in the calling thread, as its helpers would take cores from llama.cpp's spinning threads."""
    import torch

    torch.get_num_threads()  # sets this thread's number, once
    for library in ThreadpoolController().select(internal_api="openmp").lib_controllers:
        library.set_num_threads(1)  # OpenMP's number is the calling thread's alone; llama.cpp names its own


_ENGINE: type[Engine] = LlamaCppEngine  # a type checker compares the two
