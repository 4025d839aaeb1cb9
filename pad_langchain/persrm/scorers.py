"""Rewards of whole answers, token by token, as each kind of PersRM finds them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch

from pad_langchain.arithmetic.head import harmless
from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts, with_preference
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.hidden import answers
from pad_langchain.persrm.token_rewards import head_gradients, head_rewards, log_probabilities

__all__ = ["HeadScorer", "Prompt", "TextScorer", "TokenScorer", "answer_ids"]

Prompt = str | Sequence[dict[str, Any]]  # one user message, or a conversation as chat-template dicts


class TokenScorer(Protocol):
    """(N pairs of prompt and response, P preferences) → for each pair its tokens' rewards [P, T], float64 nats."""

    def __call__(
        self, pairs: Sequence[tuple[Prompt, str]], preferences: Sequence[str] | np.ndarray
    ) -> list[np.ndarray]: ...


class HeadScorer:
    """A head on the base's hidden states; one reading of an answer serves all preferences.

    Args:
        base: what the head reads.
        prompts: the base's.
        guide: the head's, which knows how preferences become gates.
    """

    def __init__(self, base: Backbone, prompts: Prompts, guide: HeadGuide) -> None:
        self.base, self.prompts, self.guide = base, prompts, guide

    def __call__(
        self, pairs: Sequence[tuple[Prompt, str]], preferences: Sequence[str] | np.ndarray
    ) -> list[np.ndarray]:
        gates_PR = self.guide.gates(preferences)
        found: list[np.ndarray] = [np.zeros(0)] * len(pairs)
        for group in answers(self.base, [answer_ids(self.prompts, *pair) for pair in pairs]):
            for answer in group:
                found[answer.index] = head_rewards(self.base, answer, self.guide.head, self._features_VR, gates_PR)
        return found

    @torch.inference_mode()
    def gradients(self, pairs: Sequence[tuple[Prompt, str]]) -> np.ndarray:
        """φ of N answers, the gradients of their rewards with respect to a gate, at none: [N, R] float64.

        Summed over the tokens and divided by the root of their number, as each token adds a step of chance.
        """
        head = self.guide.head
        found = np.zeros((len(pairs), head.config.rank))
        for group in answers(self.base, [answer_ids(self.prompts, *pair) for pair in pairs]):
            steps = head_gradients(self.base, group, head, self._features_VR)
            phi_NR = torch.stack([steps_TR.sum(0) / len(steps_TR) ** 0.5 for steps_TR in steps])
            found[[answer.index for answer in group]] = harmless(phi_NR, head.harm_KR).double().cpu().numpy()
        return found

    @cached_property
    def _features_VR(self) -> torch.Tensor:
        return self.base.vocabulary_features(self.guide.head.V_DR.detach())


class TextScorer:
    """A causal LM that reads the preference in its prompt, compared with one that does not, or with its own backbone.

    The arguments are those of `PersRM`.
    """

    def __init__(
        self,
        backbone: Backbone,
        prompts: Prompts,
        value_head: torch.nn.Linear | None,
        *,
        adapter: Adapter | None,
        reference: Backbone | None,
        template: str,
    ) -> None:
        self.backbone, self.prompts, self.value_head = backbone, prompts, value_head
        self.adapter, self.reference, self.template = adapter, reference, template

    def __call__(
        self, pairs: Sequence[tuple[Prompt, str]], preferences: Sequence[str] | np.ndarray
    ) -> list[np.ndarray]:
        if isinstance(preferences, np.ndarray) and preferences.dtype.kind == "f":
            raise InvalidRequestError("A text PersRM reads preferences as words, but got embeddings. Pass the texts.")
        told = [
            answer_ids(self.prompts, *pair, preference=str(preference), template=self.template)
            for pair in pairs
            for preference in preferences
        ]
        P = len(preferences)
        same_states = self.reference is None and self.adapter is None
        heads = [self.value_head, None] if same_states else [self.value_head]
        guide_M, *more = log_probabilities(self.backbone, told, heads, adapter=self.adapter, share=P)
        if self.reference is None:
            own_M = (more or log_probabilities(self.backbone, told, share=P))[0]
        else:
            untold_N = log_probabilities(self.reference, [answer_ids(self.prompts, *pair) for pair in pairs])[0]
            own_M = [untold_T for untold_T in untold_N for _ in preferences]
        rewards = [guide_T - own_T for guide_T, own_T in zip(guide_M, own_M, strict=True)]
        return [np.stack(rewards[n : n + P]) for n in range(0, len(rewards), P)]


def answer_ids(
    prompts: Prompts, prompt: Prompt, response: str, *, preference: str | None = None, template: str = ""
) -> tuple[list[int], list[int]]:
    """Token ids of a prompt, and of its response with the end of the turn.

    Args:
        preference: written into the last user turn by `template`; None means nothing is.
    """
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
    if preference is not None:
        messages = with_preference(messages, preference, template)
    end = [] if prompts.turn_end is None else [prompts.turn_end]
    return prompts.render(messages), prompts.encode(response) + end
