"""How much of the machine's memory a piece of work needs at its most."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["Peak", "peak_use"]


@dataclass
class Peak:
    """GiB: of the GPU where there is one, else of the process; NaN where the system does not tell."""

    gib: float = float("nan")


@contextmanager
def peak_use() -> Iterator[Peak]:
    """Measure the peak within the block; `gib` is there when it ends."""
    peak = Peak()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        with suppress(OSError):  # only Linux can start its high-water mark again; elsewhere it is the process's whole
            Path("/proc/self/clear_refs").write_text("5")
    yield peak
    peak.gib = torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else _high_water()


def _high_water() -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 2**20
    try:
        import resource
    except ImportError:  # Windows
        return float("nan")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
