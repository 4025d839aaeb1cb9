"""pad-vllm in a vLLM of its own, against our engine: `make test-vllm`, or `python tests/live_vllm/run.py [FILE ...]`.

vLLM pins other versions than this project, so it lives in `.venv-vllm`, made from requirements.txt beside this file
and kept until that changes. Each file of tests runs in a process of its own there. Our engine answers first, in the
environment of the project.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLACE = ROOT / ".venv-vllm"
PYTHON = PLACE / "bin" / "python"
# Builds of these for CUDA come with the build for CPUs, and `import vllm` fails on them.
UNWANTED = ["torchvision", "torchaudio", "torchcodec"]
INSTALLS_S, TESTS_S = 1200, 900
# The second runner of vLLM needs a backend of Triton, which breaks the first: its own process has it.
V2 = "test_v2.py"
BACKEND = HERE / "triton_cpu"


def main(names: list[str]) -> int:
    """Install, ask our engine, and run the named files of tests, or all; return the exit code."""
    files = sorted(path.name for path in HERE.glob("test_*.py"))
    if unknown := [name for name in names if name not in files]:
        print(f"There is no file {unknown[0]!r}. Those are: {', '.join(files)}.", file=sys.stderr)
        return 2
    begun = time.monotonic()
    try:
        install()
        print(f"Environment: {time.monotonic() - begun:.0f} s", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            told = Path(folder) / "expected.json"
            command(sys.executable, HERE / "expected.py", told, timeout=TESTS_S, env=environment())
            print(f"Our engine's answers: {time.monotonic() - begun:.0f} s", flush=True)
            totals = [run(file, told) for file in names or files]
    except subprocess.SubprocessError as error:
        print(error, file=sys.stderr)
        return 1
    passed, failed = (sum(column) for column in zip(*totals, strict=True))
    print(f"\nvLLM: {passed} passed, {failed} failed; all of it: {time.monotonic() - begun:.0f} s")
    return 1 if failed or not passed else 0


def install() -> None:
    """Make the environment, unless its requirements are those of before; put the plugin of this checkout into it."""
    wanted, stamp = HERE / "requirements.txt", PLACE / "installed.txt"
    pip = (PYTHON, "-m", "pip")
    if not stamp.exists() or stamp.read_text() != wanted.read_text():
        shutil.rmtree(PLACE, ignore_errors=True)
        command(sys.executable, "-m", "venv", PLACE, timeout=INSTALLS_S)
        quiet = ("--quiet", "--no-input", "--progress-bar", "off")
        command(*pip, "install", *quiet, "--no-compile", "-r", wanted, timeout=INSTALLS_S)
        command(*pip, "uninstall", "--quiet", "--yes", *UNWANTED, timeout=INSTALLS_S)
        stamp.write_text(wanted.read_text())
    with tempfile.TemporaryDirectory() as folder:
        built = (sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder, ROOT / "pad_vllm")
        command(*built, timeout=INSTALLS_S, stdout=subprocess.DEVNULL)
        (wheel,) = Path(folder).glob("*.whl")
        # Its requirement is vllm, which this build for CPUs has another name than.
        command(*pip, "install", "--quiet", "--no-deps", "--force-reinstall", wheel, timeout=INSTALLS_S)


def command(*words: str | Path, **keywords: object) -> None:
    """Run a command; raise SubprocessError where it fails or takes too long."""
    subprocess.run([str(word) for word in words], check=True, **keywords)  # type: ignore[call-overload]


def run(file: str, told: Path) -> tuple[int, int]:
    """Run one file of tests; return how many passed and failed. A run without a last line counts as a failure."""
    print(f"\n== {file}", flush=True)
    words = [str(PYTHON), "-m", "pytest", "-c", str(HERE / "pytest.ini"), "--confcutdir", str(HERE), str(HERE / file)]
    more = {"PAD_EXPECTED": str(told)}
    if file == V2:
        more |= {"PYTHONPATH": str(BACKEND), "TRITON_INTERPRET": "1", "VLLM_USE_V2_MODEL_RUNNER": "1"}
    try:
        done = subprocess.run(
            words, cwd=HERE, env=environment() | more, stdout=subprocess.PIPE, encoding="utf-8", timeout=TESTS_S
        )
    except subprocess.TimeoutExpired:
        print(f"{file} took longer than {TESTS_S} s.")
        return 0, 1
    print(done.stdout, end="", flush=True)
    last = (done.stdout.splitlines() or [""])[-1]
    found = {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|error)", last)}
    bad = found.get("failed", 0) + found.get("error", 0)
    return found.get("passed", 0), bad or int(done.returncode != 0)


def environment() -> dict[str, str]:
    """The variables of a run: those of now, but for the caller's own tests and paths."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    return kept | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
