"""What kind of attention a model computes, by its config."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

__all__ = ["attention_of", "has_windows"]


def attention_of(config: Any) -> str | None:
    """Return how a model with this config computes attention: "sdpa", "eager", "flash_attention_2", …

    transformers takes `attn_implementation` as a public setting, but names its outcome in no public place.
    """
    kind: str | None = attrgetter("_attn_implementation")(config)
    return kind


def has_windows(config: Any) -> bool:
    """Whether a model with this config has attention that does not see all earlier tokens."""
    kinds = getattr(config, "layer_types", None)
    return any(kind != "full_attention" for kind in kinds) if kinds else bool(getattr(config, "sliding_window", None))
