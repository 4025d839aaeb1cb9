"""Engines that were used before their process forks, and in spawned processes. Each runs in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from pad_langchain.engine import Request
from pad_langchain.engine.local.step_lock import StepLock
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.errors import EngineClosedError
from pad_langchain.testing import tiny_pair

HEAD = """
import logging, multiprocessing, os, sys, threading, warnings
import torch
torch.set_num_threads(2)
from pad_langchain import ChatPAD, PADLLM
from pad_langchain.chat import engines
from pad_langchain.errors import EngineClosedError
llm = ChatPAD(max_tokens=12)

def ask(queue=None):
    text = llm.invoke("What is tea?").text
    return text if queue is None else queue.put(text)

def child(method, target):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=target, args=(queue,), daemon=True)
    process.start()
    got = queue.get(timeout=60)
    process.join(30)
    assert process.exitcode == 0, process.exitcode
    return got

def work():  # leaves OpenMP helpers behind
    a = torch.randn(512, 512)
    for _ in range(20):
        a = (a @ a).tanh()
"""

IDLE = """
if __name__ == "__main__":
    expected = ask()
    work()
    assert child("fork", ask) == expected
    assert child("fork", ask) == expected, "and once more"
    assert ask() == expected, "the parent goes on"
    print("done")
"""

SPAWNED = """
if __name__ == "__main__":
    expected = ask()
    assert child("spawn", ask) == expected
    print("done")
"""

# Forks come while the worker is in steps, others tokenize, and somebody loads.
BUSY = """
def answers(queue):
    try:
        stream.result(20)
        first = "an answer"
    except EngineClosedError as error:
        first = str(error)
    work()
    queue.put((first, ask(), PADLLM(max_tokens=12).complete("What is tea?").text))

if __name__ == "__main__":
    expected = ask()
    engine = engines.shared_pair("pad-demo").engine
    from pad_langchain.engine import Request
    long = Request([{"role": "user", "content": "Where is Japan?"}], max_tokens=120)
    want = engine.submit(long).result().token_ids
    stop = threading.Event()
    def encode():
        while not stop.is_set():
            engine.prompts.encode("tea " * 500)
            stop.wait(0.001)
    threads = [threading.Thread(target=encode, daemon=True) for _ in range(1)]
    [thread.start() for thread in threads]
    for _ in range(2):
        stream = engine.submit(long)
        reader = iter(stream)
        next(reader)
        with engines._lock:
            said, *texts = child("fork", answers)
        assert "before the process forked" in said, said
        assert texts == [expected] * 2, texts
        assert stream.result(60).token_ids == want
    stop.set()
    print("done")
"""

# As gunicorn does with preload_app: the arbiter forks, workers serve from threads and may fork again.
PRELOADED = """
if __name__ == "__main__":
    expected = ask()
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            texts = []
            threads = [threading.Thread(target=lambda: texts.append(ask())) for _ in range(3)]
            [thread.start() for thread in threads]
            [thread.join(60) for thread in threads]
            grandchild = child("fork", ask)
            os._exit(0 if [*texts, grandchild] == [expected] * 4 else 1)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0, 0]
    print("done")
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("program", [IDLE, SPAWNED, BUSY, PRELOADED], ids=["idle", "spawned", "busy", "preloaded"])
def test_children_answer_as_their_parent_does(program: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(HEAD + program)
    ran = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=200)
    assert ran.stdout.strip() == "done", ran.stdout + ran.stderr


def test_a_child_whose_model_is_on_a_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = tiny_pair()
    with TorchEngine(pair.model, pair.tokenizer) as engine:
        backbone = SimpleNamespace(device=torch.device("cuda:0"), prefixes=None)
        worker = engine._worker
        worker.models.base, worker.models.models = backbone, [backbone]
        worker.begin_anew()  # as in a child
        with pytest.raises(EngineClosedError, match="is on cuda:0, which a forked process cannot use"):
            engine.submit(Request(prompt_ids=[5]))


def test_who_holds_the_steps_waits_for_the_one_that_runs_and_comes_before_the_next() -> None:
    lock = StepLock()
    with lock.step():
        assert not lock.hold()  # the thread of the step itself
    assert lock.hold()
    lock.release()
    with lock.step():
        pass
