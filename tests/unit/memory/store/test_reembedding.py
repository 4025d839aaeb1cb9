"""Another embedder under a store: it is refused, then all vectors are made anew, whenever that is killed."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from fakes import WordEmbedder
from pad_memory import PreferenceMemory, Statement, reembed
from pad_memory.errors import EmbedderError, InvalidEventError, StoreLockedError
from pad_memory.language import embed_wishes
from places import TESTS

USERS = ("ada", "bob", "cleo")
WISH = "call me Max"


class Wider:
    """Another embedder with vectors of another size: [N, 96] unit rows."""

    name = "wider"

    def __init__(self) -> None:
        self.texts = 0

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        self.texts += len(texts)
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in texts]
        rows_NE = np.array([np.random.default_rng(seed).normal(size=96) for seed in seeds]).reshape(len(texts), 96)
        return (rows_NE / np.linalg.norm(rows_NE, axis=1, keepdims=True)).astype(np.float32)


def filled(folder: Path) -> dict[str, str]:
    """A store of three users; what they want."""
    with PreferenceMemory(folder, embedder=WordEmbedder()) as memory:
        for user in USERS:
            memory.record(user, Statement(f"{WISH} {user}"))
            memory.record(user, Statement("short answers"))
            memory.items.put(user, ("notes",), "tea", {"kind": "green"}, text="never drinks coffee")
        return {user: memory.profile(user).to_json() for user in USERS}


def check(folder: Path, profiles: dict[str, str]) -> None:
    """Everything is there, each vector the new embedder's, and more can be recorded."""
    embedder = Wider()
    with PreferenceMemory(folder, embedder=embedder) as memory:
        for user in USERS:
            assert memory.profile(user).to_json() == profiles[user]
            items = memory.condition(user).items
            assert len(items) == 2
            for item, vector_E in zip(items, embed_wishes(embedder, [item.text for item in items]), strict=True):
                np.testing.assert_allclose(item.embedding, vector_E, atol=1e-6)
            (note,) = memory.items.search(user, query="never drinks coffee")
            assert note.score == pytest.approx(1.0, abs=1e-5)
        memory.record("ada", Statement("only recommend trains"))
        assert len(memory.condition("ada").items) == 3
        assert memory.repair().rebuilt == ()


def test_another_embedder_is_refused_with_the_line_to_type(tmp_path: Path) -> None:
    filled(tmp_path)
    with pytest.raises(EmbedderError, match=r"'words'.*'wider'.*pad_memory.reembed\(path=") as error:
        PreferenceMemory(tmp_path, embedder=Wider())
    assert "pad-langchain memory reembed" in str(error.value)


def test_all_vectors_are_made_anew_and_a_second_call_does_nothing(tmp_path: Path) -> None:
    profiles = filled(tmp_path)
    told: list[tuple[int, int]] = []
    assert reembed(tmp_path, embedder=Wider(), progress=lambda done, of: told.append((done, of))) >= 6
    assert told == [(done, told[-1][1]) for done in range(1, told[-1][1] + 1)]
    assert reembed(tmp_path, embedder=Wider()) == 0
    check(tmp_path, profiles)
    with pytest.raises(EmbedderError, match="'wider'"):
        PreferenceMemory(tmp_path, embedder=WordEmbedder())


def test_another_embedder_of_the_same_name_is_found_out(tmp_path: Path) -> None:
    class Other(Wider):
        name = "words"

    class Turned(WordEmbedder):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            return np.roll(super().embed(texts), 1, axis=1)

    filled(tmp_path)
    for other in (Other(), Turned()):
        with (
            PreferenceMemory(tmp_path, embedder=other) as memory,
            pytest.raises(EmbedderError, match="makes other vectors"),
        ):
            memory.record("ada", Statement("only recommend trains"))
    with PreferenceMemory(tmp_path, embedder=WordEmbedder()) as memory:
        assert len(memory.condition("ada").items) == 2


def test_back_to_the_first_embedder(tmp_path: Path) -> None:
    filled(tmp_path)
    reembed(tmp_path, embedder=Wider())
    reembed(tmp_path, embedder=WordEmbedder())
    with PreferenceMemory(tmp_path, embedder=WordEmbedder()) as memory:
        (item, *_) = [item for item in memory.condition("ada").items if item.key.startswith("text:")]
        np.testing.assert_allclose(item.embedding, embed_wishes(WordEmbedder(), [item.text])[0], atol=1e-6)


def test_it_needs_one_place_that_nobody_has_open(tmp_path: Path) -> None:
    with pytest.raises(InvalidEventError, match="path or url"):
        reembed()
    with PreferenceMemory(tmp_path, embedder=WordEmbedder()), pytest.raises(StoreLockedError):
        reembed(tmp_path, embedder=Wider())


def test_an_embedder_that_fails_changes_nothing(tmp_path: Path) -> None:
    class Broken(Wider):
        def embed(self, texts: Sequence[str]) -> np.ndarray:
            return np.full((len(texts), 8), np.nan, np.float32)

    profiles = filled(tmp_path)
    with pytest.raises(EmbedderError, match="finite"):
        reembed(tmp_path, embedder=Broken())
    with PreferenceMemory(tmp_path, embedder=WordEmbedder()) as memory:
        assert memory.profile("ada").to_json() == profiles["ada"]


KILLED = """
import os, sys
from pathlib import Path
sys.path[:0] = sys.argv[1:3]
from test_reembedding import Wider
from pad_memory import reembed
from pad_memory.store.connection import Connection
from killed import die_at
die_at(int(sys.argv[4]), (Connection, "call"))
reembed(Path(sys.argv[3]), embedder=Wider())
"""


@pytest.mark.slow
def test_it_may_be_killed_at_every_call_and_goes_on(tmp_path: Path) -> None:
    profiles = filled(tmp_path)
    here = str(Path(__file__).parent)
    fatal, kills = 1, 0
    while True:  # each run goes on where the last one was killed, a few calls further on
        command = [sys.executable, "-c", KILLED, str(TESTS), here, str(tmp_path), str(fatal)]
        ended = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=False)
        if ended.returncode == 0:
            break
        assert ended.returncode == -9, ended.stderr
        kills += 1
        fatal += 7
        if fatal > 20:  # by now something is half-done
            with pytest.raises(EmbedderError, match="reembed"):
                PreferenceMemory(tmp_path, embedder=WordEmbedder())
    assert kills > 3
    check(tmp_path, profiles)
