"""Decode steps on the CPU without the overhead of a model's modules.

A step of a small model spends more time between its products than in them. transformers calls some 60 operators per
layer, and copies keys and values once per query head. Models of the Llama family share one shape, which is written here
in some 25 operators per layer. Prompts, training and all other models run the model's own modules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import torch
from torch.nn import functional

from pad_langchain.models.adapter import HOOKED, adapting
from pad_langchain.models.attention import attention_of, has_windows
from pad_langchain.models.cpu.joint import Joint
from pad_langchain.models.cpu.packed import packed_part
from pad_langchain.models.cpu.quantized import Int8Linear
from pad_langchain.models.kv.row_cache import RowCache

__all__ = ["FAMILIES", "LeanDecoder", "lean_decoder"]

# Model types that `tests/unit/models/cpu/test_lean.py` compares with their own modules.
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})

_hooks = attrgetter("_forward_pre_hooks", "_forward_hooks")  # torch has no public name for who listens
_Map = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, eq=False)
class _Layer:
    """The parts of one layer, as maps of their inputs."""

    attention: Any
    act: _Map
    norms: tuple[Any, Any]
    qkv: _Map
    out: _Map
    gate_up: _Map
    down: _Map


@dataclass(frozen=True, eq=False)
class _Output:
    """The part of a decoder's output that is read."""

    last_hidden_state: torch.Tensor


