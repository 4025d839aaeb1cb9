"""A memory that was opened before a fork: the child is told so, hangs nowhere, and takes nothing from its parent."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from places import TESTS

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")

# What every program begins with; `inside(work)` runs work in a forked child and returns what it printed.
BEGINNING = """
import multiprocessing, os, sys, threading, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from fakes import WordEmbedder
from pad_memory import PreferenceMemory, ResponseLog, Statement, Thumb, Values
from pad_memory.errors import StoreForkedError, StoreLockedError
folder = Path(sys.argv[2])

def opened(path, embedder=None):  # the classifier's model is not what this is about, and takes seconds to load
    return PreferenceMemory(path, embedder=embedder or WordEmbedder(), values=Values(classifier=False))

def refused(call):
    try:
        call()
    except StoreForkedError as error:
        assert "before it forked" in str(error) and "post_fork" in str(error) and str(os.getpid()) in str(error)
    else:
        raise AssertionError("it was not refused")

def inside(work, seconds=30):
    child = os.fork()
    if child == 0:
        import faulthandler
        faulthandler.dump_traceback_later(seconds, exit=True)
        try:
            work()
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
        sys.exit(0)  # as a worker of gunicorn ends: with all destructors
    assert os.waitpid(child, 0)[1] == 0, "the child failed or hung"
"""
PROGRAMS = {
    "every call is refused": """
memory = opened(folder)
memory.record("ada", Statement("be brief", id="first"))
def work():
    for user in ("ada", "bob"):  # at hand, and still to be read
        for call in (
            lambda: memory.record(user, Statement("mention cats")), lambda: memory.record(user, Thumb("q", "a", True)),
            lambda: memory.record(user, Statement("be brief", id="first")), lambda: memory.profile(user),
            lambda: memory.condition(user), lambda: memory.events(user), lambda: memory.undo(user),
            lambda: memory.retract(user, "first"), lambda: memory.forget(user), lambda: memory.export(user),
            lambda: memory.users(), lambda: memory.repair(), lambda: memory.survey(),
            lambda: list(memory.export_pairs()),
            lambda: memory.items.put(user, (), "a", {}), lambda: memory.items.search(user),
            lambda: memory.history(user), lambda: memory.search(user, "cats"), lambda: memory.next_question(user),
        ):
            refused(call)
    memory.close()
    memory.close()
for _ in range(2):
    inside(work)
memory.record("ada", Statement("mention dogs"))
memory.close()
with opened(folder) as memory:
    assert len(memory.events("ada")) == 2 and memory.users() == ["ada"]
""",
    "the parent keeps its lock and its temporary folder": """
kept, temporary = opened(folder), opened(None)
for memory in (kept, temporary):
    memory.record("ada", Statement("be brief"))
def work():
    kept.close()
    temporary.close()
inside(work)
inside(lambda: None)
try:
    opened(folder)
except StoreLockedError:
    pass
else:
    raise AssertionError("two memories have the folder open")
for memory in (kept, temporary):
    for number in range(70):  # over one batch for Chroma
        memory.record("ada", Statement(f"mention animal {number}"))
    assert len(memory.events("ada")) == 71
    assert memory.repair().rebuilt == ()
""",
    "a folder cannot be opened in a child of a process that opened one": """
def work():
    for path in (folder / "child", None):
        try:
            opened(path)
        except StoreForkedError as error:
            assert "Open the first" in str(error) and "spawn" in str(error)
        else:
            raise AssertionError("it was not refused")
memory = opened(folder / "parent")
memory.record("ada", Statement("be brief"))
inside(work)
memory.close()
inside(work)
with opened(folder / "parent") as memory:
    assert len(memory.events("ada")) == 1
""",
    "opened after the fork": """
def work():
    with opened(folder) as memory:
        memory.record("ada", Statement("be brief"))
inside(work)
with opened(folder) as memory:
    assert len(memory.events("ada")) == 1
""",
    "locks that were held": """
hold, holding = threading.Event(), threading.Event()
class Slow(WordEmbedder):
    def embed(self, texts):
        if any("slowly" in text for text in texts):
            holding.set()
            hold.wait()
        return super().embed(texts)
memory = opened(folder, Slow())
memory.record("ada", Statement("mention cats"))
thread = threading.Thread(target=lambda: memory.record("ada", Statement("mention dogs slowly")))
thread.start()
holding.wait()
log = memory.responses
entered, leave = threading.Event(), threading.Event()
def clock():
    if threading.current_thread().name == "answering":
        entered.set()
        leave.wait()
    return time.monotonic()
log = ResponseLog(clock=clock)
log.add("ada", "1", "q", "a")
answering = threading.Thread(target=lambda: len(log), name="answering")
answering.start()
entered.wait()
def work():
    refused(lambda: memory.record("ada", Statement("mention birds")))
    memory.close()
    assert log.find("ada", "1") == ("q", "a")
inside(work)
hold.set(); leave.set(); thread.join(); answering.join()
assert len(memory.events("ada")) == 2
""",
    "multiprocessing": """
def works(path):
    with opened(path) as other:
        other.record("ada", Statement("be brief"))
        return len(other.events("ada"))
def told(memory):
    refused(lambda: memory.record("ada", Statement("be brief")))
if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(works, [folder / "fork"]) == [1]
    memory = opened(folder / "parent")
    memory.record("ada", Statement("be brief"))
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(works, [folder / "spawn"]) == [1]
    process = multiprocessing.get_context("fork").Process(target=told, args=(memory,))
    process.start()
    process.join(30)
    assert process.exitcode == 0
""",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_a_fork(tmp_path: Path, name: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(BEGINNING + PROGRAMS[name])
    command = [sys.executable, str(program), str(TESTS), str(tmp_path / "memory")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
