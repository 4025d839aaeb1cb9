"""The guide of a base without a PersRM: the base itself, told the preference, against the base not told it."""

from __future__ import annotations

from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import SELF_TEMPLATE, Prompts
from pad_langchain.persrm.guides.text import ModelGuide

__all__ = ["SelfGuide"]


class SelfGuide(ModelGuide):
    """The base guides itself; nothing is trained. Its rows ride in the base's forward.

    Args:
        base: the engine's own backbone.
        prompts: the base's tokenizer and chat template.
        template: how the preference is written into the last user turn.
        beta, alpha: recommended guidance strength and plausibility cut.
    """

    def __init__(
        self,
        base: Backbone,
        prompts: Prompts,
        *,
        template: str = SELF_TEMPLATE,
        beta: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        super().__init__(base, prompts, template=template, beta=beta, alpha=alpha)
        self.kind = "self"
