"""Programs in processes of their own, without the seconds that each would need to import the libraries.

One process imports them and does nothing else; it forks for every program. What a program finds is a fresh process, in
its own folder, whose imports are quick.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import types
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

TIMEOUT = 280  # seconds


def run_program(
    program: str | Path, *arguments: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a script, or source text as `python -c` does, and return its exit code and what it printed.

    A program that takes longer than `TIMEOUT` is ended: its exit code is below 0.
    """
    if sys.platform != "linux":
        command = [sys.executable, *(["-c", program] if isinstance(program, str) else [str(program)]), *arguments]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=TIMEOUT)
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        job = {
            "source": program if isinstance(program, str) else None,
            "argv": ["-c" if isinstance(program, str) else str(program), *arguments],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "out": str(out),
            "err": str(err),
        }
        server = _server()
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps(job) + "\n")
        server.stdin.flush()
        answer = server.stdout.readline()
        assert answer, "the process that imports the libraries has ended"
        return subprocess.CompletedProcess(job["argv"], int(answer), out.read_text(), err.read_text())


@cache
def _server() -> subprocess.Popen[str]:
    process = subprocess.Popen(  # -P: what lies beside this file is nothing that a program may import
        [sys.executable, "-P", __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def end() -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        process.wait()
        process.stdout.close()

    atexit.register(end)
    return process


def _import_libraries() -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM  # noqa: F401


def _serve() -> None:
    """Read a job a line and answer with its exit code; a child leaves the loop to become the program."""
    _import_libraries()
    gc.collect()
    gc.freeze()  # else the end of every child walks through all that was imported
    for line in sys.stdin:
        assert threading.active_count() == 1, "a fork would lose threads"
        if child := os.fork():
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)  # noqa: T201
            continue
        _become(json.loads(line))
        return


def _become(job: Mapping[str, Any]) -> None:
    """Run the program here; how the interpreter ends is as in any process."""
    signal.alarm(TIMEOUT)
    for number, path, flags in (
        (0, os.devnull, os.O_RDONLY),
        (1, job["out"], os.O_WRONLY | os.O_CREAT),
        (2, job["err"], os.O_WRONLY | os.O_CREAT),
    ):
        opened = os.open(path, flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(job["cwd"])
    os.environ.clear()
    os.environ.update(job["env"])
    sys.argv = list(job["argv"])
    if job["source"] is None:
        sys.path.insert(0, str(Path(sys.argv[0]).parent))
        runpy.run_path(sys.argv[0], run_name="__main__")
    else:
        sys.path.insert(0, "")
        module = sys.modules["__main__"] = types.ModuleType("__main__")
        exec(compile(job["source"], "<string>", "exec"), module.__dict__)


if __name__ == "__main__":
    _serve()
