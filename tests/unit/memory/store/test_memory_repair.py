"""A store that was cut off, torn, damaged, filled up or made by an older version: nothing recorded is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from fakes import WordEmbedder
from pad_memory import Choice, Edit, PreferenceMemory, Statement
from pad_memory.embedding import embed
from pad_memory.errors import InvalidEventError, StoreError, StoreVersionError
from pad_memory.store import index_files as files
from pad_memory.store import shards as store
from pad_memory.store.chroma import Collections
from pad_memory.users import states
from places import TESTS


def opened(path: Path | None, **options) -> PreferenceMemory:  # type: ignore[no-untyped-def]
    return PreferenceMemory(path, embedder=WordEmbedder(), **options)


def filled(folder: Path, wishes: int = 60) -> None:
    """One user whose shard Chroma has saved once and has newer rows in the log."""
    with opened(folder) as memory:
        for number in range(wishes):
            memory.record("ada", Statement(f"mention animal {number}", id=f"event {number}"))


def index_of(folder: Path, name: str = "index_metadata.pickle") -> Path:
    (path,) = folder.glob(f"*/{name}")  # only ada's shard has been saved
    return path.parent


def check_all(memory: PreferenceMemory, wishes: int = 60) -> None:
    assert len(memory.events("ada")) == wishes
    items = memory.condition("ada", budget=wishes + 1).items
    assert len(items) == len(memory.profile("ada").preferences) == wishes
    assert all(np.array_equal(item.embedding, embed(WordEmbedder(), [item.text])[0]) for item in items)
    assert memory.repair().rebuilt == ()


def empty_pickle(index: Path) -> None:
    (index / "index_metadata.pickle").write_bytes(b"")


def cut_data(index: Path) -> None:
    data = index / "data_level0.bin"
    os.truncate(data, data.stat().st_size // 2)


def lose_files(index: Path) -> None:
    for path in index.iterdir():
        path.unlink()


@pytest.mark.parametrize("damage", [empty_pickle, cut_data, lose_files])
@pytest.mark.parametrize("call", ["read", "repair"])
def test_a_damaged_index_is_made_anew(tmp_path: Path, damage: Callable[[Path], None], call: str) -> None:
    filled(tmp_path)
    damage(index_of(tmp_path))
    with opened(tmp_path) as memory:
        if call == "repair":
            memory.repair()
        check_all(memory)
        memory.record("ada", Statement("mention one more", id="new"))
        check_all(memory, 61)
    with opened(tmp_path) as memory:
        check_all(memory, 61)


@pytest.mark.parametrize(
    "text", ["never use passwords", "passwords", "no lists and no jokes", "do not call before ten"]
)
def test_a_repair_leaves_the_vectors_of_notes_as_they_were(tmp_path: Path, text: str) -> None:
    filled(tmp_path)
    with opened(tmp_path) as memory:
        memory.items.put("ada", ("notes",), "a", {"kept": True}, text)
        memory.record("ada", Statement("never mention sharks"))
        before = [item.score for item in memory.items.search("ada", query=text)]
        wish = {item.text: item.embedding for item in memory.condition("ada", budget=99)}["never mention sharks"]
    assert before == pytest.approx([1.0])
    empty_pickle(index_of(tmp_path))
    with opened(tmp_path) as memory:
        assert [item.score for item in memory.items.search("ada", query=text)] == pytest.approx(before)
        again = {item.text: item.embedding for item in memory.condition("ada", budget=99)}["never mention sharks"]
        assert np.allclose(again, wish)


def test_a_torn_index_is_never_loaded(tmp_path: Path) -> None:
    filled(tmp_path)
    index = index_of(tmp_path)
    (tmp_path / "writing").touch()  # as a process leaves it that is killed while Chroma saves
    header = bytearray((index / "header.bin").read_bytes())
    header[20:28] = (10**6).to_bytes(8, "little")  # elements: loading this ends the process
    (index / "header.bin").write_bytes(header)
    with opened(tmp_path) as memory:
        assert not (tmp_path / "writing").exists()
        check_all(memory)


def test_an_index_older_than_the_mark_is_kept(tmp_path: Path) -> None:
    filled(tmp_path)
    data = index_of(tmp_path) / "data_level0.bin"
    for path in data.parent.iterdir():
        os.utime(path, (1000.0, 1000.0))
    (tmp_path / "writing").touch()
    with opened(tmp_path):
        assert data.stat().st_mtime == 1000.0


def test_the_mark_goes_with_each_write(tmp_path: Path) -> None:
    with opened(tmp_path) as memory:
        memory.record("ada", Statement("mention cats"))
        memory.condition("nobody")
        assert not (tmp_path / "writing").exists()


def test_a_damaged_database_says_so(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as memory:
        report = memory.repair()
        assert (report.rebuilt, report.embedded) == ((), 0)
        assert report.rows >= 120
    with (tmp_path / files.DATABASE).open("r+b") as stream:
        stream.seek(8192)
        stream.write(os.urandom(200_000))
    with pytest.raises(StoreError, match="Put back a copy of the folder"):
        files.check(tmp_path)
    (tmp_path / files.DATABASE).write_bytes(b"no database at all" * 1000)
    with pytest.raises(StoreError, match=str(tmp_path)):
        opened(tmp_path)


@pytest.mark.parametrize("step", ["drop_indexes", "scrub"])
def test_forgetting_that_is_cut_off_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    filled(tmp_path)
    with opened(tmp_path) as memory:
        memory.record("bob", Statement("no jokes"))

        def fail(*arguments: object) -> None:
            raise OSError("no space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(files, step, fail)
            with pytest.raises(StoreError, match="no space left"):
                memory.forget("ada")
        assert (tmp_path / "erasing").exists()
    with opened(tmp_path) as memory:
        assert not (tmp_path / "erasing").exists()
        assert memory.users() == ["bob"]
        assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"animal" in path.read_bytes()]
        assert memory.condition("bob").items[0].key == "humor:serious"


def test_one_event_is_forgotten(tmp_path: Path) -> None:
    def left(needle: bytes) -> list[Path]:
        return [path for path in tmp_path.rglob("*") if path.is_file() and needle in path.read_bytes()]

    with opened(tmp_path) as memory:
        memory.record("ada", Statement("mention zebras", id="one-zebra"))
        memory.record("ada", Statement("mention koalas", id="two"))
        memory.record("ada", Statement("Mention  koalas", id="three"))
        memory.record("bob", Statement("mention zebus", id="one-zebra"))
        memory.retract("ada", "one-zebra")
        assert memory.forget("ada", "one-zebra") == 3  # the event, its retraction, its wording
        assert left(b"zebras") == []
        assert [event.id for event in memory.events("ada")] == ["two", "three"]
        assert memory.forget("ada", "two") == 1  # the wording is still that of the third
        assert [item.text for item in memory.condition("ada")] == ["Mention koalas"]  # blanks are squeezed
        assert [event.id for event in memory.events("bob")] == ["one-zebra"]
        assert memory.forget("bob", "one-zebra") == 2
        assert left(b"one-zebra") == []
        with pytest.raises(InvalidEventError, match="no event 'one-zebra' to forget"):
            memory.forget("ada", "one-zebra")


def test_an_older_store_is_migrated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 2)
    steps = []
    monkeypatch.setattr(store, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(store, "MIGRATIONS", {1: lambda _: steps.append(1), 2: lambda _: steps.append(2)})
    for _ in range(2):
        with opened(tmp_path) as memory:
            assert steps == [1, 2]
            check_all(memory, 2)
    monkeypatch.setattr(store, "SCHEMA_VERSION", 2)
    with pytest.raises(StoreVersionError, match="schema version 3, written by a newer version"):
        opened(tmp_path)


def test_a_migration_that_fails_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path, 2)

    def fail(_: object) -> None:
        raise StoreError("half-way")

    monkeypatch.setattr(store, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(store, "MIGRATIONS", {1: fail})
    with pytest.raises(StoreError, match="half-way"):
        opened(tmp_path)
    done = []
    monkeypatch.setattr(store, "MIGRATIONS", {1: done.append})
    with opened(tmp_path) as memory:
        check_all(memory, 2)
    assert len(done) == 1


def test_a_chroma_that_cannot_write_loses_nothing_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path, 5)

    def fail(*rows: object) -> None:
        raise StoreError("database or disk is full")

    with opened(tmp_path) as memory:
        monkeypatch.setattr(store, "WAITING", 4)
        with monkeypatch.context() as patch:
            patch.setattr(Collections, "upsert", fail)
            for number in range(5, 9):
                memory.record("ada", Statement(f"mention animal {number}"))
        assert "rows of pad-memory" in caplog.text
        assert "stay in the journal, which is as safe" in caplog.text
        check_all(memory, 9)
        with monkeypatch.context() as patch:
            patch.setattr(Collections, "upsert", fail)  # when it is closed too
            memory.close()
    with opened(tmp_path) as memory:
        check_all(memory, 9)


def test_what_waits_for_chroma_is_read_with_the_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "WAITING", 6)
    monkeypatch.setattr(states, "CACHED_USERS", 1)
    with opened(tmp_path) as memory:
        for number in range(8):  # two rows each: the first six are in Chroma, two wait
            memory.record("ada", Statement(f"mention animal {number}", id=f"event {number}"))

        def stored() -> int:
            with closing(sqlite3.connect(tmp_path / files.DATABASE)) as database:
                (rows,) = database.execute("SELECT count(*) FROM embeddings").fetchone()
            return rows - 16  # without the catalogue's texts

        assert stored() == 12
        assert memory.events("nobody") == ()  # now ada's have to be read again
        assert [event.id for event in memory.events("ada")] == [f"event {number}" for number in range(8)]
        assert memory.users() == ["ada"]
        check_all(memory, 8)  # its repair brings the rest to Chroma
        assert stored() == 16
        memory.record("bob", Statement("no jokes"))
        assert memory.users() == ["ada", "bob"]
        assert memory.forget("bob") == 1  # it never came to Chroma
        assert memory.users() == ["ada"]


def cut_off(folder: Path) -> Path:
    """Copy a folder as a killed process leaves it, with rows in the journal."""
    with opened(folder / "memory") as memory:
        for number in range(3):
            memory.record("ada", Statement(f"mention animal {number}", id=f"event {number}"))
        return Path(shutil.copytree(folder / "memory", folder / "copy"))


def test_a_journal_left_behind_is_read(tmp_path: Path) -> None:
    folder = cut_off(tmp_path)
    (journal,) = (folder / "journal").iterdir()
    for _ in range(2):
        with opened(folder) as memory:
            check_all(memory, 3)
        assert journal.read_bytes() == b""  # all is in Chroma


def test_a_line_that_was_cut_off_was_never_acknowledged(tmp_path: Path) -> None:
    folder = cut_off(tmp_path)
    (journal,) = (folder / "journal").iterdir()
    os.truncate(journal, journal.stat().st_size - 7)
    with opened(folder) as memory:
        assert [event.id for event in memory.events("ada")] == ["event 0", "event 1"]
        memory.record("ada", Statement("mention animal 2", id="again"))
        crashed = Path(shutil.copytree(folder, tmp_path / "crashed"))
    with opened(crashed) as memory:  # the new line does not stand behind the half one
        assert [event.id for event in memory.events("ada")] == ["event 0", "event 1", "again"]


def test_what_was_cut_off_is_forgotten_too(tmp_path: Path) -> None:
    folder = cut_off(tmp_path)
    (journal,) = (folder / "journal").iterdir()
    os.truncate(journal, 60)
    with opened(folder) as memory:
        memory.forget("ada")
        assert journal.read_bytes() == b""


def test_a_damaged_journal_says_so(tmp_path: Path) -> None:
    folder = cut_off(tmp_path)
    (journal,) = (folder / "journal").iterdir()
    journal.write_bytes(journal.read_bytes().replace(b"animal 1", b"animal 9"))
    with pytest.raises(StoreError, match=r"Line 2 of .*\.log' is damaged\. Put back a copy of the folder"):
        opened(folder)
    journal.rename(tmp_path / "away")
    with opened(folder) as memory:
        assert memory.events("ada") == ()


FULL = """
import os, resource, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from fakes import WordEmbedder
from pad_memory import PreferenceMemory, Statement
from pad_memory.errors import StoreError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
memory = PreferenceMemory(sys.argv[1], embedder=WordEmbedder())
memory.record("ada", Statement("mention animal 0", id="event 0"))
size = sum(path.stat().st_size for path in Path(sys.argv[1]).glob("journal/*"))
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 2000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
number = 1
try:
    while number < 100:
        memory.record("ada", Statement(f"mention animal {number}", id=f"event {number}"))
        number += 1
