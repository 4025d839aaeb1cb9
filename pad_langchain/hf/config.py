"""The configuration of `PADForCausalLM`: two models' configurations as one with all their layers."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PreTrainedConfig
from transformers.cache_utils import get_layer_types_and_kwargs
from transformers.configuration_utils import SubConfigSpec

from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.models.prompts import PERSRM_TEMPLATE

__all__ = ["PADConfig"]


class PADConfig(PreTrainedConfig):
    """Base and PersRM as one transformers config. `num_hidden_layers` counts both, so that one cache fits both.

    Args:
        base_config: of the base.
        reward_config: of a text PersRM's model; None for the other kinds.
        guide: "head", "text" or "self" (see `PADForCausalLM`).
        head: the fields of a head's `HeadConfig`.
        value_head: whether a text PersRM has W and b.
        reference: the log-ratio's denominator, "base" or "reference".
        template: how a text PersRM, or the base itself, is told a preference.
        beta, alpha, guide_top_k: guidance strength, plausibility cut and number of candidates where a call names none.

    Raises:
        IncompatibleModelError: the two models cannot share a vocabulary or a cache.
    """

    model_type = "pad"
    sub_configs_defaults = {  # noqa: RUF012  # transformers reads it from the class
        "base_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "reward_config": SubConfigSpec(config_class=AutoConfig, model_type="llama", optional=True),
    }
    # transformers makes dataclass fields of these; its types must be readable at run time.
    base_config: Any = None
    reward_config: Any = None
    guide: str = "self"
    head: Any = None
    value_head: bool = False
    reference: str = "base"
    template: str = PERSRM_TEMPLATE
    beta: float = 1.0
    alpha: float = 0.0
    guide_top_k: int = 10
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        for name, allowed in (("guide", ("head", "text", "self")), ("reference", ("base", "reference"))):
            if getattr(self, name) not in allowed:
                raise InvalidRequestError(f"{name} has to be one of {allowed}, but is {getattr(self, name)!r}.")
        configs = [self.base_config]
        if self.guide != "head":
            configs.append(self.reward_config or self.base_config)
        texts = [config.get_text_config() for config in configs]
        base, other = texts[0], texts[-1]
        if other.vocab_size < base.vocab_size:
            raise IncompatibleModelError(
                f"The PersRM has {other.vocab_size} logits, the base {base.vocab_size}: no common vocabulary. "
                "Use a PersRM with the base's tokenizer."
            )
        windows = {text.sliding_window for text in texts if getattr(text, "sliding_window", None) is not None}
        if len(windows) > 1:
            raise IncompatibleModelError(
                f"Base and PersRM have sliding windows of different sizes ({sorted(windows)}), which one cache cannot "
                "hold. Use ChatPAD or Engine."
            )
        if windows:
            self.sliding_window = windows.pop()
        self.layer_types = [kind for text in texts for kind in get_layer_types_and_kwargs(text)[0]]
        self.num_hidden_layers = len(self.layer_types)
        self.vocab_size, self.hidden_size = base.vocab_size, base.hidden_size
        contexts = [size for text in texts if (size := getattr(text, "max_position_embeddings", None)) is not None]
        if contexts:
            self.max_position_embeddings = min(contexts)
