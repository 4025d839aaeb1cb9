"""The guide of a base without a PersRM: the base itself, told a wish against told its opposite, or against not told."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pad_langchain.engine.protocol import Base, Plan
from pad_langchain.engine.types import Recommended, Request
from pad_langchain.models.prompts import SELF_TEMPLATE, Prompts
from pad_langchain.persrm.guides.text import ModelGuide

if TYPE_CHECKING:
    from pad_langchain.models.backbone import Backbone

__all__ = ["SELF_ALPHA", "SELF_BETA", "SelfGuide"]

SELF_BETA, SELF_ALPHA = 0.5, 0.001  # a small model steered harder leaves the question


class SelfGuide(ModelGuide):
    """The base as its own guide. Nothing is trained. Its rows ride in the base's forward.

    A request with `contrast_ids` has two rows, however many preferences it has: the base's own, whose prompt tells
    them, and one guide row, whose prompt tells their opposites. The reward is w (log p_told − log p_opposite), where w
    is the mean absolute weight of the preferences that are not 0. Their signs are in the words of both prompts, and
    `combine` changes nothing.

    A request without `contrast_ids` has the base's row, which is told nothing, and one guide row per preference, told
    it by the template. Their rewards log p_told − log p_untold add up with their weights.

    Args:
        base: the engine's own.
        prompts: the base's tokenizer and chat template.
        template: how a preference is written into the last user turn, with `{preference}` and `{text}`, where a request
            has no `contrast_ids`.
        beta, alpha: recommended guidance strength, and plausibility cut in [0, 1].
    """

    def __init__(
        self,
        base: Base,
        prompts: Prompts,
        *,
        template: str = SELF_TEMPLATE,
        beta: float = SELF_BETA,
        alpha: float = SELF_ALPHA,
    ) -> None:
        # Its rows ride: of a backbone, no more is read than any base has.
        super().__init__(cast("Backbone", base), prompts, template=template, beta=beta, alpha=alpha)
        self.kind = "self"
        # Among fewer candidates there is neither an emoji nor an early end.
        self.recommended = Recommended(beta, alpha, top_k=50, condition_base=True, wish_place="user")

    def plan(self, request: Request) -> Plan:
        """Plan one row of the request's contrast, or one row per preference.

        Raises:
            InvalidRequestError: there is no contrast, and the conversation has no user turn that is a text.
            ContextLengthError: a prompt leaves no room for a new token.
        """
        if not request.contrast_ids:
            return super().plan(request)
        weights = [abs(preference.weight) for preference in request.preferences if preference.weight]
        strength = sum(weights) / max(1, len(weights))
        return self._planned((-strength,), (tuple(request.contrast_ids),))
