"""Several processes on one Chroma server: what is at hand is never old, undo is nobody's twice, and whoever dies."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from fakes import PoleScorer, WordEmbedder, likes
from pad_memory import Choice, PreferenceMemory, Statement, Values
from pad_memory.errors import InvalidEventError, StoreError
from pad_memory.store import Store, connection
from pad_memory.store.chroma import Collections
from pad_memory.store.rows import version_ids
from pad_memory.users import Ledger
from places import TESTS
from servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.stop()


def opened(server: Server, **options: object) -> PreferenceMemory:
    values = Values(classifier=False)
    return PreferenceMemory(url=server.url, embedder=WordEmbedder(), values=values, **options)  # type: ignore[arg-type]


class Calls:
    """Counts the calls that each function of Chroma gets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made = Counter[str]()
        call = connection.Connection.call

        def counted(this: connection.Connection, verb: str, function: Callable[..., object], *args: object, **options):
            what = getattr(function, "__name__", "")
            if verb == "read" and what == "get":  # rows by their ids, ids alone, or all of a user's rows
                what = "rows" if "ids" in options else "ids" if options["include"] == [] else "all"
            self.made[what] += 1
            return call(this, verb, function, *args, **options)

        monkeypatch.setattr(connection.Connection, "call", counted)

    def of(self, work: Callable[[], object]) -> dict[str, int]:
        self.made.clear()
        work()
        return dict(self.made)