except StoreError as error:
    print(number, error)
assert len(memory.events("ada")) == number
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
memory.record("ada", Statement(f"mention animal {number}", id=f"event {number}"))
sys.stdout.flush()
os._exit(0)  # as if it were killed
"""


@pytest.mark.slow
def test_files_that_cannot_grow_leave_nothing_half_recorded(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    if resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY:
        pytest.skip("files are limited already")
    command = [sys.executable, "-c", FULL, str(tmp_path), str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    number, _, message = done.stdout.partition(" ")
    assert 1 <= int(number) < 10
    assert "could not be written: OSError" in message
    assert "Check that the disk is not full" in message
    assert f"Record it again with id='event {number}'" in message
    with opened(tmp_path) as memory:
        check_all(memory, int(number) + 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="Pass a folder you can write to"):
        opened(tmp_path / "memory")


def test_the_log_holds_on_to_nobody(tmp_path: Path) -> None:
    filled(tmp_path)
    with opened(tmp_path) as memory:
        memory.forget("ada")
        memory.record("ada", Statement("mention owls"))  # numbers go on, so nothing new is skipped
        check_all(memory, 1)
    with opened(tmp_path) as memory:
        check_all(memory, 1)
    database = sqlite3.connect(tmp_path / files.DATABASE)
    (texts,) = database.execute("SELECT group_concat(metadata) FROM embeddings_queue").fetchone()
    database.close()
    assert "owls" in texts
    assert "animal" not in texts


def test_pairs_for_training() -> None:
    with opened(None) as memory:
        memory.record("ada", Choice("q", "short", "a long one"))
        memory.record("ada", Edit("p", "before", edited="after"))
        assert list(memory.export_pairs()) == []  # nothing is known of her yet
        memory.record("ada", Statement("short answers"))
        memory.record("ada", Statement("call me Sam"))
        taken_back = memory.record("ada", Choice("q", "x", "y"))
        memory.retract("ada", taken_back)
        memory.record("bob", Statement("no jokes"))
        wishes = "call me Sam; be concise and brief"
        assert list(memory.export_pairs()) == [
            {"prompt": "q", "preference": wishes, "chosen": "short", "rejected": "a long one"},
            {"prompt": "p", "preference": wishes, "chosen": "after", "rejected": "before"},
        ]
        assert list(memory.export_pairs("bob")) == []
