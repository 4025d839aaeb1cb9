"""A causal LM in torch as engines and PersRMs use it: loaded, split, adapted, packed and compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pad_langchain.lazy import lazy

if TYPE_CHECKING:
    from pad_langchain.models.adapter import Adapter
    from pad_langchain.models.backbone import Backbone
    from pad_langchain.models.byte_vocabulary import ByteVocabulary
    from pad_langchain.models.cpu.packed import pack
    from pad_langchain.models.loading import context_size, load_causal_lm, load_tokenizer
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
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "adapter": "Adapter",
            "backbone": "Backbone",
            "byte_vocabulary": "ByteVocabulary",
            "loading": "context_size load_causal_lm load_tokenizer",
            "cpu.packed": "pack",
            "prompts": "Prompts",
            "rows": "Rows",
        },
    )
