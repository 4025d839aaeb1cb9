"""Which requests may run, and what their rows cost. Bad requests are refused here, in the caller's thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pad_langchain.engine.protocol import Guide, Plan
from pad_langchain.engine.settings import EngineSettings
from pad_langchain.engine.types import Request
from pad_langchain.errors import ContextLengthError, InvalidRequestError
from pad_langchain.models.prompts import Prompts

__all__ = ["Admission", "Admitted"]


@dataclass(frozen=True, eq=False)
class Admitted:
    """A request that can run.

    Args:
        prompt: its token ids for the base.
        plan: the guide's plan. None means the base decodes alone.
        limit: new tokens at most, 1 or more. The contexts of base and guide have room for them.
    """

    request: Request
    prompt: tuple[int, ...]
    plan: Plan | None
    limit: int

    @property
    def guide_rows(self) -> int:
        """Guide rows per sample."""
        return 0 if self.plan is None else len(self.plan.rows)

    @property
    def reference_rows(self) -> int:
        """Rows of the base's model per sample that an adapter's rows are compared with."""
        return 0 if self.plan is None else len(self.plan.reference_rows)

    @property
    def kv_rows(self) -> int:
        """Rows of KV cache per sample: its own, and those of its guide and reference."""
        riders = self.guide_rows if self.plan is not None and self.plan.longest else 0
        return 1 + riders + self.reference_rows

    @property
    def kv_tokens(self) -> int:
        """Columns that its longest row of KV cache needs in the end."""
        return max(len(self.prompt), 0 if self.plan is None else self.plan.longest) + self.limit


class Admission:
    """Checks the requests of one engine, and tells which of them fit together.

    Args:
        prompts: renders conversations for the base.
        guide: the engine's guide. None means requests with preferences are refused.
        settings: the engine's limits, of which `max_batch` and `max_batch_tokens` are enforced here.
        vocab_size: V of the base's logits.
        context: tokens that the base can hold. None means no limit is known.
    """

    def __init__(
        self, prompts: Prompts, guide: Guide | None, settings: EngineSettings, vocab_size: int, context: int | None
    ) -> None:
        self.prompts, self.guide, self.settings = prompts, guide, settings
        self.vocab_size, self.context = vocab_size, context

    def prompt(self, request: Request) -> tuple[int, ...]:
        """Return the request's prompt for the base as token ids.

        Raises:
            InvalidRequestError: it has none, or ids that the base does not know.
        """
        if request.prompt_ids is not None:
            ids = tuple(request.prompt_ids)
            self._check_ids("prompt_ids", ids)
        else:
            ids = tuple(self.prompts.render(request.messages, request.tools, request.template_kwargs))
        if not ids:
            raise InvalidRequestError("The prompt has no tokens. Pass messages, or prompt_ids with at least one id.")
        return ids

    def _check_ids(self, name: str, ids: Sequence[int]) -> None:
        """Check that the base knows the tokens of the request's field of this name."""
        if bad := [token for token in ids if not 0 <= token < self.vocab_size]:
            raise InvalidRequestError(
                f"{name} has to be token ids from 0 to {self.vocab_size - 1}, but has {bad[:5]!r}."
            )

    def place(self, request: Request) -> Admitted:
        """Return the request with its prompt, the guide's plan, and how many new tokens there is room for.

        Raises:
            InvalidRequestError: it has no prompt, ids that the base does not know, or nothing to guide it.
            ContextLengthError: its prompt leaves no room for a new token.
        """
        prompt, plan, limit = self.prompt(request), self._plan(request), request.max_tokens
        if self.context is not None:
            limit = min(limit, self.context - len(prompt))
            if limit < 1:
                raise ContextLengthError(
                    f"The prompt has {len(prompt)} tokens, but the model's context is {self.context} and one must "
                    f"be left to write: at most {self.context - 1} are allowed. Drop older messages or shorten "
                    "the prompt."
                )
        if plan is not None and plan.room is not None:
            limit = min(limit, plan.room)
        return Admitted(request, prompt, plan, limit)

    def admit(self, request: Request) -> Admitted:
        """Place a request that is to run, and check that its samples fit a batch of their own.

        Raises:
            InvalidRequestError: it cannot run on this engine.
            ContextLengthError: its prompt leaves no room for a new token.
        """
        if request.top_k > self.vocab_size:
            raise InvalidRequestError(
                f"top_k has to be from 1 to the vocabulary's {self.vocab_size} tokens, but is {request.top_k!r}."
            )
        if request.grammar is not None and request.grammar.vocab_size != self.vocab_size:
            raise InvalidRequestError(
                f"The grammar was compiled for {request.grammar.vocab_size} tokens, but the model has "
                f"{self.vocab_size}. Compile it with this engine's `grammars`."
            )
        admitted = self.place(request)
        if request.best_of > self.settings.max_batch or not self.fit([admitted] * request.best_of):
            raise InvalidRequestError(
                f"The request alone needs {admitted.kv_rows * request.best_of} rows of up to {admitted.kv_tokens} "
                f"tokens, but max_batch allows {self.settings.max_batch} samples and max_batch_tokens "
                f"{self.settings.max_batch_tokens} tokens in all. Lower max_tokens, best_of or the "
                "number of preferences, or raise the engine's limits."
            )
        return admitted

    def fit(self, samples: Sequence[Admitted]) -> bool:
        """Whether these may decode together. A cache is as wide as its longest row will be."""
        held = sum(one.kv_rows for one in samples) * max((one.kv_tokens for one in samples), default=0)
        return len(samples) <= self.settings.max_batch and held <= self.settings.max_batch_tokens

    def _plan(self, request: Request) -> Plan | None:
        # Samples are compared by reward even where the reward does not steer them.
        if not request.conditioned or (request.beta == 0.0 and request.best_of == 1):
            return None
        if self.guide is None:
            raise InvalidRequestError(
                f"There is no PersRM to guide {len(request.preferences)} preferences with. Load one (reward_model=), "
                "pass no preferences, or beta=0."
            )
        if request.taste is not None and self.guide.kind != "head":
            raise InvalidRequestError(
                f"A taste is a gate of a head, but the PersRM is of kind {self.guide.kind!r}. Leave it out."
            )
        self._check_ids("contrast_ids", request.contrast_ids or ())
        return replace(self.guide.plan(request), salt=request.salt)
