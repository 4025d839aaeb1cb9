"""The personalised reward model, PersRM: load, save and score it, and make it the guide of an engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pad_langchain.lazy import lazy

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
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "build": "Pair guide_for load_engine load_pair",
            "head": "HeadConfig VectorHead",
            "persrm": "PersRM",
            "token_rewards": "TokenRewards",
        },
    )
