"""Requests into rows: what can be refused is refused here, in the caller's thread, and what rows cost is known."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from pad_langchain.engine.detokenize import Detokenizer
from pad_langchain.engine.protocol import Guide, Plan
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.stream import BestOf, Stream
from pad_langchain.engine.torch.batch import Row, Weighed
from pad_langchain.engine.types import Candidate, Request
from pad_langchain.errors import ContextLengthError, InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts

__all__ = ["Admission"]


class Admission:
    """Prepares requests for one engine, and says which of them fit together.

    Args:
        base, prompts, guide: the engine's.
        tokenizer: the base's; it is copied, for the worker decodes while callers encode.
        settings: the engine's; `max_batch` and `max_batch_tokens` are kept here.
    """

    def __init__(
        self, base: Backbone, prompts: Prompts, guide: Guide | None, tokenizer: Any, settings: EngineSettings
    ) -> None:
        self.base, self.prompts, self.guide, self.settings = base, prompts, guide, settings
        self.detokenizer = Detokenizer(copy.deepcopy(tokenizer.backend_tokenizer))

    def prompt(self, request: Request) -> list[int]:
        """The request's prompt for the base as token ids.

        Raises:
            InvalidRequestError: it has none, or ids that the base does not know.
        """
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

    def prepare(self, request: Request) -> tuple[Stream, list[Row]]:
        """The caller's stream and the rows that fill it: one, or one for each sample of best-of-n.

        Raises:
            InvalidRequestError: the request cannot run on this engine; ContextLengthError: its prompt is too long.
        """
        if request.top_k > self.base.vocab_size:
            raise InvalidRequestError(
                f"top_k has to be from 1 to the vocabulary's {self.base.vocab_size} tokens, but is {request.top_k!r}."
            )
        prompt, plan, limit = self._place(request)
        stream = Stream(request, len(prompt))
        streams = [stream] if request.best_of == 1 else BestOf(stream, request.best_of).samples
        rows = [
            Row(
                request=request,
                stream=one,
                prompt=prompt,
                plan=plan,
                limit=limit,
                text=self.detokenizer.stream(request.stop, request.visible),
                generator=generator,
                grammar=None if request.grammar is None else request.grammar.start(),
            )
            for one, generator in zip(streams, _generators(request.seed, len(streams)), strict=True)
        ]
        if not self.fit(rows):
            raise InvalidRequestError(
                f"The request alone needs {sum(row.kv_rows for row in rows)} rows of up to {rows[0].kv_tokens} tokens, "
                f"but max_batch allows {self.settings.max_batch} samples and max_batch_tokens "
                f"{self.settings.max_batch_tokens} tokens in all. Lower max_tokens, best_of or the "
                "number of preferences, or raise the engine's limits."
            )
        return stream, rows

    def room(self, request: Request) -> int:
        """New tokens that the request wants and every context leaves room for."""
        return self._place(request)[2]

    def candidate(self, weighed: Weighed) -> Candidate:
        """A candidate with its text."""
        text = self.detokenizer.decode([weighed.token_id])
        return Candidate(weighed.token_id, text, weighed.logprob, weighed.reward, weighed.score)

    def fit(self, rows: Sequence[Row]) -> bool:
        """Whether these rows may decode together: caches are as wide as the longest row will be."""
        held = sum(row.kv_rows for row in rows) * max((row.kv_tokens for row in rows), default=0)
        return len(rows) <= self.settings.max_batch and held <= self.settings.max_batch_tokens

    def _plan(self, request: Request) -> Plan | None:
        # Samples are compared by reward even where the reward does not steer them.
        if not request.preferences or (request.beta == 0.0 and request.best_of == 1):
            return None
        if self.guide is None:
            raise InvalidRequestError(
                f"There is no PersRM to guide {len(request.preferences)} preferences with. Load one (reward_model=), "
                "pass no preferences, or beta=0."
            )
        return self.guide.plan(request)

    def _place(self, request: Request) -> tuple[list[int], Plan | None, int]:
        """The prompt, the guide's plan, and how many new tokens there is room for."""
        prompt, plan, limit = self.prompt(request), self._plan(request), request.max_tokens
        if self.base.context is not None:
            limit = min(limit, self.base.context - len(prompt))
            if limit < 1:
                raise ContextLengthError(
                    f"The prompt has {len(prompt)} tokens, but the model's context is {self.base.context} and one must "
                    f"be left to write: at most {self.base.context - 1} are allowed. Drop older messages or shorten "
                    "the prompt."
                )
        return prompt, plan, limit if plan is None or plan.room is None else min(limit, plan.room)


def _generators(seed: int | None, count: int) -> list[torch.Generator]:
    """One generator a sample; the first is the request's own seed."""
    generators = [torch.Generator() for _ in range(count)]
    if seed is None:
        for generator in generators:
            generator.seed()
        return generators
    generators[0].manual_seed(seed)
    source = torch.Generator().manual_seed(seed)
    for generator in generators[1:]:
        generator.manual_seed(int(torch.randint(2**62, (), generator=source)))
    return generators
