"""How many cores are free: those this process may use, less those that others use now."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["free_cores"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of CPU time a period, "max" for no limit


def free_cores() -> int:
    """Return how many cores a computation can have to itself, at least 1.

    The load of the machine is the last minute's mean number of threads that run or wait for a core. This process is
    taken for one of them.
    """
    cores = _allowed()
    try:
        busy = max(0, round(os.getloadavg()[0]) - 1)
    except (AttributeError, OSError):  # a system that does not tell
        busy = 0
    return max(1, cores - busy)


def _allowed() -> int:
    """Cores that this process may use, by its affinity and its container's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        return max(1, min(cores, int(quota) // int(period)))
    except (OSError, ValueError):  # no such container, or no quota
        return cores