class LeanDecoder:
    """Stands for the decoder of a causal LM. Steps of one token on a `RowCache` are lean.

    Args:
        decoder: the model's own, of one of `FAMILIES`.
    """

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        config = decoder.config
        self.heads, self.kv_heads = config.num_attention_heads, config.num_key_value_heads
        self.size: int = decoder.layers[0].self_attn.head_dim
        self._layers: dict[bool, list[_Layer]] = {}  # with an adapter on and without

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_layers": {}}  # which hold products of these very weights

    def __call__(self, **inputs: Any) -> Any:
        cache, ids_BT = inputs.get("past_key_values"), inputs["input_ids"]
        if not isinstance(cache, RowCache) or not cache.layers or ids_BT.shape[1] > 1 or not self._here(ids_BT):
            self._layers = {}  # weights may be packed or change between requests, which begin with a prompt
            return self.decoder(**inputs)
        layers = self._layers.get(adapting())
        if layers is None:
            watched = any(map(_watched, self.decoder.modules()))
            layers = [] if watched else [_layer(layer) for layer in self.decoder.layers]
            self._layers[adapting()] = layers
        if not layers:
            return self.decoder(**inputs)
        hidden_BD = self._step(layers, ids_BT[:, 0], cache, inputs["position_ids"], inputs.get("attention_mask"))
        return _Output(hidden_BD[:, None])

    def _here(self, ids_BT: torch.Tensor) -> bool:
        """Whether the step runs here: it is on the CPU, and no gradients are asked for."""
        return self.decoder.embed_tokens.weight.device.type == "cpu" and not torch.is_grad_enabled()

    def _step(
        self,
        layers: Sequence[_Layer],
        ids_B: torch.Tensor,
        cache: RowCache,
        positions_B1: torch.Tensor,
        seen_BC: torch.Tensor | None,
    ) -> torch.Tensor:
        """Run one token of every row: hidden states [B, D]. `seen_BC` says which columns each row has."""
        decoder = self.decoder
        hidden_BD = decoder.embed_tokens(ids_B)
        mask = None
        if seen_BC is not None:
            mask = torch.zeros_like(seen_BC, dtype=hidden_BD.dtype).masked_fill(~seen_BC, -torch.inf)[:, None, None]
        cos_B1S, sin_B1S = decoder.rotary_emb(hidden_BD, positions_B1)
        half = self.size // 2
        turned_B1S = torch.cat([-sin_B1S[..., :half], sin_B1S[..., half:]], dim=-1)
        for layer, kept in zip(layers, cache.layers, strict=True):
            read_BD = self._attend(layer, _normed(layer.norms[0], hidden_BD), kept, cos_B1S, turned_B1S, mask)
            hidden_BD = hidden_BD + layer.out(read_BD)
            gate_BI, up_BI = layer.gate_up(_normed(layer.norms[1], hidden_BD)).chunk(2, dim=-1)
            hidden_BD = hidden_BD + layer.down(layer.act(gate_BI).mul_(up_BI))
        return _normed(decoder.norm, hidden_BD)

    def _attend(
        self,
        layer: _Layer,
        input_BD: torch.Tensor,
        kept: Any,
        cos_B1S: torch.Tensor,
        turned_B1S: torch.Tensor,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """What the heads read, side by side [B, H * S]."""
        turning = self.heads + self.kv_heads
        qkv_BHS = layer.qkv(input_BD).view(len(input_BD), turning + self.kv_heads, self.size)
        qk_BHS = qkv_BHS[:, :turning]
        if (norm := getattr(layer.attention, "q_norm", None)) is not None:
            q_BHS, k_BHS = qk_BHS[:, : self.heads], qk_BHS[:, self.heads :]
            qk_BHS = torch.cat([_normed(norm, q_BHS), _normed(layer.attention.k_norm, k_BHS)], dim=1)
        # The usual rotation: x · cos + (its halves swapped, the first one's sign turned) · sin.
        qk_BHS = torch.addcmul(qk_BHS * cos_B1S, qk_BHS.roll(self.size // 2, -1), turned_B1S)
        keys, values = kept.update(qk_BHS[:, self.heads :, None], qkv_BHS[:, turning:, None])
        # The query heads of one key head are its queries: nothing is copied for each.
        q_BKGS = qk_BHS[:, : self.heads].reshape(len(input_BD), self.kv_heads, -1, self.size)
        read_BKGS = functional.scaled_dot_product_attention(
            q_BKGS, keys, values, attn_mask=mask, scale=layer.attention.scaling
        )
        return read_BKGS.reshape(len(input_BD), -1)


def lean_decoder(model: Any) -> Any:
    """Return the decoder of a causal LM: a `LeanDecoder` if its family has one, else its own."""
    decoder = model.base_model
    config = model.config
    lean = (
        config.model_type in FAMILIES
        and not has_windows(config)
        and attention_of(config) in ("sdpa", "eager")
        and hasattr(decoder, "rotary_emb")
    )
    return LeanDecoder(decoder) if lean else decoder


def _layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        attention,
        mlp.act_fn,
        (layer.input_layernorm, layer.post_attention_layernorm),
        _together([attention.q_proj, attention.k_proj, attention.v_proj]),
        _together([attention.o_proj]),
        _together([mlp.gate_proj, mlp.up_proj]),
        _together([mlp.down_proj]),
    )


def _together(modules: Sequence[Any]) -> _Map:
    """A map of an input to the modules' outputs side by side. It is their joint product if they have one."""
    parts = [_part(module) for module in modules]
    joint = parts[0]
    if joint is not None and len(joint.columns) == len(modules) and all(part is joint for part in parts):
        return joint.product
    if len(modules) == 1:
        made: _Map = modules[0]
        return made
    return lambda input: torch.cat([module(input) for module in modules], dim=-1)


def _part(module: Any) -> Joint | None:
    """The product that a module has a part of. None means the module has to be called, such as under an adapter."""
    if adapting():
        return None
    if isinstance(module, Int8Linear):
        return module.joint
    packed = packed_part(module.weight) if isinstance(module, torch.nn.Linear) else None
    return None if packed is None else packed.joint


def _watched(module: torch.nn.Module) -> bool:
    """Whether a module has hooks of others, so that it has to be called."""
    before, after = _hooks(module)
    return bool(before or after) and not hasattr(module, HOOKED)


def _normed(norm: Any, input: torch.Tensor) -> torch.Tensor:
    return torch.rms_norm(input, input.shape[-1:], norm.weight, norm.variance_epsilon)
