"""A store that the code of 0.1 wrote: it opens, shows the same, and survives a kill while it is brought up to date."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import PoleScorer, WordEmbedder
from pad_memory import PreferenceMemory, Values
from pad_memory.language import embed_wishes
from places import DATA, TESTS

STORE = DATA / "store_0_1"
QUERY = "how do I sort a list in code"


def unpacked(folder: Path) -> Path:
    with tarfile.open(STORE / "store.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def opened(folder: Path, scorer: PoleScorer | None) -> PreferenceMemory:
    return PreferenceMemory(folder, embedder=WordEmbedder(), scorer=scorer, values=Values(classifier=False))


def expected(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((STORE / "expected.json").read_text(encoding="utf-8"))[name]
    return found


def seen(memory: PreferenceMemory) -> dict[str, Any]:
    """What `tests/data/store_0_1/make.py` wrote down, and that each vector is that of its text."""
    conditions: dict[str, Any] = {}
    for user in ("ada", "bob", "cleo"):
        for name, arguments in (("plain", ()), ("query", (QUERY, "monday", 8))):
            items = memory.condition(user, *arguments).items
            conditions.setdefault(user, {})[name] = [[item.key, item.text, item.weight] for item in items]
            vectors_NE = embed_wishes(WordEmbedder(), [item.text for item in items])
            assert all(
                np.array_equal(item.embedding, vector_E) for item, vector_E in zip(items, vectors_NE, strict=True)
            )
    return {
        "users": memory.users(),
        "conditions": conditions,
        "exports": {user: memory.export(user) for user in ("ada", "bob")},
        "cleo's profile": hashlib.sha256(memory.profile("cleo").to_json().encode()).hexdigest(),
    }


@pytest.mark.parametrize(("name", "scorer"), [("without a scorer", None), ("with a scorer", PoleScorer())])
def test_an_old_store_shows_the_same(tmp_path: Path, name: str, scorer: PoleScorer | None) -> None:
    folder = unpacked(tmp_path)
    assert list((folder / "journal").glob("*.log"))
    for _ in range(2):  # as it was left, and as it was closed
        with opened(folder, scorer) as memory:
            assert seen(memory) == expected(name)
    with opened(folder, scorer) as memory:
        assert memory.repair().rebuilt == ()


KILLED = """
import os, signal, sys
from pathlib import Path
import chromadb
from pad_memory.language.reader import Reader
from pad_memory.store import index_files
from pad_memory.store.connection import Connection
from pad_memory.store.journal import Journal
sys.path.insert(0, sys.argv[1])
from killed import die_at, forked
from unit.memory.store.test_memory_old_store import PoleScorer, expected, opened, seen, unpacked

def bring_up_to_date(folder, fatal):
    die_at(fatal, (Connection, "call"), (Journal, "append"), (Journal, "clear"), (index_files, "blank_unused"))
    with opened(folder, PoleScorer()) as memory:
        for user in ("ada", "bob", "cleo"):
            memory.condition(user)

def check(folder):
    with opened(folder, PoleScorer()) as memory:
        assert seen(memory) == expected("with a scorer")
        assert memory.repair().rebuilt == ()

fatal = 1
while True:
    folder = unpacked(Path(sys.argv[2]) / str(fatal))
    status = forked(lambda: bring_up_to_date(folder, fatal))
    if status == 0:  # it came to its end
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    assert forked(lambda: check(folder)) == 0, f"killed at step {fatal}"
    fatal += int(sys.argv[3])
print(fatal)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="trials are forked")
def test_an_old_store_survives_a_kill_amid_its_first_opening(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(TESTS), str(tmp_path), "5"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20  # so many places it was killed at, and whole at each
