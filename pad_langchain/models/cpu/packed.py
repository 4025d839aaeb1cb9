"""Large layers on the CPU, with their weights kept a second time in oneDNN's blocked layout, and siblings joined.

The usual product of two rows reads the weights twice, so it costs twice that of one row. With the blocked layout a
second row is nearly free, which serves base rows and reward rows in one forward. One row alone gains as well, most of
all in bfloat16; small float32 layers gain nothing then and are read as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from pad_langchain.errors import InvalidRequestError
from pad_langchain.models.cpu.joint import Joint, Plain, Product, siblings
from pad_langchain.models.precision import computes_in_bfloat16

__all__ = ["pack", "packed_part"]

LEAST = 2**18  # weights of a product; smaller ones gain nothing
SHORT = 2**20  # weights; below, a call of oneDNN costs one float32 row more than its layout saves
ROWS = 16  # what the layout is made for; it serves any number
CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class _Packed:
    """How a weight is packed: its version when it was packed, and the product that it has a part of."""

    version: int
    joint: Joint
    index: int


# By weight, not in the modules: a copy of a model, which may be changed, must not find them.
_packed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # weight → _Packed

# What torch has no public names for: how often a tensor was changed in place, and the two operators (of `torch.ops`, if
# it was built with oneDNN) with which its own compiler packs linear layers. Nothing else here goes behind its doors.
_changes = attrgetter("_version")
_layout = attrgetter("mkldnn._reorder_linear_weight")
_product = attrgetter("mkldnn._linear_pointwise.default._op")

_library = torch.library.Library("pad_langchain", "DEF")
_library.define("packed_linear(Tensor input, Tensor weight, Tensor? bias) -> Tensor")


class PackedLinear(nn.Linear):
    """An `nn.Linear` that runs faster. Its state dict, gradients and copies are those of the plain one."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(input)
        if torch.compiler.is_compiling():  # the blocked weight is nothing a graph can hold
            made: torch.Tensor = torch.ops.pad_langchain.packed_linear(input, self.weight, self.bias)
            return made
        return _linear(input, self.weight, self.bias)


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`nn.functional.linear`, by the blocked weight where there is one."""
    packed = packed_part(weight)
    if packed is None or (input.dtype, input.device) != (weight.dtype, CPU):
        return nn.functional.linear(input, weight, bias)
    return packed.joint.part(packed.index, input)


def packed_part(weight: torch.Tensor) -> _Packed | None:
    """Return how a weight is packed. None means it is not, or was moved or trained since."""
    packed: _Packed | None = _packed.get(weight)
    return packed if packed is not None and _changes(weight) == packed.version else None


def blocked_product(input: torch.Tensor, blocked: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """Compute `nn.functional.linear` by a weight in oneDNN's layout: [..., in] → [..., out]."""
    made: torch.Tensor = _product(torch.ops)(input, blocked, bias, "none", [], "")
    return made


def blocked_layout(weight: torch.Tensor) -> torch.Tensor:
    """Return a copy of a weight [out, in] in oneDNN's layout. Only `blocked_product` can read it."""
    blocked: torch.Tensor = _layout(torch.ops)(weight, ROWS)
    return blocked


_library.impl("packed_linear", _linear, "CompositeExplicitAutograd")


@torch.library.register_fake("pad_langchain::packed_linear", lib=_library)
def _shape_of_linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return input.new_empty((*input.shape[:-1], weight.shape[0]))


def pack(model: nn.Module, *, spare: bool = False, join: bool = True) -> int:
    """Pack the large linear layers of a model that are on the CPU.

    Layers are packed in float32, and in bfloat16 if the CPU computes in it.

    Args:
        model: the model.
        spare: pack only if the copies take at most half of the free memory.
        join: whether siblings that read one input become one product. A compiled step needs False.

    Returns:
        how many layers are packed now.

    Raises:
        InvalidRequestError: this torch has no oneDNN, and `spare` is False.
    """
    groups = [group for group in siblings(model, _fits, join=join) if sum(map(_size, group)) >= LEAST]
    if not torch.backends.mkldnn.is_available():
        if spare:
            return 0
        raise InvalidRequestError(
            f"pack_weights is True, but torch {torch.__version__} was built without oneDNN. Use 'auto' or False."
        )
    if spare and sum(module.weight.nbytes for group in groups for module in group) > _free_memory() / 2:
        return 0
    for group in groups:
        joint = Joint(_product_of(group), [module.out_features for module in group])
        for index, module in enumerate(group):
            _packed[module.weight] = _Packed(_changes(module.weight), joint, index)
            module.__class__ = PackedLinear
    return sum(map(len, groups))


@torch.no_grad()
def _product_of(group: Sequence[Any]) -> Product:
    """A map of the input of these layers to their outputs side by side."""
    weight = torch.cat([module.weight for module in group]) if len(group) > 1 else group[0].weight.detach()
    biases = [module.bias.detach() for module in group if module.bias is not None]
    bias = torch.cat(biases) if len(biases) > 1 else next(iter(biases), None)
    blocked = blocked_layout(weight)
    if len(group) > 1 or weight.numel() >= SHORT or weight.dtype != torch.float32:
        return Plain(partial(_blocked_first, blocked, bias))
    return Plain(partial(_plain_row, weight, partial(_blocked_first, blocked, bias), bias))


def _blocked_first(blocked: torch.Tensor, bias: torch.Tensor | None, input: torch.Tensor) -> torch.Tensor:
    return blocked_product(input, blocked, bias)


def _plain_row(
    weight: torch.Tensor,
    many: Callable[[torch.Tensor], torch.Tensor],
    bias: torch.Tensor | None,
    input: torch.Tensor,
) -> torch.Tensor:
    """One row by the weight itself, more rows by `many`."""
    return nn.functional.linear(input, weight, bias) if input.numel() == input.shape[-1] else many(input)


def _fits(module: Any) -> bool:
    """Whether a module is a plain linear layer that gains from packing. Quantized ones are of other classes."""
    if type(module) not in (nn.Linear, PackedLinear) or module.weight.device.type != "cpu":
        return False
    dtype = module.weight.dtype
    return bool(dtype == torch.float32 or (dtype == torch.bfloat16 and computes_in_bfloat16()))


def _size(module: Any) -> int:
    return int(module.weight.numel())


def _free_memory() -> float:
    """Bytes that this machine can give without swapping. Infinite where it does not tell."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), float("inf"))
