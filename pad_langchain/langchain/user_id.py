"""A chat model whose calls know their user and thread: ids are lifted from the config, and batches wait together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatResult, LLMResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, get_config_list
from typing_extensions import override

__all__ = ["UserChatModel", "thread_of"]

# What one batch asks for at the same time: the engine decodes this many side by side.
_BATCH_WIDTH = 32
# Who may ask at the same time among the prompts of one `agenerate`, whose tasks inherit it.
_turns: ContextVar[asyncio.Semaphore] = ContextVar("turns")


class UserChatModel(BaseChatModel):
    """A `BaseChatModel` that lifts `user_id`, `thread_id` and `private` of `config["configurable"]` into keywords.

    LangChain drops the config's values on a direct call. As keywords, they reach `_stream` and the cache's key.
    """

    def _lift(self, config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        configured = ensure_config(config).get("configurable", {})
        if "user_id" not in kwargs and configured.get("user_id") is not None:
            kwargs["user_id"] = configured["user_id"]
        if "thread_id" not in kwargs and (thread := thread_of(configured)) is not None:
            kwargs["thread_id"] = thread
        if "private" not in kwargs and configured.get("private") is not None:
            kwargs["private"] = configured["private"]
        return kwargs

    @override
    def invoke(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        return super().invoke(input, config, **self._lift(config, kwargs))

    @override
    async def ainvoke(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AIMessage:
        return await super().ainvoke(input, config, **self._lift(config, kwargs))

    @override
    def stream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        yield from super().stream(input, config, **self._lift(config, kwargs))

    @override
    async def astream(
        self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        stream = super().astream(input, config, **self._lift(config, kwargs))
        async with aclosing(stream) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk

    @override
    def stream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return super().stream_events(input, config, **self._lift(config, kwargs))

    @override
    def astream_events(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return super().astream_events(input, config, **self._lift(config, kwargs))

    @property
    def batch_width(self) -> int:
        """How many inputs of one batch ask the engine at the same time, unless `max_concurrency` says otherwise."""
        return _BATCH_WIDTH

    def _wide(self, config: Any, count: int) -> list[RunnableConfig]:
        """Let `count` inputs wait at the same time unless the config sets its own limit; the rest wait for them."""
        width = max(1, min(count, self.batch_width))
        return [{"max_concurrency": width, **_without_none(each)} for each in get_config_list(config, max(count, 1))]

    @override
    def batch(self, inputs: list[Any], config: Any = None, **kwargs: Any) -> list[AIMessage]:
        """Answer many inputs at once; all of them share the engine's batches, each with its own user and settings."""
        return super().batch(inputs, self._wide(config, len(inputs)), **kwargs)

    @override
    def batch_as_completed(self, inputs: Sequence[Any], config: Any = None, **kwargs: Any) -> Iterator[Any]:
        yield from super().batch_as_completed(inputs, self._wide(config, len(inputs)), **kwargs)

    @override
    async def abatch(self, inputs: list[Any], config: Any = None, **kwargs: Any) -> list[AIMessage]:
        """`batch` for an event loop, however many inputs: no more of them are in the engine's queue at a time."""
        return await super().abatch(inputs, self._wide(config, len(inputs)), **kwargs)

    @override
    async def abatch_as_completed(self, inputs: Sequence[Any], config: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        done = super().abatch_as_completed(inputs, self._wide(config, len(inputs)), **kwargs)
        async with aclosing(done) as answers:  # type: ignore[type-var]
            async for answer in answers:
                yield answer

    @override
    async def agenerate(self, messages: list[Any], *args: Any, **kwargs: Any) -> LLMResult:
        """Answer many conversations, as many at a time as `abatch` does."""
        token = _turns.set(asyncio.Semaphore(self.batch_width))
        try:
            return await super().agenerate(messages, *args, **kwargs)
        finally:
            _turns.reset(token)

    @override
    async def _agenerate_with_cache(self, *args: Any, **kwargs: Any) -> ChatResult:
        async with _turns.get():
            return await super()._agenerate_with_cache(*args, **kwargs)


def thread_of(configured: Mapping[str, Any]) -> str | None:
    """The id of the conversation in a config's values as text: LangGraph takes numbers and UUIDs, too."""
    thread = str(configured.get("thread_id") or "")
    return thread if thread.strip() else None


def _without_none(config: RunnableConfig) -> Any:
    return {name: value for name, value in config.items() if value is not None}
