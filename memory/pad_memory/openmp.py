"""Letting go of the helper threads that parallel work leaves behind.

GNU's OpenMP, which torch has on Linux, keeps a team of helpers for every thread that ever ran a parallel product. Where
two such teams have more threads than the machine has cores, all of them sleep between any two products, and decode
steps on two threads take about one and a half times as long (120M parameters, two cores). So a thread that embeds, or
that loads a model, dismisses its team when it is done; the next product makes a new one in a tenth of a millisecond.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from threadpoolctl import ThreadpoolController

__all__ = ["dismiss_helpers"]

SOFT = 1  # omp_pause_soft, OpenMP 5.0, section 3.2.44


def dismiss_helpers() -> None:
    """End the helper threads of the calling thread, and of no other; nothing where OpenMP is not GNU's."""
    for pause in _pauses():
        pause(SOFT)


@cache
def _pauses() -> list[Callable[[int], int]]:
    """`omp_pause_resource_all` of each GNU OpenMP in the process; in others it acts on all threads."""
    found = ThreadpoolController().select(internal_api="openmp").lib_controllers
    return [
        library.dynlib.omp_pause_resource_all
        for library in found
        if library.prefix == "libgomp" and hasattr(library.dynlib, "omp_pause_resource_all")
    ]
