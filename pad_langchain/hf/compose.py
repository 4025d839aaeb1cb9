"""Base and PersRM, from whatever names them, as the parts of one transformers model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn
from transformers import PreTrainedModel

from pad_langchain.defaults import model_folder, reward_folder
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError
from pad_langchain.hf.config import PADConfig
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.ends import end_tokens
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.models.prompts import Prompts
from pad_langchain.persrm.build import guide_for
from pad_langchain.persrm.head import VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_memory.embedding import Embedder

__all__ = ["Parts", "load_parts"]


@dataclass(frozen=True, eq=False)
class Parts:
    """What `PADForCausalLM` is made of; a PersRM has a model, a head, or neither (the base guides itself).

    Args:
        ends: token ids that end an answer; empty: nothing names one.
    """

    config: PADConfig
    base: PreTrainedModel
    reward_model: PreTrainedModel | None
    head: VectorHead | None
    value_head: nn.Linear | None
    ends: frozenset[int]


def load_parts(
    model: Any,
    reward_model: Any,
    *,
    tokenizer: Any,
    device: str,
    dtype: Any,
    embedder: Embedder | None,
    guide_top_k: int | None,
    reference: str,
    **model_kwargs: Any,
) -> Parts:
    """Load base and PersRM; the arguments are those of `PADForCausalLM.compose`, which says what it raises."""
    if isinstance(reward_model, str):
        reward_model = reward_folder(model, reward_model)
    if isinstance(model, str):
        model = model_folder(model)
    model, tokenizer = load_causal_lm(model, tokenizer, device=device, dtype=dtype, **model_kwargs)
    backbone = Backbone(model)
    place: dict[str, Any] = {"device": device, "dtype": dtype}
    persrm, guide = guide_for(reward_model, backbone, tokenizer, embedder=embedder, **place, **model_kwargs)
    if persrm is None or guide is None:
        raise InvalidRequestError(
            "There is no PersRM to compose with: reward_model is None, or 'auto' for a base without one. Pass one, "
            "or use the base alone."
        )
    if persrm.adapter is not None:
        persrm = _merged(persrm, reference)
    if persrm.head is not None:
        persrm.head.check_fits(backbone.hidden_size, backbone.vocab_size)
    _check_vocabulary(backbone, tokenizer, persrm)
    kind = "self" if persrm.kind == "text" and persrm.backbone.model is model else persrm.kind
    reward = persrm.backbone.model if kind == "text" else None
    made: Any = PADConfig  # its fields reach mypy, but not what PreTrainedConfig takes besides
    config = made(
        base_config=model.config,
        reward_config=None if reward is None else reward.config,
        guide=kind,
        head=None if persrm.head is None else vars(persrm.head.config),
        value_head=persrm.value_head is not None,
        reference=reference,
        template=persrm.config.template if persrm.head is None else "",
        beta=guide.recommended.beta,
        alpha=guide.recommended.alpha,
        guide_top_k=guide.recommended.settle(backbone.vocab_size, top_k=guide_top_k)["top_k"],
        attn_implementation={},  # each model keeps the one that it was loaded with
        dtype=model.dtype,
    )
    return Parts(config, model, reward, persrm.head, persrm.value_head, end_tokens(model, tokenizer))


def _merged(persrm: PersRM, reference: str) -> PersRM:
    if reference == "reference":
        raise InvalidRequestError(
            "reference='reference' of an adapter is its backbone without it, which merging takes away. Use "
            "reference='base', or ChatPAD or Engine."
        )
    return persrm.merge()


def _check_vocabulary(base: Backbone, tokenizer: Any, persrm: PersRM) -> None:
    if persrm.backbone is base:
        return
    theirs, ours = Prompts(tokenizer).vocabulary(), persrm.prompts.vocabulary()
    if theirs != ours:
        raise IncompatibleModelError(
            f"The PersRM has a tokenizer of its own ({len(ours)} tokens against the base's {len(theirs)}), and fused "
            "logits need one vocabulary. Use ChatPAD or Engine, which compare the two as bytes."
        )
