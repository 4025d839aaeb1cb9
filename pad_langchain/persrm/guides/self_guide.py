"""The guide of a base without a PersRM: the base itself, told the preference, against the base not told it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pad_langchain.engine.protocol import Base
from pad_langchain.models.prompts import SELF_TEMPLATE, Prompts
from pad_langchain.persrm.guides.text import ModelGuide

if TYPE_CHECKING:
    from pad_langchain.models.backbone import Backbone

__all__ = ["SelfGuide"]


class SelfGuide(ModelGuide):
    """The base as its own guide. Nothing is trained. Its rows ride in the base's forward.

    Args:
        base: the engine's own.
        prompts: the base's tokenizer and chat template.
        template: how the preference is written into the last user turn, with `{preference}` and `{text}`.
        beta, alpha: recommended guidance strength, and plausibility cut in [0, 1].
    """

    def __init__(
        self,
        base: Base,
        prompts: Prompts,
        *,
        template: str = SELF_TEMPLATE,
        beta: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        # Its rows ride: of a backbone, no more is read than any base has.
        super().__init__(cast("Backbone", base), prompts, template=template, beta=beta, alpha=alpha)
        self.kind = "self"
