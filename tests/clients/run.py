"""Clients of OpenAI's API against a server process: `make test-clients`, or `python tests/clients/run.py [NAME ...]`.

The inspector of MCP is one more, against `pad-langchain mcp`, and so is Ray Serve, which runs servers itself. Clients
pin each other out, so each lives in an environment of its own, `.venv-clients/NAME`, made from NAME.txt beside this
file. An environment is kept until its file changes. The server runs in the environment of the project.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PLACE = ROOT / ".venv-clients"

# Client → the file of its tests. Those with NAME.txt have an environment.
CLIENTS = {
    "openai-2": "openai_sdk.py",
    "openai-3": "openai_sdk.py",
    "langchain": "chat_openai.py",
    "llama-index": "openai_like.py",
    "litellm": "litellm_client.py",
    "curl": "curl.py",
    "compatcanary": "compat_canary.py",
    "mcp-inspector": "mcp_inspector.py",
    "ray": "ray_serve.py",
}
ON_TOP = {"ray"}  # of the project: their environments see what the project's has
_PROJECT = [path for path in sys.path if path.endswith("site-packages")] + [str(ROOT), str(ROOT / "memory")]
INSTALLS_S = 600  # seconds for one environment
TESTS_S = 600  # seconds for one client's tests


class InstallError(Exception):
    """An environment was not made; the message says which, and the end of what pip said."""


@dataclass(frozen=True)
class Environment:
    """The virtual environment of one client.

    Args:
        name: of the client, which has NAME.txt.
        place: where environments are.
    """

    name: str
    place: Path = PLACE

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.place / self.name / "bin" / "python"

    def install(self, make: str = sys.executable) -> float:
        """Make it, unless it is there and its file is the same; return the seconds that took.

        Args:
            make: the Python that makes it.

        Raises:
            InstallError: pip or venv failed, or took too long.
        """
        wanted = HERE / f"{self.name}.txt"
        stamp = self.place / self.name / "installed.txt"  # written last: without it the environment is made anew
        if stamp.exists() and stamp.read_text() == wanted.read_text():
            return 0.0
        begun = time.monotonic()
        log = self.place / f"{self.name}.log"
        self.place.mkdir(exist_ok=True)
        shutil.rmtree(self.place / self.name, ignore_errors=True)
        pip = [str(self.python), "-m", "pip", "install", "--no-input", "--no-compile", "--progress-bar", "off"]
        with log.open("wb") as said:
            for command in ([make, "-m", "venv", str(self.place / self.name)], [*pip, "-r", str(wanted)]):
                try:
                    subprocess.run(command, stdout=said, stderr=said, timeout=INSTALLS_S, check=True)
                except (OSError, subprocess.SubprocessError) as error:
                    raise InstallError(self._failed(log, error)) from None
                self._see_the_project()
        stamp.write_text(wanted.read_text())
        return time.monotonic() - begun

    def _see_the_project(self) -> None:
        """Let it find the project's packages after its own. pip then takes them as installed."""
        if self.name in ON_TOP:
            for own in (self.place / self.name / "lib").glob("python*/site-packages"):
                own.joinpath("project.pth").write_text("".join(f"{path}\n" for path in _PROJECT), encoding="utf-8")

    def _failed(self, log: Path, error: Exception) -> str:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        return (
            f"The environment of {self.name} (tests/clients/{self.name}.txt) was not made: {type(error).__name__}.\n"
            f"{tail}\nThe whole log is in {log}."
        )


def main(names: list[str]) -> int:
    """Install and test the named clients, or all; return the exit code."""
    unknown = [name for name in names if name not in CLIENTS]
    if unknown:
        print(f"There is no client {unknown[0]!r}. Those are: {', '.join(CLIENTS)}.", file=sys.stderr)
        return 2
    chosen = names or list(CLIENTS)
    begun = time.monotonic()
    failed = _install([name for name in chosen if (HERE / f"{name}.txt").exists()])
    print(f"Environments: {time.monotonic() - begun:.0f} s", flush=True)
    sys.path.insert(0, str(HERE.parent))
    from served_process import serve  # after the installation, as it imports the project's libraries

    totals = {"passed": 0, "failed": len(failed), "skipped": 0}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OMP_NUM_THREADS"] = "1"  # a batch of two rows is slower with more
        with serve(Path(folder), "--memory", str(Path(folder) / "memory")) as running:
            told = json.dumps({"url": running.url, "keys": running.keys})
            for name in chosen:
                if name not in failed:
                    _count(_test(name, told), totals)
    print(f"\nclients: {', '.join(f'{number} {what}' for what, number in totals.items())}")
    print(f"all of it: {time.monotonic() - begun:.0f} s")
    for message in failed.values():
        print(message, file=sys.stderr)
    return 1 if totals["failed"] or not totals["passed"] else 0


def _install(names: list[str]) -> dict[str, str]:
    """Make environments, two at a time; return what is told of those that failed."""
    failed = {}
    with ThreadPoolExecutor(2) as pool:
        for name, made in [(name, pool.submit(Environment(name).install)) for name in names]:
            try:
                made.result()
            except InstallError as error:
                failed[name] = str(error)
    return failed


def _test(name: str, told: str) -> subprocess.CompletedProcess[str]:
    print(f"\n== {name}", flush=True)
    own = Environment(name).python
    python = own if (HERE / f"{name}.txt").exists() else sys.executable
    command = [str(python), "-m", "pytest", "-c", str(HERE / "pytest.ini"), "--confcutdir", str(HERE)]
    command += ["-rs", str(HERE / CLIENTS[name])]
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTEST_ADDOPTS")}
    environment = {**kept, "PAD_SERVER": told}
    try:
        done = subprocess.run(
            command, cwd=HERE, env=environment, stdout=subprocess.PIPE, encoding="utf-8", timeout=TESTS_S
        )
    except subprocess.TimeoutExpired:
        print(f"{name} took longer than {TESTS_S} s.")
        return subprocess.CompletedProcess(command, -1, "")
    print(done.stdout, end="", flush=True)
    return done


def _count(done: subprocess.CompletedProcess[str], totals: dict[str, int]) -> None:
    """Add what pytest's last line says; a run that ended without one, or badly, counts as a failure."""
    last = (done.stdout.splitlines() or [""])[-1]
    found = {what: int(number) for number, what in re.findall(r"(\d+) (passed|failed|skipped|error)", last)}
    totals["passed"] += found.get("passed", 0)
    totals["skipped"] += found.get("skipped", 0)
    bad = found.get("failed", 0) + found.get("error", 0)
    totals["failed"] += bad or (done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
