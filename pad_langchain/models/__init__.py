"""A causal LM in torch as engines and PersRMs use it: loaded, split in decoder and head, adapted, packed, compiled."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pad_langchain.models.adapter import Adapter
    from pad_langchain.models.backbone import Backbone
    from pad_langchain.models.byte_vocabulary import ByteVocabulary
    from pad_langchain.models.loading import context_size, load_causal_lm, load_tokenizer
    from pad_langchain.models.packed import pack
    from pad_langchain.models.prompts import Prompts
    from pad_langchain.models.rows import Rows

__all__ = [
    "Adapter",
    "Backbone",
    "ByteVocabulary",
    "Prompts",
    "Rows",
    "context_size",
    "load_causal_lm",
    "load_tokenizer",
    "pack",
]

# Prompts and context sizes need no torch; it comes with the first use of a name that does.
_LAZY = {
    "Adapter": "adapter",
    "Backbone": "backbone",
    "ByteVocabulary": "byte_vocabulary",
    "Prompts": "prompts",
    "Rows": "rows",
    "context_size": "loading",
    "load_causal_lm": "loading",
    "load_tokenizer": "loading",
    "pack": "packed",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
