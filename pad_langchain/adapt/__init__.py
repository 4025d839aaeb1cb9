"""How a head for any base is made without data: the base answers prompts, and learns from its own answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pad_langchain.lazy import lazy

if TYPE_CHECKING:
    from pad_langchain.adapt.config import AdaptConfig, ChoiceSettings, FilterSettings, FitSettings, SampleSettings
    from pad_langchain.adapt.lessons.features import Features
    from pad_langchain.adapt.poles import Dimension, Pole, read_poles
    from pad_langchain.adapt.prompts import Prompt, Split, read_prompts, split
    from pad_langchain.adapt.run import adapt

__all__ = [
    "AdaptConfig",
    "ChoiceSettings",
    "Dimension",
    "Features",
    "FilterSettings",
    "FitSettings",
    "Pole",
    "Prompt",
    "SampleSettings",
    "Split",
    "adapt",
    "read_poles",
    "read_prompts",
    "split",
]

# torch comes with the first use of a name.
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "config": "AdaptConfig ChoiceSettings FilterSettings FitSettings SampleSettings",
            "lessons.features": "Features",
            "poles": "Dimension Pole read_poles",
            "prompts": "Prompt Split read_prompts split",
            "run": "adapt",
        },
    )
