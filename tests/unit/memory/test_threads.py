"""Helper threads of OpenMP: gone when their thread says so, and there again for the next product."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pad_memory.openmp import _pauses
from places import TESTS

PROGRAM = """
import os, sys, threading
import torch
sys.path.insert(0, sys.argv[1])
from waiting import settled
from pad_memory.openmp import dismiss_helpers

torch.set_num_threads(3)
dismiss_helpers()  # what it imports must not be counted
product = lambda: float((torch.ones(512, 512) @ torch.ones(512, 512)).sum())

def threads():  # the system takes a moment to forget a thread that ended
    return settled(lambda: len(os.listdir("/proc/self/task")))

at_rest = threads()
first = product()
at_work = threads()
other = threading.Thread(target=dismiss_helpers)
other.start()
other.join()
after_other = threads()
dismiss_helpers()
print(at_work - at_rest, after_other - at_work, threads() - at_rest, product() == first, threads() - at_rest)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are counted in /proc")
def test_a_thread_dismisses_its_own_helpers_and_gets_new_ones() -> None:
    import torch  # noqa: F401  its OpenMP is asked about

    if not _pauses():
        pytest.skip("torch's OpenMP is not GNU's, or older than 5.0")
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    env = {name: value for name, value in os.environ.items() if name not in limits}
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(TESTS)], capture_output=True, text=True, timeout=120, check=True, env=env
    )
    assert run.stdout.split() == ["2", "0", "0", "True", "2"]
