"""A chat model for LangChain that aligns to each user while it decodes, on your own machine.

from pad_langchain import ChatPAD

llm = ChatPAD()
llm.invoke("What is copper?", preference="be concise and brief")
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pad_langchain._version import __version__
from pad_langchain.errors import (
    ContextLengthError,
    EngineBusyError,
    EngineClosedError,
    GuideError,
    IncompatibleModelError,
    InvalidRequestError,
    MissingDependencyError,
    ModelLoadError,
    PadError,
)
from pad_langchain.lazy import lazy

if TYPE_CHECKING:
    from pad_langchain.chat.engines import unload
    from pad_langchain.hf.model import PADForCausalLM
    from pad_langchain.langchain.chat_model import ChatPAD
    from pad_langchain.langchain.middleware import PreferenceMiddleware as PreferenceMiddleware
    from pad_langchain.langchain.store import PreferenceStore as PreferenceStore
    from pad_langchain.llama_index import PADLLM as PADLLM
    from pad_langchain.persrm.persrm import PersRM

# PADLLM, PreferenceMiddleware and PreferenceStore need an extra, so `import *` leaves them out.
__all__ = [
    "ChatPAD",
    "ContextLengthError",
    "EngineBusyError",
    "EngineClosedError",
    "GuideError",
    "IncompatibleModelError",
    "InvalidRequestError",
    "MissingDependencyError",
    "ModelLoadError",
    "PADForCausalLM",
    "PadError",
    "PersRM",
    "__version__",
    "unload",
]

# LangChain and torch take seconds to import: they come with the first use of a name, not with the package.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "chat.engines": "unload",
            "hf.model": "PADForCausalLM",
            "langchain.chat_model": "ChatPAD",
            "langchain.middleware": "PreferenceMiddleware",
            "langchain.store": "PreferenceStore",
            "llama_index": "PADLLM",
            "persrm.persrm": "PersRM",
        },
    )
