"""Linear layers with int8 weights on the CPU, with one scale per output and one per row of the input.

The product is FBGEMM's, which torch has for x86. It takes one scale for all rows of an input, so a row's numbers would
depend on the other rows of the batch. Here each row is first divided by its own largest number. Sums of products are
integers, so they are exact and do not depend on the number of rows.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import torch
from torch import nn

from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, MissingDependencyError
from pad_langchain.models.cpu.joint import Joint, Norm, siblings

__all__ = ["Int8Linear", "check_int8", "quantize"]

WEIGHT_STEPS = 127  # int8 without -128: symmetric
ENGINE = "fbgemm"

# torch.ops has no public names; these are the operators of its own quantized layers. `_op` is the operator without the
# look at its arguments in Python, which takes as long as a small product.
_prepack = attrgetter("quantized.linear_prepack")
_product = attrgetter("quantized.linear_with_input_q_dq_qweight_dq_output_fp32.default._op")
_engine = threading.Lock()  # which engine packs is a global of torch


class Int8Linear(nn.Module):
    """A linear layer with int8 weights. Its input and output are float32.

    Args:
        in_features, out_features: as of `nn.Linear`.
        joint, index: the product that the layer has a part of, and which part.
        scale_O: the factor of each output's int8 weights.
        weight: the int8 weights [out, in] of a layer whose rows are read, else empty.
    """

    weight: torch.Tensor
    scale_O: torch.Tensor

    def __init__(
        self, in_features: int, out_features: int, joint: Joint, index: int, scale_O: torch.Tensor, weight: torch.Tensor
    ) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.joint, self.index, self.bias = joint, index, None
        self.register_buffer("scale_O", scale_O)
        self.register_buffer("weight", weight)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.joint.part(self.index, input)


class _Int8Product:
    """Maps [..., in] float32 → [..., out] float32 by int8 weights."""

    def __init__(self, weight_OI: torch.Tensor, scale_O: torch.Tensor, bias_O: torch.Tensor | None) -> None:
        self.packed, self.bias_O = _pack(weight_OI, scale_O), bias_O
        self.steps, self.zero = _levels()
        self.product = _product(torch.ops)

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        if input.dim() == 1:
            return self(input[None])[0]
        made, most = self._unscaled(input)
        return self._biased(made.mul_(most))

    def of_normed(self, hidden_BD: torch.Tensor, norm: Norm) -> torch.Tensor:
        # A row's own factor changes none of its integers, so the norm's is left to the end.
        made, most = self._unscaled(hidden_BD * norm.weight_D)
        return self._biased(made.mul_(most.div_(norm.length(hidden_BD))))

    def add_to(self, hidden_BD: torch.Tensor, input_BI: torch.Tensor) -> None:
        self._biased(hidden_BD.addcmul_(*self._unscaled(input_BI)))

    def _unscaled(self, input: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The product of rows that were divided by their largest number, and that number, [..., 1]."""
        most = input.abs().amax(-1, keepdim=True)
        # A row of zeros becomes any integers here, and zeros again; NaN and infinity come through `most`.
        return self.product(input / most, 1 / self.steps, self.zero, self.packed), most

    def _biased(self, made: torch.Tensor) -> torch.Tensor:
        return made if self.bias_O is None else made.add_(self.bias_O)


def check_int8() -> None:
    """Check that this machine and this torch have the int8 product.

    Raises:
        MissingDependencyError: they do not.
    """
    try:
        _prepack(torch.ops), _product(torch.ops)
        missing = ENGINE not in torch.backends.quantized.supported_engines
    except (AttributeError, RuntimeError):
        missing = True
    if missing:
        raise MissingDependencyError(
            f"weights='int8' needs torch's FBGEMM product, which torch {torch.__version__} does not have on this "
            "machine (it is built for x86). Use a torch for x86 CPUs, or leave weights out."
        )


def quantize(model: Any) -> int:
    """Give every linear layer of a float32 model on the CPU int8 weights.

    The float weights are freed. The model then decodes and scores, but cannot be trained or saved.

    Returns:
        how many layers there were.

    Raises:
        InvalidRequestError: the model is on another device or in another precision.
        MissingDependencyError: see `check_int8`.
    """
    check_int8()
    head = model.get_output_embeddings()
    names = {module: name for name, module in model.named_modules()}
    groups = siblings(model, lambda module: type(module) is nn.Linear)
    for layer in (layer for group in groups for layer in group):
        if (layer.weight.device.type, layer.weight.dtype) != ("cpu", torch.float32):
            raise InvalidRequestError(
                f"weights='int8' is for float32 models on the CPU, but {names[layer]!r} is {layer.weight.dtype} on "
                f"{layer.weight.device}. Use device='cpu' and dtype='float32'."
            )
    for group in groups:
        for layer, made in zip(group, _quantized(group, head), strict=True):
            parent, _, name = names[layer].rpartition(".")
            setattr(model.get_submodule(parent), name, made)
    model.save_pretrained = _refuse_to_save
    return sum(map(len, groups))


@torch.no_grad()
def _quantized(group: Sequence[nn.Linear], head: nn.Module) -> list[Int8Linear]:
    weights = torch.cat(tuple(layer.weight.detach() for layer in group))
    scale_O = (weights.abs().amax(1) / WEIGHT_STEPS).clamp_min(1e-30)
    int8_OI = (weights / scale_O[:, None]).round_().to(torch.int8)
    biases = [layer.bias.data for layer in group if layer.bias is not None]
    sizes = [layer.out_features for layer in group]
    joint = Joint(_Int8Product(int8_OI, scale_O, torch.cat(tuple(biases)) if biases else None), sizes)
    return [
        Int8Linear(
            layer.in_features,
            layer.out_features,
            joint,
            index,
            scale_O[joint.columns[index]].clone(),
            int8_OI if layer is head else int8_OI[:0],
        )
        for index, layer in enumerate(group)
    ]


def _pack(weight_OI: torch.Tensor, scale_O: torch.Tensor) -> Any:
    """Int8 weights in FBGEMM's layout."""
    zeros_O = torch.zeros(len(scale_O), dtype=torch.long)
    with warnings.catch_warnings(), _engine:
        warnings.simplefilter("ignore", UserWarning)  # quantized tensors will go from torch; `check_int8` looks
        float_OI = weight_OI * scale_O[:, None]
        quantized = torch.quantize_per_channel(float_OI, scale_O.double(), zeros_O, 0, torch.qint8)
        assert torch.equal(quantized.int_repr(), weight_OI)
        before = torch.backends.quantized.engine
        torch.backends.quantized.engine = ENGINE
        try:
            return _prepack(torch.ops)(quantized, None)
        finally:
            torch.backends.quantized.engine = before


@cache
def _levels() -> tuple[int, int]:
    """How many levels an input's largest number has, and which level is zero: 127 and 128, or 63 and 64.

    CPUs without VNNI add two products in 16 bits, which overflows if all 8 bits of the input are used. A trial tells.
    """
    steps = WEIGHT_STEPS
    weight_OI = torch.full((16, 64), WEIGHT_STEPS, dtype=torch.int8)
    made = _product(torch.ops)(torch.ones(1, 64), 1 / steps, steps + 1, _pack(weight_OI, torch.ones(16)))
    exact = bool((made - 64.0 * WEIGHT_STEPS).abs().max() < 1.0)
    return (steps, steps + 1) if exact else (63, 64)


def _refuse_to_save(*args: Any, **kwargs: Any) -> None:
    raise IncompatibleModelError(
        "A model with weights='int8' has no weights to save or to merge into. Load it without weights= for that."
    )
