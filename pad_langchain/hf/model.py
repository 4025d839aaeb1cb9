"""Guided decoding as a transformers model: `forward` returns fused logits, so whatever `generate()` does is guided.

    model = PADForCausalLM.compose("path/to/base", "path/to/persrm")
    inputs = model.encode(tokenizer, ["Explain entropy"], [["be concise"]])
    model.generate(**inputs, num_beams=4)

Scores are METHOD's Eq. 13 by `engine.scoring`: z + beta * r on the K candidates, -inf elsewhere; beta = 0 is the base's
own logits over the whole vocabulary. Base and text PersRM share one ordinary cache: its first Lb layers are the base's,
the others the PersRM's, and each model sees a view. Both prompts are left-padded to one width, so that a column of one
is a column of the other, and from the prompts' end on both hold the same token.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation.configuration_utils import GenerationMode
from transformers.modeling_outputs import CausalLMOutputWithPast

from pad_langchain.arithmetic.scoring import candidate_rewards, guided_scores, plausible, take_candidates
from pad_langchain.defaults import DEMO_MODEL, model_folder, reward_folder
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import GuideError, IncompatibleModelError, InvalidRequestError
from pad_langchain.hf.config import PADConfig
from pad_langchain.hf.generate import GuidedGeneration, Preference, joined, left_padded, same_shape, weighted
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.ends import end_tokens
from pad_langchain.models.loading import load_causal_lm
from pad_langchain.models.prompts import Prompts, with_preference
from pad_langchain.persrm.build import guide_for
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.persrm.persrm import PersRM
from pad_memory.embedding import Embedder

__all__ = ["PADConfig", "PADForCausalLM"]

Conversation = str | Sequence[dict[str, Any]]


class PADForCausalLM(GuidedGeneration, PreTrainedModel, GenerationMixin):  # type: ignore[misc]
    """A base and its PersRM as one causal LM. Make one with `compose` or `from_pretrained`.

    The PersRM is a head on the base's hidden state ("head"), a second causal LM of the same vocabulary ("text"), or the
    base itself, told the preference ("self"). A batch row has one guide row: preferences of a head add up in its gate,
    those of a text PersRM are joined in its prompt.

    Raises:
        IncompatibleModelError: the parts do not fit each other.
        GuideError: from `forward`, where the PersRM returns NaN (a compiled step does not look).
    """

    config_class = PADConfig
    config: PADConfig
    main_input_name = "input_ids"
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _supported_generation_modes = (
        GenerationMode.GREEDY_SEARCH,
        GenerationMode.SAMPLE,
        GenerationMode.BEAM_SEARCH,
        GenerationMode.BEAM_SAMPLE,
        GenerationMode.ASSISTED_GENERATION,
    )
    # Rewards are differences of logits: what makes them stays exact whatever the weights are loaded in.
    _keep_in_fp32_modules_strict = ["persrm_head", "persrm_value_head"]  # noqa: RUF012

    def __init__(
        self,
        config: PADConfig,
        base: PreTrainedModel | None = None,
        reward_model: PreTrainedModel | None = None,
        head: VectorHead | None = None,
        value_head: nn.Linear | None = None,
    ) -> None:
        super().__init__(config)
        self.base = base if base is not None else AutoModelForCausalLM.from_config(config.base_config)
        self.reward_model = self.persrm_head = self.persrm_value_head = None
        reward_config = config.reward_config if config.guide == "text" else config.base_config
        if config.guide == "text":
            own = reward_model if reward_model is not None else AutoModelForCausalLM.from_config(reward_config)
            self.reward_model = own
        if config.guide == "head":
            self.persrm_head = head if head is not None else VectorHead(HeadConfig(**config.head))
        if config.value_head:
            size = reward_config.get_text_config().hidden_size
            self.persrm_value_head = value_head if value_head is not None else nn.Linear(size, size)
        self._backbones: tuple[Backbone, Backbone] | None = None
        self._gate_R: torch.Tensor | None = None
        self.post_init()
        if base is not None:
            self.generation_config = base.generation_config

    @classmethod
    def compose(
        cls,
        model: Any = DEMO_MODEL,
        reward_model: Any = "auto",
        *,
        tokenizer: Any | None = None,
        device: str = "auto",
        dtype: Any = "auto",
        embedder: Embedder | None = None,
        guide_top_k: int = 10,
        reference: str = "base",
        **model_kwargs: Any,
    ) -> PADForCausalLM:
        """Put a base and a PersRM together; the arguments are those of `persrm.build.load_pair`.

        Args:
            model: a hub id, a folder, "pad-demo", or a loaded causal LM (then pass its `tokenizer`).
            reward_model: a PersRM folder or hub id, a `PersRM`, a `VectorHead`, "self", or "auto" (the demo's for the
                demo). An adapter is merged into a copy of its backbone.
            guide_top_k: K, the candidates of a token; `generate()` takes `top_k` for itself.
            reference: the log-ratio's denominator, "base" or "reference" (a text PersRM's own backbone).

        Raises:
            ModelLoadError: a model was not found or cannot be read.
            IncompatibleModelError: base and PersRM do not fit each other.
        """
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
            if reference == "reference":
                raise InvalidRequestError(
                    "reference='reference' of an adapter is its backbone without it, which merging takes away. Use "
                    "reference='base', or ChatPAD or Engine."
                )
            persrm = persrm.merge()
        kind = "self" if persrm.kind == "text" and persrm.backbone.model is model else persrm.kind
        if persrm.head is not None:
            persrm.head.check_fits(backbone.hidden_size, backbone.vocab_size)
        _check_vocabulary(backbone, tokenizer, persrm)
        reward = persrm.backbone.model if kind == "text" else None
        attention = {"base_config": model.config._attn_implementation}
        if reward is not None:
            attention["reward_config"] = reward.config._attn_implementation
        made: Any = PADConfig  # its fields reach mypy, but not what PreTrainedConfig takes besides
        config = made(
            base_config=model.config,
            reward_config=None if reward is None else reward.config,
            guide=kind,
            head=None if persrm.head is None else vars(persrm.head.config),
            value_head=persrm.value_head is not None,
            reference=reference,
            template=getattr(guide, "template", ""),
            beta=guide.beta,
            alpha=guide.alpha,
            guide_top_k=guide_top_k,
            attn_implementation=attention,
            dtype=model.dtype,
        )
        made = cls(config, model, reward, persrm.head, persrm.value_head).eval()
        if ends := end_tokens(model, tokenizer):  # `generate()` goes by the generation config alone
            made.generation_config = copy.deepcopy(made.generation_config)
            made.generation_config.eos_token_id = sorted(ends)
        return made

    # What goes in

    def encode(
        self,
        tokenizer: Any,
        conversations: Sequence[Conversation],
        preferences: Sequence[Sequence[Preference]],
        *,
        embedder: Embedder | None = None,
    ) -> dict[str, torch.Tensor]:
        """Everything `generate()` needs for B conversations, each with preferences of its own.

        Args:
            tokenizer: the base's, with a chat template.
            conversations: B user messages, or conversations as chat-template dicts.
            preferences: for each conversation its preferences: texts, (text, weight), or `WeightedPreference`s. An
                empty list decodes that row with the base alone.
            embedder: of a head PersRM, for preferences without a vector; None loads the one the head names.

        Returns:
            `input_ids`, `attention_mask`, `beta` [B], and `gates` [B, R] (head) or `reward_input_ids` and
            `reward_attention_mask` (text).
        """
        if len(conversations) != len(preferences):
            raise InvalidRequestError(
                f"There are {len(conversations)} conversations but preferences for {len(preferences)}. Pass one list "
                "of preferences a conversation; [] is the base alone."
            )
        prompts = Prompts(tokenizer)
        talks = [[{"role": "user", "content": one}] if isinstance(one, str) else list(one) for one in conversations]
        wishes = [[weighted(one) for one in row] for row in preferences]
        pad = self.generation_config.pad_token_id or 0
        ids_BT, mask_BT = left_padded([prompts.render(talk) for talk in talks], pad, self.device)
        beta_B = torch.tensor([self.config.beta if row else 0.0 for row in wishes], device=self.device)
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT, "beta": beta_B}
        if self.persrm_head is not None:
            return inputs | {"gates": torch.stack([self._gate(row, embedder) for row in wishes])}
        template = self.config.template
        told = [
            with_preference(talk, joined(row), template) if row else talk
            for talk, row in zip(talks, wishes, strict=True)
        ]
        ids_BT, mask_BT = left_padded([prompts.render(talk) for talk in told], pad, self.device)
        return inputs | {"reward_input_ids": ids_BT, "reward_attention_mask": mask_BT}

    def set_preferences(self, preferences: Sequence[Preference], *, embedder: Embedder | None = None) -> None:
        """Set what every generation without `gates` is conditioned on, as in a pipeline; [] is the base alone.

        Raises:
            InvalidRequestError: the PersRM is not a head; it reads its preferences from its prompt.
        """
        if self.persrm_head is None:
            raise InvalidRequestError(
                f"set_preferences is for a head PersRM, but this one is {self.config.guide!r}, which reads preferences "
                "in its prompt. Pass generate(**model.encode(tokenizer, conversations, preferences))."
            )
        self._gate_R = self._gate([weighted(one) for one in preferences], embedder) if preferences else None

    def _gate(self, preferences: Sequence[WeightedPreference], embedder: Embedder | None) -> torch.Tensor:
        """The gate [R] of weighted preferences; zeros for none."""
        head = self.persrm_head
        assert head is not None
        if not preferences:
            return torch.zeros(head.config.rank, device=head.U_RD.device)
        if embedder is None and any(preference.embedding is None for preference in preferences):
            from pad_memory.embedding import SentenceEmbedder

            embedder = SentenceEmbedder(head.config.embedder)
        request = Request(messages=[{"role": "user", "content": ""}], preferences=preferences)
        return cast(torch.Tensor, HeadGuide(head, embedder).plan(request).rows[0])

    # The fused forward

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        reward_input_ids: torch.Tensor | None = None,
        reward_attention_mask: torch.Tensor | None = None,
        reward_position_ids: torch.Tensor | None = None,
        gates: torch.Tensor | None = None,
        beta: float | torch.Tensor | None = None,
        alpha: float | torch.Tensor | None = None,
        guide_top_k: int | torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Fused logits [B, T, V] in float32.

        Args:
            input_ids: the base's new tokens [B, T].
            reward_input_ids: those of a text PersRM, also [B, T]; None: the same. Its mask and positions likewise.
            gates: what a head is conditioned on, [B, R]; None: `set_preferences`, else the base alone.
            beta, alpha: a number, or one a row [B]; None: the config's.
            guide_top_k: K, a number; or one a row [B], which costs a read-back a step.
            kwargs: passed to the base's decoder.
        """
        if input_ids is None or "inputs_embeds" in kwargs or "labels" in kwargs:
            raise InvalidRequestError(
                "PADForCausalLM reads input_ids, not inputs_embeds, and computes no loss for labels: the PersRM needs "
                "tokens, and most fused logits are -inf. Train base and PersRM apart."
            )
        cache = past_key_values
        if cache is None and use_cache is not False:
            cache = DynamicCache(config=self.config)
        base, reward = self._parts()
        base_cache, reward_cache = self._views(cache)
        output = base.decoder(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=base_cache,
            use_cache=cache is not None,
            **kwargs,
        )
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden_BTD = output.last_hidden_state[:, keep]
        logits_BTV = base.logits(hidden_BTD)
        steered_BTD, own_BTD = hidden_BTD, None
        if self.persrm_head is not None:
            gates = self._gate_R if gates is None else gates
            if gates is not None:
                gates_BR = gates.to(hidden_BTD.device).expand(len(hidden_BTD), -1)
                steered_BTD = self.persrm_head(hidden_BTD, gates_BR[:, None])
        else:
            own_BTD = reward.decoder(
                input_ids=same_shape(reward_input_ids, input_ids),
                attention_mask=attention_mask if reward_input_ids is None else reward_attention_mask,
                position_ids=position_ids if reward_input_ids is None else reward_position_ids,
                past_key_values=reward_cache,
                use_cache=cache is not None,
            ).last_hidden_state[:, keep]
            steered_BTD = own_BTD
            if self.persrm_value_head is not None:
                steered_BTD = self.persrm_value_head(own_BTD.to(self.persrm_value_head.weight.dtype))
        if self.persrm_head is None or gates is not None:
            settings = (beta, alpha, guide_top_k)
            logits_BTV = self._fuse(logits_BTV, hidden_BTD, steered_BTD, own_BTD, *settings)
        return CausalLMOutputWithPast(
            logits=cast(Any, logits_BTV),
            past_key_values=cache,
            hidden_states=getattr(output, "hidden_states", None),
            attentions=getattr(output, "attentions", None),
        )

    def _fuse(
        self,
        logits_BTV: torch.Tensor,
        hidden_BTD: torch.Tensor,
        steered_BTD: torch.Tensor,
        own_BTD: torch.Tensor | None,
        beta: float | torch.Tensor | None,
        alpha: float | torch.Tensor | None,
        guide_top_k: int | torch.Tensor | None,
    ) -> torch.Tensor:
        """Eq. 13 at every position. The tensors here have N = B * T rows."""
        base, reward = self._parts()
        config, (_, times, vocabulary) = self.config, logits_BTV.shape

        def every(value: float | torch.Tensor | None, default: float, dtype: torch.dtype) -> torch.Tensor:
            rows_B = torch.as_tensor(default if value is None else value, dtype=dtype, device=logits_BTV.device)
            return rows_B.expand(len(logits_BTV)).repeat_interleave(times)

        wanted = config.guide_top_k if guide_top_k is None else guide_top_k
        most = int(wanted.max()) if isinstance(wanted, torch.Tensor) else wanted
        beta_N, alpha_N = every(beta, config.beta, torch.float32), every(alpha, config.alpha, torch.float32)
        logits_NV, hidden_ND = logits_BTV.flatten(0, 1), hidden_BTD.flatten(0, 1)
        candidates_NK, base_NK, keep_NK = take_candidates(logits_NV, every(wanted, most, torch.long), most)
        if base.head.weight.dtype != torch.float32:
            base_NK = base.candidate_logits(hidden_ND, candidates_NK)
        keep_NK = plausible(base_NK, keep_NK, alpha_N)
        guide_NK = reward.candidate_logits(steered_BTD.flatten(0, 1), candidates_NK)
        reference_NK = base_NK
        if config.reference == "reference" and own_BTD is not None and self.persrm_value_head is not None:
            reference_NK = reward.candidate_logits(own_BTD.flatten(0, 1), candidates_NK)
        rewards_NK = candidate_rewards(guide_NK, reference_NK, keep_NK)
        sound_N = torch.isfinite(rewards_NK).all(-1) | (beta_N == 0)
        # What precedes the newest token may be padding and with it anything.
        if not torch.compiler.is_compiling() and not bool(sound_N.view(-1, times)[:, -1].all()):
            raise GuideError(
                "The PersRM returned rewards that are not finite numbers. Check its weights and the embeddings; beta=0 "
                "decodes without it."
            )
        scores_NK = guided_scores(base_NK, rewards_NK, beta_N, keep_NK)
        fused_NV = torch.full_like(logits_NV, float("-inf")).scatter(1, candidates_NK, scores_NK)
        return torch.where(beta_N[:, None] == 0, logits_NV, fused_NV).view(-1, times, vocabulary)

    def _parts(self) -> tuple[Backbone, Backbone]:
        """Base and PersRM's backbone; checked, once, to be decoder and head."""
        if self._backbones is None:
            base = Backbone(self.base)
            self._backbones = base, base if self.reward_model is None else Backbone(self.reward_model)
        return self._backbones

    def _views(self, cache: Cache | None) -> tuple[Cache | None, Cache | None]:
        """The base's layers and the PersRM's of one cache."""
        if cache is None:
            return None, None
        if getattr(cache, "offloading", False):
            raise InvalidRequestError("An offloaded cache cannot be shared by two models. Use a dynamic or static one.")
        while len(cache.layers) < self.config.num_hidden_layers and cache.layer_class_to_replicate is not None:
            cache.layers.append(cache.layer_class_to_replicate())
        count = self.config.base_config.get_text_config().num_hidden_layers
        return Cache(layers=cache.layers[:count]), Cache(layers=cache.layers[count:])

    def get_input_embeddings(self) -> nn.Module:
        return self.base.get_input_embeddings()

    def get_output_embeddings(self) -> nn.Module:
        return self.base.get_output_embeddings()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: a new head is made by its own class, and base and PersRM bring their weights."""


def _check_vocabulary(base: Backbone, tokenizer: Any, persrm: PersRM) -> None:
    if persrm.backbone is base:
        return
    theirs, ours = Prompts(tokenizer).vocabulary(), persrm.prompts.vocabulary()
    if theirs != ours:
        raise IncompatibleModelError(
            f"The PersRM has a tokenizer of its own ({len(ours)} tokens against the base's {len(theirs)}), and fused "
            "logits need one vocabulary. Use ChatPAD or Engine, which compare the two as bytes."
        )


AutoConfig.register("pad", PADConfig)
AutoModelForCausalLM.register(PADConfig, PADForCausalLM)
