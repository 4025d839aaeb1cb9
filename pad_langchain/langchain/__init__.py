"""LangChain and LangGraph: a chat model, a middleware and a store that know their user, and a reader of wishes."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pad_langchain.langchain.chat_model import ChatPAD
    from pad_langchain.langchain.middleware import PreferenceMiddleware
    from pad_langchain.langchain.reader import ChatReader
    from pad_langchain.langchain.store import PreferenceStore

__all__ = ["ChatPAD", "ChatReader", "PreferenceMiddleware", "PreferenceStore"]

# The middleware and the store need an extra, the reader the memory: each comes with its first use.
_LAZY = {
    "ChatPAD": "pad_langchain.langchain.chat_model",
    "ChatReader": "pad_langchain.langchain.reader",
    "PreferenceMiddleware": "pad_langchain.langchain.middleware",
    "PreferenceStore": "pad_langchain.langchain.store",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
