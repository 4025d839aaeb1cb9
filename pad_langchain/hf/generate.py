"""How `PADForCausalLM` rides `generate()`: two prompts as one width, the PersRM's inputs of each step, refusals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationMixin
from transformers.cache_utils import Cache
from transformers.generation.streamers import BaseStreamer
from transformers.masking_utils import create_masks_for_generate

from pad_langchain.engine.types import WeightedPreference
from pad_langchain.errors import InvalidRequestError

__all__ = ["GuidedGeneration", "Preference", "joined", "left_padded", "same_shape", "weighted"]

Preference = str | tuple[str, float] | WeightedPreference

OWN = (
    "reward_input_ids",
    "reward_attention_mask",
    "reward_position_ids",
    "gates",
    "beta",
    "alpha",
    "guide_top_k",
)


# Its signatures name tensor subclasses and a self that no mixin of ours can be; a type checker sees Any.
_Mixin: Any = GenerationMixin


class GuidedGeneration(_Mixin):
    """`generate()` for a model that reads two prompts; see `PADForCausalLM`."""

    def generate(self: Any, inputs: torch.Tensor | None = None, **kwargs: Any) -> Any:
        """As in transformers, with the PersRM's inputs and the settings of guidance.

        Args:
            inputs, kwargs: as in transformers; and `reward_input_ids` [B, Wr] with `reward_attention_mask` for a text
                PersRM (None means it reads the base's prompt), `gates` [B, R] for a head, and `beta`, `alpha`,
                `guide_top_k`, each a number, or one per row [B].

        Raises:
            InvalidRequestError: what was asked for cannot be exact.
        """
        self._refuse(kwargs)
        ids_BW = kwargs.pop("input_ids", None) if inputs is None else inputs
        if ids_BW is None:
            raise InvalidRequestError("There is no prompt: pass input_ids, [B, T] token ids.")
        for name in ("beta", "alpha"):
            if name in kwargs:
                rows = torch.as_tensor(kwargs[name], dtype=torch.float32, device=self.device)
                kwargs[name] = rows.expand(len(ids_BW)).clone()
        if self.config.guide == "head":
            return super().generate(ids_BW, **kwargs)
        if kwargs.get("past_key_values") is not None and int(kwargs["past_key_values"].get_seq_length()) > 0:
            raise InvalidRequestError(
                "The cache that was passed is not empty: where its two prompts end cannot be known. Pass the whole "
                "conversation with an empty cache (StaticCache.reset())."
            )
        if kwargs.get("attention_mask") is None:
            kwargs["attention_mask"] = self._mask(ids_BW)
        if kwargs.get("reward_input_ids") is None:
            kwargs |= {"reward_input_ids": ids_BW, "reward_attention_mask": kwargs["attention_mask"]}
        elif kwargs.get("reward_attention_mask") is None:
            kwargs["reward_attention_mask"] = self._mask(kwargs["reward_input_ids"])
        width, told = ids_BW.shape[1], kwargs["reward_input_ids"].shape[1]
        more, less = max(0, told - width), max(0, width - told)
        ids_BW = _widen(ids_BW, more)
        kwargs["attention_mask"] = _widen(kwargs["attention_mask"], more)
        kwargs["reward_input_ids"] = _widen(kwargs["reward_input_ids"], less)
        kwargs["reward_attention_mask"] = _widen(kwargs["reward_attention_mask"], less)
        if more:
            self._lengthen(kwargs, more)
            if kwargs.get("streamer") is not None:
                kwargs["streamer"] = _WithoutPadding(kwargs["streamer"], more)
        output = super().generate(ids_BW, **kwargs)
        if isinstance(output, torch.Tensor):
            return output[:, more:]
        output.sequences = output.sequences[:, more:]
        return output

    def prepare_inputs_for_generation(
        self: Any,
        input_ids: torch.Tensor,
        next_sequence_length: int | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The base's inputs of a step as transformers makes them, and the PersRM's for the same columns."""
        step: dict[str, Any] = super().prepare_inputs_for_generation(
            input_ids, next_sequence_length=next_sequence_length, past_key_values=past_key_values, **kwargs
        )
        prompt_BW = kwargs.get("reward_input_ids")
        if prompt_BW is None:
            return step
        rows, times = step["input_ids"].shape
        end = input_ids.shape[1]
        if next_sequence_length is None and past_key_values is not None:  # only the new tokens were passed
            end = times + int(past_key_values.get_seq_length())
        new = max(0, end - max(prompt_BW.shape[1], end - times))
        ids_BT = torch.cat([prompt_BW[:, end - times : end], step["input_ids"][:, times - new :]], dim=1)
        mask_BW = kwargs["reward_attention_mask"][:, :end]
        mask_BL = torch.cat([mask_BW, mask_BW.new_ones(rows, end - mask_BW.shape[1])], dim=1)
        positions_BT = (mask_BL.cumsum(-1) - 1).clamp_min(0)[:, end - times :]
        mask: Any = mask_BL
        if past_key_values is not None and past_key_values.is_compileable:
            mask = create_masks_for_generate(
                config=self.config.reward_config or self.config.base_config,
                inputs_embeds=torch.empty(rows, times, 0, dtype=self.dtype, device=ids_BT.device),
                attention_mask=mask_BL,
                past_key_values=self._views(past_key_values)[1],
                position_ids=positions_BT,
            )
        return step | {
            "reward_input_ids": ids_BT,
            "reward_attention_mask": mask,
            "reward_position_ids": positions_BT.contiguous(),
        }

    def create_masks_for_generate(self: Any, past_key_values: Cache, **kwargs: Any) -> Any:
        """The base's own mask, for the base's layers; transformers asks when a cache is static."""
        kwargs["config"] = self.config.base_config
        return create_masks_for_generate(past_key_values=self._views(past_key_values)[0], **kwargs)

    def generate_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Refused: paged attention reads one prompt for both models and one beta for all rows."""
        raise InvalidRequestError(
            "transformers' continuous batching (generate_batch, cache_implementation='paged') has one prompt a request "
            "and one setting for all, so guidance cannot be exact. Use generate(), or Engine, whose rows come and go."
        )

    init_continuous_batching = continuous_batching_context_manager = generate_batch

    def _refuse(self: Any, kwargs: dict[str, Any]) -> None:
        settings = kwargs.get("generation_config")
        for name in ("penalty_alpha", "dola_layers", "guidance_scale", "use_mtp", "assistant_early_exit"):
            value = kwargs.get(name, getattr(settings, name, None))
            if value and value != 1:
                raise InvalidRequestError(
                    f"{name}={value!r} contrasts or drafts with the base's own layers or logits, which guidance has "
                    "changed; it cannot be exact. Use greedy search, sampling, beams, prompt lookup or an "
                    "assistant_model."
                )
        if kwargs.get("inputs_embeds") is not None:
            raise InvalidRequestError("inputs_embeds has no tokens that the PersRM could read. Pass input_ids.")
        unknown = {name for name in ("gates",) if kwargs.get(name) is not None and self.config.guide != "head"}
        if self.config.guide == "head":
            unknown = {name for name in OWN[:2] if kwargs.get(name) is not None}
        if unknown:
            raise InvalidRequestError(
                f"{sorted(unknown)} is not for a PersRM of kind {self.config.guide!r}. Make the inputs with encode()."
            )

    def _mask(self: Any, ids_BW: torch.Tensor) -> torch.Tensor:
        """transformers' own guess: pad tokens are padding unless they also end an answer."""
        pad, ends = self.generation_config.pad_token_id, self.generation_config.eos_token_id
        if pad is None or pad in (ends if isinstance(ends, Sequence) else [ends]):
            return torch.ones_like(ids_BW)
        return ids_BW.ne(pad).long()

    def _lengthen(self: Any, kwargs: dict[str, Any], more: int) -> None:
        """Lengths that count the prompt must count its new padding as well."""
        settings = kwargs.get("generation_config") or self.generation_config
        for name in ("max_length", "min_length"):
            value = kwargs.get(name, getattr(settings, name, None))
            if value:
                kwargs[name] = value + more

    def _get_candidate_generator(self: Any, *args: Any, **kwargs: Any) -> Any:
        """An assistant is a plain model and knows none of our arguments."""
        theirs = {name: value for name, value in kwargs["model_kwargs"].items() if name not in OWN}
        return super()._get_candidate_generator(*args, **kwargs | {"model_kwargs": theirs})

    def _get_static_cache_init_shape(self: Any) -> None:
        """The layers of two models differ in shape: the static cache allocates each when it is first used."""


class _WithoutPadding(BaseStreamer):
    """Passes a stream on without the columns that were added to its prompt."""

    def __init__(self, inner: BaseStreamer, more: int) -> None:
        self.inner, self.more = inner, more

    def put(self, value: torch.Tensor) -> None:
        self.inner.put(value[..., self.more :] if self.more else value)
        self.more = 0

    def end(self) -> None:
        self.inner.end()


def left_padded(rows: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of token ids as one tensor [B, W], padded on the left, and its mask."""
    width = max(map(len, rows))
    ids_BW = torch.tensor([[pad] * (width - len(row)) + list(row) for row in rows], device=device)
    mask_BW = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
    return ids_BW, mask_BW


def same_shape(reward_BT: torch.Tensor | None, ids_BT: torch.Tensor) -> torch.Tensor:
    """The PersRM's tokens, the base's where it has none of its own; InvalidRequestError if the sizes differ."""
    if reward_BT is None:
        return ids_BT
    if reward_BT.shape != ids_BT.shape:
        raise InvalidRequestError(
            f"reward_input_ids has to be as large as input_ids, {list(ids_BT.shape)}, but is {list(reward_BT.shape)}. "
            "Pad the shorter prompt on the left, with a mask; generate() does it by itself."
        )
    return reward_BT


def weighted(preference: Preference) -> WeightedPreference:
    """A preference however it was written down."""
    if isinstance(preference, WeightedPreference):
        return preference
    return WeightedPreference(preference) if isinstance(preference, str) else WeightedPreference(*preference)


def joined(preferences: Sequence[WeightedPreference]) -> str:
    """Preferences in one prompt, as the released PersRM was told them."""
    weights = {preference.weight for preference in preferences}
    if weights != {1.0}:
        raise InvalidRequestError(
            f"In one transformers model a text PersRM reads its preferences in one prompt, so their weights have to be "
            f"1, but are {sorted(weights)}. Use ChatPAD or Engine, which give each preference a row."
        )
    return " and ".join(preference.text for preference in preferences)


def _widen(values_BW: torch.Tensor, more: int) -> torch.Tensor:
    return torch.nn.functional.pad(values_BW, (more, 0))
