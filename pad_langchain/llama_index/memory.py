"""LlamaIndex's view of the preference memory: a block of its `Memory`, and the memory's embedder as its embeddings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.llms.types import ChatMessage, MessageRole
from llama_index.core.memory import BaseMemoryBlock
from pydantic import Field, model_validator

from pad_langchain.chat.names import KnownNames
from pad_langchain.chat.routes import in_words
from pad_langchain.errors import InvalidRequestError
from pad_langchain.llama_index.pickled import Pickled
from pad_memory import SentenceEmbedder

__all__ = ["PADEmbedding", "PreferenceMemoryBlock"]


class PreferenceMemoryBlock(KnownNames, BaseMemoryBlock[str]):
    """What a user likes, in words, as a block of LlamaIndex's `Memory`, for any LLM.

    It is stateless: one block serves many sessions, each call gives what is known about that call's user and nobody
    else, and feedback shows at once. It learns nothing from the conversation; `PreferenceMemory.record` is for that.

    Args:
        memory: a `pad_memory.PreferenceMemory`; sessions may share it.
        user_id: whose preferences: an id, or a function from the session's id to the user's id (None: nobody's). A
            `user_id` passed to `Memory.get` goes first. What holds in one conversation only is told in the session of
            its id, or of a `thread_id` passed to `Memory.get`.
        budget: preferences at most.

    `PADLLM` with the same memory is steered by it already: give it the block only to tell the model in words as well.
    """

    name: str = "preferences"
    description: str | None = "How the user likes to be answered."
    memory: Any = Field(exclude=True, repr=False)
    user_id: str | Callable[[str], str | None]
    budget: int = 5

    async def _aget(
        self, messages: list[ChatMessage] | None = None, session_id: str | None = None, **block_kwargs: Any
    ) -> str:
        """Word the preferences of this call's user; "" where there are none."""
        user = block_kwargs.get("user_id", self.user_id)
        if callable(user):
            if session_id is None:
                raise InvalidRequestError(
                    "user_id is a function of the session id, but this call has none. Pass session_id or user_id."
                )
            user = user(session_id)
        if user is None:
            return ""
        query = next((one.content for one in reversed(messages or []) if one.role == MessageRole.USER), None)
        thread = block_kwargs.get("thread_id", session_id)
        condition = await asyncio.to_thread(self.memory.condition, user, query=query, thread=thread, budget=self.budget)
        return in_words(condition)

    async def _aput(self, messages: list[ChatMessage]) -> None:
        """Keep nothing: what is recalled must not be learned again as if the user had said it."""


class PADEmbedding(Pickled, KnownNames, BaseEmbedding):
    """The memory's sentence embedder as LlamaIndex embeddings: one model for retrieval and for preferences.

    Args:
        embedder: a `pad_memory.Embedder`; by default the offline-capable `SentenceEmbedder()`.
    """

    embedder: Any = Field(default_factory=SentenceEmbedder, exclude=True, repr=False)

    @model_validator(mode="after")
    def _set_name(self) -> Self:
        self.model_name = self.embedder.name
        return self

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self.embedder.embed(texts).tolist()
        return vectors

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._get_text_embedding(query)

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await asyncio.to_thread(self._get_text_embeddings, texts)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await asyncio.to_thread(self._get_text_embedding, text)

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await asyncio.to_thread(self._get_query_embedding, query)
