"""LangChain and LangGraph: a chat model, a middleware and a store that know their user, and a reader of wishes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pad_langchain.lazy import lazy

if TYPE_CHECKING:
    from pad_langchain.langchain.chat_model import ChatPAD
    from pad_langchain.langchain.middleware import PreferenceMiddleware
    from pad_langchain.langchain.reader import ChatReader
    from pad_langchain.langchain.store import PreferenceStore

__all__ = ["ChatPAD", "ChatReader", "PreferenceMiddleware", "PreferenceStore"]

# The middleware and the store need an extra, the reader the memory: each comes with its first use.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "chat_model": "ChatPAD",
            "middleware": "PreferenceMiddleware",
            "reader": "ChatReader",
            "store": "PreferenceStore",
        },
    )