def test_events_are_read_once_and_only_if_somebody_wrote(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(server) as one, opened(server, scorer=PoleScorer()) as two:
        for number in range(3):
            one.record("ada", Statement(f"mention animal {number}"))
        one.record("ada", Choice("q", "tone:casual", "tone:formal"))
        calls = Calls(monkeypatch)
        one.condition("ada")
        assert calls.of(lambda: one.condition("ada")) == {"rows": 1}
        assert calls.of(lambda: one.profile("ada")) == {"rows": 1}
        two.condition("ada")  # judges what waited
        two.condition("ada")
        assert calls.of(lambda: two.condition("ada")) == {"rows": 1}
        assert calls.of(lambda: one.condition("ada")) == {"rows": 1, "all": 1}
        two.record("ada", Statement("no jokes"))
        assert calls.of(lambda: one.condition("ada")) == {"rows": 2, "ids": 1}  # the version, what was added
        assert likes(one, "ada")[0] == "humor:serious"
        two.record("bob", Statement("no jokes"))
        assert calls.of(lambda: one.condition("ada")) == {"rows": 1}


def test_nobody_is_served_what_is_old_or_anothers(server: Server) -> None:
    with opened(server) as one, opened(server) as two, opened(server, tenant="other") as other:
        event = two.record("ada", Statement("short answers"))
        two.record("ada", Statement("mention cats"))
        assert likes(one, "ada") == ["mention cats", "length:concise"]
        assert (likes(one, "bob"), likes(other, "ada")) == ([], [])
        two.forget("ada", event)
        assert likes(one, "ada") == ["mention cats"]
        two.undo("ada")
        assert likes(one, "ada") == []
        two.record("guest", Statement("no jokes"))
        two.merge("guest", "ada")
        assert (likes(one, "ada"), likes(one, "guest")) == (["humor:serious"], [])
        two.forget("ada")
        assert likes(one, "ada") == []
        two.record("ada", Statement("long answers"))
        assert likes(one, "ada") == ["length:detailed"]


def test_whoever_writes_whatever_all_know_the_same(server: Server) -> None:
    """Two memories write in turns, one of them a few things at once, and read now and then."""
    random = Random(5)
    wishes = ("short answers", "no jokes", "mention cats", "call me Sam", "long answers", "be polite")
    with opened(server) as one, opened(server) as two:
        for number in range(60):
            writer, reader = random.sample([one, two], 2)
            ids = [event.id for event in writer.events("ada")]
            match random.randrange(6):
                case 0 if ids:
                    writer.forget("ada", random.choice(ids))
                case 1 if ids:
                    writer.retract("ada", random.choice(ids))
                case 2:  # an id that may be there already, and then replaces what it said
                    writer.record("ada", Statement(random.choice(wishes), id=f"said {random.randrange(3)}"))
                case 3:
                    with ThreadPoolExecutor(2) as pool:
                        list(pool.map(lambda each: each.record("ada", Statement(random.choice(wishes))), (one, two)))
                case _:
                    writer.record("ada", Statement(random.choice(wishes)))
            if random.random() < 0.6:
                with opened(server) as fresh:
                    assert reader.profile("ada").to_json() == fresh.profile("ada").to_json()
                    told, anew = reader.condition("ada"), fresh.condition("ada")
                    assert [item.text for item in told] == [item.text for item in anew]
                    assert all((a.embedding == b.embedding).all() for a, b in zip(told, anew, strict=True)), number


def test_a_row_that_two_write_under_one_id_is_read_anew_by_both(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(server) as one, opened(server) as two:
        one.record("ada", Statement("be polite"))
        two.condition("ada")
        write, others = Store.write, iter([two])

        def meanwhile(store: Store, owner: str, rows: list[object]) -> None:
            for other in others:
                other.record("ada", Statement("short answers", id="same", time=1.0))
            write(store, owner, rows)  # type: ignore[arg-type]

        monkeypatch.setattr(Store, "write", meanwhile)
        one.record("ada", Statement("long answers", id="same", time=2.0))
        assert likes(one, "ada") == likes(two, "ada")
        assert "length:detailed" in likes(two, "ada")


def test_what_is_kept_of_users_is_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pad_memory.users.states.CACHED_USERS", 2)
    with opened(server) as memory:
        for user in ("ada", "bob", "cleo"):
            memory.record(user, Statement("short answers"))
            memory.condition(user)
        calls = Calls(monkeypatch)
        assert calls.of(lambda: memory.condition("cleo")) == {"rows": 1}
        assert calls.of(lambda: memory.condition("ada"))["all"] == 1


def test_a_folder_that_was_on_a_server_keeps_versions_true(server: Server, tmp_path: Path) -> None:
    with opened(server) as memory:
        memory.record("ada", Statement("short answers"))
        assert likes(memory, "ada") == ["length:concise"]
        server.stop()
        values = Values(classifier=False)
        with PreferenceMemory(tmp_path / "server", embedder=WordEmbedder(), values=values) as offline:
            offline.record("ada", Statement("no jokes"))
        server.start()
        assert likes(memory, "ada") == ["humor:serious", "length:concise"]


KILLED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from fakes import WordEmbedder
from pad_memory import PreferenceMemory, Statement, Values
with PreferenceMemory(url=sys.argv[2], embedder=WordEmbedder(), values=Values(classifier=False)) as memory:
    for number in range(10_000):
        memory.record("ada", Statement(f"mention animal {number}", id=f"{sys.argv[3]} {number}"))
        print("recorded", flush=True)
"""


def test_a_writer_that_is_killed_leaves_no_reader_behind(server: Server) -> None:
    with opened(server) as reader:
        for trial in range(4):
            command = [sys.executable, "-c", KILLED, str(TESTS), server.url, str(trial)]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE)
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"recorded\n"
            stop = time.monotonic() + 0.2 + 0.13 * trial
            while time.monotonic() < stop:
                reader.profile("ada")
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
            time.sleep(0.2)  # a call that is on its way may still be carried out
            with opened(server) as fresh:
                assert reader.profile("ada").to_json() == fresh.profile("ada").to_json()
                assert len(fresh.events("ada")) > trial


def test_a_server_that_is_killed_keeps_event_and_version_together(server: Server) -> None:
    with opened(server) as reader:
        reader.record("ada", Statement("short answers"))
        for trial in range(4):
            command = [sys.executable, "-c", KILLED, str(TESTS), server.url, str(trial)]
            writer = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"recorded\n"
            time.sleep(0.1 + 0.11 * trial)
            reader.profile("ada")
            server.stop()
            writer.send_signal(signal.SIGKILL)
            writer.communicate()
            server.start()
            with opened(server) as fresh:
                assert reader.profile("ada").to_json() == fresh.profile("ada").to_json()


def test_a_delete_that_is_cut_off_leaves_nothing_that_is_trusted(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pad_memory.store.chroma.BATCH", 3)
    with opened(server) as one, opened(server) as two:
        for number in range(6):
            one.record("ada", Statement(f"mention animal {number}", id=str(number)))
        assert len(likes(two, "ada")) == 6
        open_shard, count = Collections.open, 0

        def cut_off(this: Collections, name: str, **options: object) -> object:
            collection = open_shard(this, name, **options)  # type: ignore[arg-type]

            class First:
                def __getattr__(self, name: str) -> object:
                    return getattr(collection, name)

                def delete(self, ids: list[str]) -> None:
                    nonlocal count
                    count += 1
                    if count > 1:
                        raise ValueError("the process was killed")
                    collection.delete(ids=ids)

            return First()

        with monkeypatch.context() as patch:
            patch.setattr(Collections, "open", cut_off)
            with pytest.raises(StoreError, match="was killed"):
                one.forget("ada")
        with opened(server) as fresh:
            assert likes(two, "ada") == likes(fresh, "ada")
            assert len(likes(fresh, "ada")) < 6


def test_undo_at_once_takes_back_different_events(server: Server) -> None:
    with opened(server) as memory:
        for number in range(12):
            memory.record("ada", Statement(f"mention animal {number}", id=str(number)))
        memory.record("bob", Statement("no jokes"))
        taken: list[str] = []
        nothing: list[str] = []
        barrier = threading.Barrier(4)

        def undo() -> None:
            with opened(server) as mine:  # a ledger of its own, as in another process
                for _ in range(4):
                    barrier.wait()
                    try:
                        taken.append(mine.undo("ada"))
                    except InvalidEventError as error:
                        nothing.append(str(error))

        threads = [threading.Thread(target=undo) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(taken, key=int) == [str(number) for number in range(12)]
        assert nothing == ["There is nothing to undo: no event of 'ada' counts."] * 4
        assert likes(memory, "ada") == []
        assert likes(memory, "bob") == ["humor:serious"]
        back = [event for event in memory.events("ada") if event.kind == "retraction"]
        assert len(back) == 12  # each once


def test_an_undo_that_died_is_finished_by_the_next(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(server) as memory, opened(server) as dies:
        for id in ("a", "b", "c"):
            memory.record("ada", Statement(f"mention {id}", id=id))

        def killed(*arguments: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "_append", killed)
            with pytest.raises(KeyboardInterrupt):
                dies.undo("ada")
        assert memory.undo("ada") == "b"
        assert likes(memory, "ada") == ["mention a"]
        memory.forget("ada", "c")  # what it had claimed is forgotten, too
        memory.record("ada", Statement("mention c", id="c"))
        assert memory.undo("ada") == "c"
        assert likes(memory, "ada") == ["mention a"]


def test_one_retraction_however_many_make_it(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(server) as one, opened(server) as two:
        event = one.record("ada", Statement("short answers"))
        write, others = Store.write, iter([two])

        def meanwhile(store: Store, owner: str, rows: list[object]) -> None:
            for other in others:
                other.retract("ada", event)
                break
            write(store, owner, rows)  # type: ignore[arg-type]

        monkeypatch.setattr(Store, "write", meanwhile)
        back = one.retract("ada", event)
        assert two.retract("ada", event) == back
        two.retract("ada", back)
        assert likes(one, "ada") == ["length:concise"]


def test_a_judgement_does_not_overwrite_a_newer_version(server: Server) -> None:
    with opened(server) as one, opened(server) as two:
        one.record("ada", Choice("q", "tone:casual", "tone:formal", id="x", time=1.0))

        def turns(prompt: str, response: str, preferences: list[str]) -> object:
            two.record("ada", Choice("q", "tone:formal", "tone:casual", id="x", time=2.0))
            return PoleScorer()(prompt, response, preferences)

        one.scorer = turns  # type: ignore[assignment]
        one.profile("ada")
        assert [event.chosen for event in two.events("ada")] == ["tone:formal"]  # type: ignore[attr-defined]


def test_a_condition_of_what_was_known_last(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PAUSES", (0.05, 0.05))
    with (
        opened(server) as strict,
        opened(server, last_known=timedelta(minutes=5)) as memory,
        opened(server, last_known=timedelta(seconds=0.01)) as hasty,
    ):
        strict.record("ada", Statement("mention cats"))
        for one in (strict, memory, hasty):
            assert one.condition("ada").age is None
        time.sleep(0.05)
        server.stop()
        told = memory.condition("ada", query="are cats nice?")
        assert [item.text for item in told] == ["mention cats"]
        assert told.items[0].embedding is not None
        assert 0.0 < told.age < 300.0  # type: ignore[operator]
        assert "The memory cannot be read now: this is what was known " in told.explain()
        for call in (
            lambda: strict.condition("ada"),
            lambda: hasty.condition("ada"),  # too old
            lambda: memory.condition("bob"),  # nothing is known of him
            lambda: memory.profile("ada"),
            lambda: memory.record("ada", Statement("no jokes")),
        ):
            with pytest.raises(StoreError, match="Check that the Chroma server runs"):
                call()
        with pytest.raises(StoreError):
            memory.forget("ada")
        with pytest.raises(StoreError):  # who asked to be forgotten steers nothing from then on
            memory.condition("ada")
        server.start()
        assert memory.condition("ada").age is None


def test_a_version_is_a_row_of_the_user(server: Server) -> None:
    with opened(server) as memory:
        event = memory.record("ada", Statement("short answers"))
        owner = memory._ledger.owner("ada")
        with memory._ledger.store() as store:
            assert version_ids(owner)[0] in store.rows_of(owner)
        assert memory.forget("ada", event) == 1
        with memory._ledger.store() as store:
            assert store.rows_of(owner) == {}
