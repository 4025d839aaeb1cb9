"""Guided decoding as a transformers model: `forward` returns fused logits, so whatever `generate()` does is guided.

    model = PADForCausalLM.compose("path/to/base", "path/to/persrm")
    inputs = model.encode(tokenizer, ["Explain entropy"], [["be concise"]])
    model.generate(**inputs, num_beams=4)

Scores are METHOD's Eq. 13 by `arithmetic.scoring`: z + beta * r on the K candidates, -inf elsewhere; beta = 0 is the
base's own logits over the whole vocabulary. Base and text PersRM share one ordinary cache: its first Lb layers are the
base's, the others the PersRM's, and each model sees a view. Both prompts are left-padded to one width, so that a column
of one is a column of the other, and from the prompts' end on both hold the same token.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationMixin, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation.configuration_utils import GenerationMode
from transformers.modeling_outputs import CausalLMOutputWithPast

from pad_langchain.arithmetic.scoring import plausible_candidates, score_candidates
from pad_langchain.defaults import DEMO_MODEL
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import GuideError, InvalidRequestError
from pad_langchain.hf.compose import load_parts
from pad_langchain.hf.config import PADConfig
from pad_langchain.hf.generate import GuidedGeneration, Preference, joined, left_padded, same_shape, weighted
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import Prompts, with_preference
from pad_langchain.persrm.guides.head import HeadGuide
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_memory.embedding import Embedder

__all__ = ["PADConfig", "PADForCausalLM"]

Conversation = str | Sequence[dict[str, Any]]


class Steered(NamedTuple):
    """Hidden states [B, T, D] that the guide's logits come from, and those of its reference; None means the base's."""

    guide_BTD: torch.Tensor
    reference_BTD: torch.Tensor | None = None


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

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_backbones": None}  # which hold locks, and are made of the copy's own parts

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
        guide_top_k: int | None = None,
        reference: str = "base",
        **model_kwargs: Any,
    ) -> PADForCausalLM:
        """Put a base and a PersRM together; the arguments are those of `persrm.build.load_pair`.

        Args:
            model: a hub id, a folder, "pad-demo", or a loaded causal LM (then pass its `tokenizer`).
            reward_model: a PersRM folder or hub id, a `PersRM`, a `VectorHead`, "self", or "auto" (the demo's for the
                demo). An adapter is merged into a copy of its backbone.
            guide_top_k: K, the candidates of a token; None means what the PersRM recommends, else 10. `generate()`
                takes `top_k` for itself.
            reference: the log-ratio's denominator, "base" or "reference" (a text PersRM's own backbone).

        Raises:
            ModelLoadError: a model was not found or cannot be read.
            IncompatibleModelError: base and PersRM do not fit each other.
        """
        parts = load_parts(
            model,
            reward_model,
            tokenizer=tokenizer,
            device=device,
            dtype=dtype,
            embedder=embedder,
            guide_top_k=guide_top_k,
            reference=reference,
            **model_kwargs,
        )
        made = cls(parts.config, parts.base, parts.reward_model, parts.head, parts.value_head).eval()
        if parts.ends:  # `generate()` goes by the generation config alone; the base's own stays as it is
            made.generation_config = copy.deepcopy(made.generation_config)
            made.generation_config.eos_token_id = sorted(parts.ends)
        return made

    # What goes in

    def encode(
        self,
        tokenizer: Any,
        conversations: Sequence[Conversation],
        preferences: Sequence[Sequence[Preference]],
        *,
        embedder: Embedder | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> dict[str, torch.Tensor]:
        """Everything `generate()` needs for B conversations, each with preferences of its own.

        Args:
            tokenizer: the base's, with a chat template.
            conversations: B user messages, or conversations as chat-template dicts.
            preferences: for each conversation its preferences: texts, (text, weight), or `WeightedPreference`s. An
                empty list decodes that row with the base alone.
            embedder: of a head PersRM, for preferences without a vector; None loads the one the head names.
            chat_template_kwargs: the chat template's own switches, such as {"enable_thinking": False}.

        Returns:
            `input_ids`, `attention_mask`, `beta` [B], and `gates` [B, R] (head) or `reward_input_ids` and
            `reward_attention_mask` (text).
        """
        if len(conversations) != len(preferences):
            raise InvalidRequestError(
                f"There are {len(conversations)} conversations but preferences for {len(preferences)}. Pass one list "
                "of preferences a conversation; [] is the base alone."
            )
        render = partial(Prompts(tokenizer).render, template_kwargs=chat_template_kwargs)
        talks = [[{"role": "user", "content": one}] if isinstance(one, str) else list(one) for one in conversations]
        wishes = [[weighted(one) for one in row] for row in preferences]
        pad = self.generation_config.pad_token_id or 0
        ids_BT, mask_BT = left_padded([render(talk) for talk in talks], pad, self.device)
        beta_B = torch.tensor([self.config.beta if row else 0.0 for row in wishes], device=self.device)
        inputs = {"input_ids": ids_BT, "attention_mask": mask_BT, "beta": beta_B}
        if self.persrm_head is not None:
            return inputs | {"gates": torch.stack([self._gate(row, embedder) for row in wishes])}
        template = self.config.template
        told = [
            with_preference(talk, joined(row), template) if row else talk
            for talk, row in zip(talks, wishes, strict=True)
        ]
        ids_BT, mask_BT = left_padded([render(talk) for talk in told], pad, self.device)
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
            reward_input_ids: those of a text PersRM, also [B, T]; None means the same. Its mask and positions likewise.
            gates: what a head is conditioned on, [B, R]; None means `set_preferences`, else the base alone.
            beta, alpha: a number, or one per row [B]; None means the config's.
            guide_top_k: K, a number; or one per row [B], which costs a read-back per step.
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
        use_cache = cache is not None
        inputs = {"attention_mask": attention_mask, "position_ids": position_ids, "use_cache": use_cache}
        output = base.decoder(input_ids=input_ids, past_key_values=base_cache, **inputs, **kwargs)
        keep = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden_BTD = output.last_hidden_state[:, keep]
        logits_BTV = base.logits(hidden_BTD)
        if self.persrm_head is None:
            if reward_input_ids is not None:
                inputs |= {"attention_mask": reward_attention_mask, "position_ids": reward_position_ids}
            told_BT = same_shape(reward_input_ids, input_ids)
            own_BTD = reward.decoder(input_ids=told_BT, past_key_values=reward_cache, **inputs).last_hidden_state
            steered: Steered | None = self._steered_by_value_head(own_BTD[:, keep])
        else:
            steered = self._steered_by_gate(hidden_BTD, self._gate_R if gates is None else gates)
        if steered is not None:
            logits_BTV = self._fuse(logits_BTV, hidden_BTD, steered, beta, alpha, guide_top_k)
        return CausalLMOutputWithPast(
            logits=cast(Any, logits_BTV),
            past_key_values=cache,
            hidden_states=getattr(output, "hidden_states", None),
            attentions=getattr(output, "attentions", None),
        )

    def _steered_by_gate(self, hidden_BTD: torch.Tensor, gates: torch.Tensor | None) -> Steered | None:
        """What a head makes of the base's states; None means there is no condition."""
        if gates is None or self.persrm_head is None:
            return None
        gates_BR = gates.to(hidden_BTD.device).expand(len(hidden_BTD), -1)
        return Steered(self.persrm_head(hidden_BTD, gates_BR[:, None]))

    def _steered_by_value_head(self, own_BTD: torch.Tensor) -> Steered:
        """What W and b make of the PersRM's own states, if it has them; these are its reference without them."""
        value_head = self.persrm_value_head
        if value_head is None:
            return Steered(own_BTD)
        steered_BTD = value_head(own_BTD.to(value_head.weight.dtype))
        return Steered(steered_BTD, own_BTD if self.config.reference == "reference" else None)

    def _fuse(
        self,
        logits_BTV: torch.Tensor,
        hidden_BTD: torch.Tensor,
        steered: Steered,
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
        k_N = every(wanted, most, torch.long)
        beta_N, alpha_N = every(beta, config.beta, torch.float32), every(alpha, config.alpha, torch.float32)
        logits_NV = logits_BTV.flatten(0, 1)
        rounded = base.head.weight.dtype != torch.float32
        exact = partial(base.candidate_logits, hidden_BTD.flatten(0, 1)) if rounded else None
        found = plausible_candidates(logits_NV, k_N, alpha_N, most, exact)
        guide_NK, reference_NK = (
            None if states_BTD is None else reward.candidate_logits(states_BTD.flatten(0, 1), found.tokens_BK)
            for states_BTD in steered
        )
        scores = score_candidates(found, guide_NK, beta_N, reference_GK=reference_NK)
        sound_N = scores.sound_B | (beta_N == 0)
        # What precedes the newest token may be padding and with it anything.
        if not torch.compiler.is_compiling() and not bool(sound_N.view(-1, times)[:, -1].all()):
            raise GuideError(
                "The PersRM returned rewards that are not finite numbers. Check its weights and the embeddings; beta=0 "
                "decodes without it."
            )
        fused_NV = torch.full_like(logits_NV, float("-inf")).scatter(1, found.tokens_BK, scores.scores_BK)
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


AutoConfig.register("pad", PADConfig)
AutoModelForCausalLM.register(PADConfig, PADForCausalLM)
