"""bfloat16 where the machine multiplies in it faster than in float32."""

from __future__ import annotations

import torch

__all__ = ["fast_bfloat16", "mixed_precision"]


def fast_bfloat16(device: str) -> bool:
    """Whether a device type gains by it: CPUs without AVX-512 emulate bfloat16, many times slower than float32."""
    return device != "cpu" or torch.backends.cpu.get_cpu_capability() not in ("DEFAULT", "NO AVX", "AVX2")


def mixed_precision(device: str, wanted: bool = True) -> torch.autocast:
    """Autocast to bfloat16 where that is fast."""
    return torch.autocast(device, torch.bfloat16, enabled=wanted and fast_bfloat16(device))
