"""How PersRMs are made: pairs and settings in, a head or a text PersRM out."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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

_MODULES = {
    "config": ("HeadSettings", "LoraSettings", "Source", "StageSettings", "TrainConfig"),
    "data": ("load_pairs", "read_pairs", "split_pairs", "write_pairs"),
    "head": ("HeadTrainer",),
    "layouts": ("Pair",),
    "run": ("train",),
    "wordings": ("CatalogueWordings", "Worded", "Wordings"),
}
_LAZY = {name: module for module, names in _MODULES.items() for name in names}  # torch comes with the first use


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
