"""The personalised reward model, PersRM: load, save and score it, and make it the guide of an engine."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pad_langchain.persrm.build import Pair, guide_for, load_engine, load_pair
    from pad_langchain.persrm.head import HeadConfig, VectorHead
    from pad_langchain.persrm.persrm import PersRM
    from pad_langchain.persrm.token_rewards import TokenRewards

__all__ = [
    "HeadConfig",
    "Pair",
    "PersRM",
    "TokenRewards",
    "VectorHead",
    "guide_for",
    "load_engine",
    "load_pair",
]

# torch and the engine come with the first use of a name.
_LAZY = {
    "HeadConfig": "head",
    "Pair": "build",
    "PersRM": "persrm",
    "TokenRewards": "token_rewards",
    "VectorHead": "head",
    "guide_for": "build",
    "load_engine": "build",
    "load_pair": "build",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
