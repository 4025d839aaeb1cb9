"""Decode steps on the CPU without the overhead of a model's modules.

A step of a small model spends more time between its products than in them. transformers calls some 60 operators per
layer, and copies keys and values once per query head. Models of the Llama family share one shape, which is written here
in some 25 short operators per layer. Prompts, training and all other models run the model's own modules.
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
from pad_langchain.models.cpu.joint import Joint, Norm, Plain, Product
from pad_langchain.models.cpu.packed import packed_part
from pad_langchain.models.cpu.quantized import Int8Linear
from pad_langchain.models.kv.row_cache import Column, RowCache

__all__ = ["FAMILIES", "LeanDecoder", "lean_decoder"]

# Model types that `tests/unit/models/cpu/test_lean.py` compares with their own modules.
FAMILIES = frozenset({"llama", "mistral", "qwen2", "qwen3"})

_hooks = attrgetter("_forward_pre_hooks", "_forward_hooks")  # torch has no public name for who listens


@dataclass(frozen=True, eq=False)
class _Layer:
    """The parts of one layer. `heads` are the norms of queries and of keys. None means it has none."""

    norms: tuple[Norm, Norm]
    heads: tuple[Norm, Norm] | None
    scaling: float
    act: Callable[[torch.Tensor], torch.Tensor]
    qkv: Product
    out: Product
    gate_up: Product
    down: Product


@dataclass(frozen=True, eq=False)
class _Stack:
    """The layers of a decoder, and the norm of what they make."""

    layers: list[_Layer]
    norm: Norm


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
        self._stacks: dict[bool, _Stack | None] = {}  # with an adapter on and without; None where others listen

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_stacks": {}}  # which hold products of these very weights

    def __call__(self, **inputs: Any) -> Any:
        cache, ids_BT = inputs.get("past_key_values"), inputs["input_ids"]
        if not isinstance(cache, RowCache) or not cache.layers or ids_BT.shape[1] > 1 or not self._here(ids_BT):
            self._stacks = {}  # weights may be packed or change between requests, which begin with a prompt
            return self.decoder(**inputs)
        if adapting() not in self._stacks:
            self._stacks[adapting()] = self._stack()
        stack = self._stacks[adapting()]
        if stack is None:
            return self.decoder(**inputs)
        hidden_BD = self._step(stack, ids_BT[:, 0], cache, inputs["position_ids"], inputs.get("attention_mask"))
        return _Output(hidden_BD[:, None])

    def _here(self, ids_BT: torch.Tensor) -> bool:
        """Whether the step runs here: it is on the CPU, and no gradients are asked for."""
        return self.decoder.embed_tokens.weight.device.type == "cpu" and not torch.is_grad_enabled()

    def _stack(self) -> _Stack | None:
        decoder = self.decoder
        if any(map(_watched, decoder.modules())):
            return None
        return _Stack([_layer(layer) for layer in decoder.layers], Norm.of(decoder.norm))

    def _step(
        self,
        stack: _Stack,
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
        turn_BSS = _turn(*decoder.rotary_emb(hidden_BD, positions_B1))
        for layer, kept in zip(stack.layers, cache.layers, strict=True):
            qkv_BHS = layer.qkv.of_normed(hidden_BD, layer.norms[0]).view(len(ids_B), -1, self.size)
            layer.out.add_to(hidden_BD, self._attend(layer, qkv_BHS, kept.extend(), turn_BSS, mask))
            gate_BI, up_BI = layer.gate_up.of_normed(hidden_BD, layer.norms[1]).chunk(2, dim=-1)
            layer.down.add_to(hidden_BD, layer.act(gate_BI).mul_(up_BI))
        return stack.norm(hidden_BD)

    def _attend(
        self, layer: _Layer, qkv_BHS: torch.Tensor, column: Column, turn_BSS: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        """What the heads read, side by side [B, H * S]. The token's keys and values are put into `column`."""
        turning = self.heads + self.kv_heads
        qk_BHS = qkv_BHS[:, :turning]
        if layer.heads is not None:
            parts = qk_BHS[:, : self.heads], qk_BHS[:, self.heads :]
            qk_BHS = torch.cat([norm(part) for norm, part in zip(layer.heads, parts, strict=True)], dim=1)
        qk_BHS = torch.bmm(qk_BHS, turn_BSS)
        column.key_BHD.copy_(qk_BHS[:, self.heads :])
        column.value_BHD.copy_(qkv_BHS[:, turning:])
        # The query heads of one key head are its queries: nothing is copied for each.
        q_BKGS = qk_BHS[:, : self.heads].reshape(len(qk_BHS), self.kv_heads, -1, self.size)
        read_BKGS = functional.scaled_dot_product_attention(
            q_BKGS, column.keys, column.values, attn_mask=mask, scale=layer.scaling
        )
        return read_BKGS.reshape(len(qk_BHS), -1)


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
    heads = (Norm.of(attention.q_norm), Norm.of(attention.k_norm)) if hasattr(attention, "q_norm") else None
    return _Layer(
        (Norm.of(layer.input_layernorm), Norm.of(layer.post_attention_layernorm)),
        heads,
        attention.scaling,
        functional.silu if type(mlp.act_fn) is torch.nn.SiLU else mlp.act_fn,
        _together([attention.q_proj, attention.k_proj, attention.v_proj]),
        _together([attention.o_proj]),
        _together([mlp.gate_proj, mlp.up_proj]),
        _together([mlp.down_proj]),
    )


def _turn(cos_B1S: torch.Tensor, sin_B1S: torch.Tensor) -> torch.Tensor:
    """The rotation of each row's position as matrices [B, S, S].

    The usual rotation is x · cos + (the halves of x swapped, the first one's sign turned) · sin: a sum of two products,
    which a product with a matrix that has two numbers per column is as well, in one operator.
    """
    size = cos_B1S.shape[-1]
    own_SS = torch.eye(size, dtype=cos_B1S.dtype)
    swapped_SS = own_SS.roll(size // 2, 0)
    swapped_SS[size // 2 :].neg_()
    return torch.addcmul(own_SS * cos_B1S, swapped_SS, sin_B1S)


def _together(modules: Sequence[Any]) -> Product:
    """The product of modules side by side: their joint one if they have one."""
    parts = [_part(module) for module in modules]
    joint = parts[0]
    if joint is not None and len(joint.columns) == len(modules) and all(part is joint for part in parts):
        return joint.product
    if len(modules) == 1:
        return Plain(modules[0])
    return Plain(lambda input: torch.cat([module(input) for module in modules], dim=-1))


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
