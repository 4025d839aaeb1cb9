"""The precision in which a model computes: what a user asks for, or what is fastest."""

from __future__ import annotations

import logging
import math
from operator import attrgetter
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pad_langchain.errors import InvalidRequestError
from pad_langchain.paths import absolute

if TYPE_CHECKING:
    import torch

__all__ = ["computes_in_bfloat16", "fastest_dtype", "pick_dtype"]

SMALL = 2**26  # bytes of weights, about what a CPU has caches for

logger = logging.getLogger(__name__)

# Newer versions of torch say so in public (`torch.cpu.get_capabilities`); in older ones its own compiler asks these.
_ASK = attrgetter("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def pick_dtype(dtype: Any, device: torch.device) -> torch.dtype:
    """Return a torch dtype. "auto" is bfloat16 on CUDA and float32 on the CPU.

    Args:
        dtype: "auto", a name such as "bfloat16", or a torch dtype.
        device: where the model computes.

    Raises:
        InvalidRequestError: it is not a floating-point dtype.
    """
    import torch

    if dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    picked = getattr(torch, dtype, None) if isinstance(dtype, str) else dtype
    if not isinstance(picked, torch.dtype) or not picked.is_floating_point:
        raise InvalidRequestError(f"dtype has to be 'auto', 'float32', 'bfloat16' or 'float16', but is {dtype!r}.")
    return picked


def fastest_dtype(
    dtype: Any, device: torch.device, weights: str | None = None, model: str | PathLike[str] | None = None
) -> torch.dtype:
    """Return the dtype that decodes fastest. "auto" is bfloat16 on a CPU that computes in it, if the model is large.

    Args:
        dtype, device: as in `pick_dtype`.
        weights: "int8" means "auto" is float32. None means weights in the dtype.
        model: the model's folder. Below `SMALL` bytes of weights, "auto" is float32. Other names are taken for large
            models. None means a large model.

    Raises:
        InvalidRequestError: it is not a floating-point dtype.
    """
    import torch

    if dtype != "auto" or device.type != "cpu":
        return pick_dtype(dtype, device)
    if weights is not None:
        picked, reason = torch.float32, f"what {weights} weights are multiplied with"
    elif model is not None and _bytes(absolute(model)) < SMALL:
        picked, reason = torch.float32, "the model is small, and bfloat16 no faster"
    elif computes_in_bfloat16():
        picked, reason = torch.bfloat16, "this CPU computes in it and reads half the bytes"
    else:
        picked, reason = torch.float32, "this CPU does not compute in bfloat16 (AVX512-BF16 or AMX)"
    logger.info("dtype 'auto' is %s: %s", str(picked).removeprefix("torch."), reason)
    return picked


def _bytes(folder: Path) -> float:
    """How many bytes a folder's weights have. Infinite where there are none."""
    files = [*folder.glob("*.safetensors"), *folder.glob("*.bin")] if folder.is_dir() else []
    return sum(file.stat().st_size for file in files) if files else math.inf


def computes_in_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 numbers natively: AVX512-BF16 or AMX."""
    import torch

    if hasattr(torch.cpu, "get_capabilities"):
        known = torch.cpu.get_capabilities()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    try:
        return any(ask() for ask in _ASK(torch.cpu))
    except (AttributeError, RuntimeError):
        return False
