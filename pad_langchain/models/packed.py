"""Large float32 layers on the CPU, their weights kept a second time in oneDNN's blocked layout.

The usual product of two rows costs twice that of one row (it reads the weights twice); with the blocked layout a second
row is nearly free, which is what base rows and reward rows in one forward need. One row alone is faster with the plain
weights on one thread, and slower on several where the layer is large.
"""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.weak import WeakTensorKeyDictionary

from pad_langchain.errors import InvalidRequestError

__all__ = ["pack"]

LEAST = 2**18  # weights of a layer; smaller ones gain nothing
LEAST_ALONE = 2**19  # the same for one row on several threads
ROWS = 16  # what the layout is made for; it serves any number
CPU = torch.device("cpu")

# By weight, not in the modules: a copy of a model, which may be changed, must not find them.
_packed: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # weight → its version then, blocked weight

# What torch has no public names for: how often a tensor was changed in place, and the two operators (of `torch.ops`, if
# it was built with oneDNN) with which its own compiler packs linear layers. Nothing else here goes behind its doors.
_changes = attrgetter("_version")
_layout = attrgetter("mkldnn._reorder_linear_weight")
_product = attrgetter("mkldnn._linear_pointwise")

_library = torch.library.Library("pad_langchain", "DEF")
_library.define("packed_linear(Tensor input, Tensor weight, Tensor? bias) -> Tensor")


class PackedLinear(nn.Linear):
    """An `nn.Linear` in all but speed; state dict, gradients and copies are the plain one's."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return super().forward(input)
        if torch.compiler.is_compiling():  # the blocked weight is nothing a graph can hold
            made: torch.Tensor = torch.ops.pad_langchain.packed_linear(input, self.weight, self.bias)
            return made
        return _linear(input, self.weight, self.bias)


def _linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`nn.functional.linear` by the blocked weight, where there is one and it is faster."""
    if input.numel() == weight.shape[1] and (torch.get_num_threads() == 1 or weight.numel() < LEAST_ALONE):
        return nn.functional.linear(input, weight, bias)
    version, blocked = _packed.get(weight, (0, None))
    # A weight that was moved or trained since is not the one that was packed.
    if blocked is None or _changes(weight) != version or (input.dtype, input.device) != (weight.dtype, CPU):
        return nn.functional.linear(input, weight, bias)
    return blocked_product(input, blocked, bias)


def blocked_product(input: torch.Tensor, blocked: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """`nn.functional.linear` by a weight that is in oneDNN's layout."""
    made: torch.Tensor = _product(torch.ops)(input, blocked, bias, "none", [], "")
    return made


def blocked_layout(weight: torch.Tensor) -> torch.Tensor:
    """A copy of a weight [out, in] in oneDNN's layout; only `blocked_product` reads it."""
    blocked: torch.Tensor = _layout(torch.ops)(weight, ROWS)
    return blocked


_library.impl("packed_linear", _linear, "CompositeExplicitAutograd")


@torch.library.register_fake("pad_langchain::packed_linear", lib=_library)
def _shape_of_linear(input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    return input.new_empty((*input.shape[:-1], weight.shape[0]))


def pack(model: nn.Module, *, spare: bool = False) -> int:
    """Pack the large linear layers of a model that are float32 and on the CPU.

    Args:
        spare: only if the copies take at most half of the memory that is free.

    Returns:
        how many layers are packed now.

    Raises:
        InvalidRequestError: this torch has no oneDNN, and `spare` is False.
    """
    layers: dict[nn.Module, Any] = {module: module.weight for module in model.modules() if _fits(module)}
    if not torch.backends.mkldnn.is_available():
        if spare:
            return 0
        raise InvalidRequestError(
            f"pack_weights is True, but torch {torch.__version__} was built without oneDNN. Use 'auto' or False."
        )
    if spare and sum(weight.nbytes for weight in layers.values()) > _free_memory() / 2:
        return 0
    for module, weight in layers.items():
        _packed[weight] = (_changes(weight), blocked_layout(weight.detach()))
        module.__class__ = PackedLinear
    return len(layers)


def _fits(module: Any) -> bool:
    """Whether a module is a plain linear layer that gains from it; quantized ones are of other classes."""
    if type(module) not in (nn.Linear, PackedLinear):
        return False
    weight = module.weight
    return bool(weight.dtype == torch.float32 and weight.device.type == "cpu" and weight.numel() >= LEAST)


def _free_memory() -> float:
    """Bytes that this machine can give without swapping; infinite where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return float("inf")
    return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), float("inf"))
