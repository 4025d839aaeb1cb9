"""How PersRMs are made: pairs and settings in, a head or a text PersRM out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pad_langchain.lazy import lazy

if TYPE_CHECKING:
    from pad_langchain.training.config import HeadSettings, LoraSettings, Source, StageSettings, TrainConfig
    from pad_langchain.training.data import load_pairs, read_pairs, split_pairs, write_pairs
    from pad_langchain.training.head import HeadTrainer
    from pad_langchain.training.layouts import Pair
    from pad_langchain.training.run import train
    from pad_langchain.training.wordings import CatalogueWordings, Worded, Wordings

__all__ = [
    "CatalogueWordings",
    "HeadSettings",
    "HeadTrainer",
    "LoraSettings",
    "Pair",
    "Source",
    "StageSettings",
    "TrainConfig",
    "Worded",
    "Wordings",
    "load_pairs",
    "read_pairs",
    "split_pairs",
    "train",
    "write_pairs",
]

# torch comes with the first use of a name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "config": "HeadSettings LoraSettings Source StageSettings TrainConfig",
            "data": "load_pairs read_pairs split_pairs write_pairs",
            "head": "HeadTrainer",
            "layouts": "Pair",
            "run": "train",
            "wordings": "CatalogueWordings Worded Wordings",
        },
    )
