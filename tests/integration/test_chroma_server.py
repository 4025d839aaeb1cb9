"""The memory on a real Chroma server: two writing processes, a server that goes away and comes back."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import chromadb
import pytest
from chromadb.errors import InternalError
from typer.testing import CliRunner

from fakes import WordEmbedder
from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.cli.main import app
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory, Statement, Values
from pad_memory.errors import PausedError, StoreError
from pad_memory.store import connection
from places import TESTS
from servers import Server

WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from fakes import WordEmbedder
from pad_memory import PreferenceMemory, Statement
from pad_memory.store import chroma
with PreferenceMemory(url=sys.argv[2], embedder=WordEmbedder()) as memory:
    for number in range(15):
        memory.record("ada", Statement(f"mention {sys.argv[3]} {number}", id=f"{sys.argv[3]} {number}"))
        memory.record("ada", Statement(f"mention both {number}", id=f"both {number}"))
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.stop()


def opened(server: Server) -> PreferenceMemory:
    return PreferenceMemory(url=server.url, embedder=WordEmbedder())


@pytest.mark.slow
def test_two_processes_write_to_one_user(server: Server) -> None:
    command = [sys.executable, "-c", WRITER, str(TESTS), server.url]
    writers = [subprocess.Popen([*command, name]) for name in ("cats", "dogs")]
    assert [writer.wait(timeout=250) for writer in writers] == [0, 0]
    with opened(server) as one, opened(server) as two:
        ids = [event.id for event in one.events("ada")]
        assert len(ids) == len(set(ids)) == 45
        assert set(ids) == {f"{name} {number}" for name in ("cats", "dogs", "both") for number in range(15)}
        assert one.profile("ada").to_json() == two.profile("ada").to_json()
        assert len({event["sequence"] for event in one.export("ada")["events"]}) == 45
        one.record("ada", Statement("no jokes", id="new"))
        assert "new" in [event.id for event in two.events("ada")]  # nothing old is served from a cache
        assert one.users() == ["ada"]
        assert two.forget("ada") > 45
        assert one.events("ada") == ()
        with pytest.raises(StoreError, match="only its operator can repair it"):
            one.repair()


@pytest.mark.slow
def test_the_commands_take_a_servers_address(server: Server, tmp_path: Path) -> None:
    with PreferenceMemory(embedder=WordEmbedder()) as memory:
        memory.record("ada", Statement("no jokes, please"))
        (tmp_path / "ada.json").write_text(json.dumps(memory.export("ada")))

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["memory", *arguments, "--memory", server.url])
        assert result.exit_code == 0, result.output
        return result.stdout

    assert run("import", str(tmp_path / "ada.json")) == "added 1 of 'ada'\n"
    assert run("list") == "ada\n"
    assert "no jokes" in run("show", "ada", "--events")
    assert run("forget", "ada", "--yes") == "forgot 1 events of 'ada'\n"
    assert run("list") == ""


@pytest.mark.slow
def test_a_server_that_restarts_amid_a_call_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PAUSES", (*connection.PAUSES, *[1.0] * 60))  # a busy machine starts it slowly
    with opened(server) as memory:
        memory.record("ada", Statement("short answers", id="first"))
        server.stop()
        back = threading.Timer(0.5, server.start)
        back.start()
        assert memory.record("ada", Statement("no jokes", id="second")) == "second"
        back.join()
        assert [event.id for event in memory.events("ada")] == ["first", "second"]


@pytest.mark.slow
def test_a_server_that_is_down_is_an_error_and_the_event_counts_once(server: Server) -> None:
    with opened(server) as memory:
        memory.record("ada", Statement("short answers", id="first"))
        server.stop()
        start = time.monotonic()
        with pytest.raises(StoreError, match="Check that the Chroma server runs"):
            memory.events("ada")
        assert time.monotonic() - start >= 3.0  # it was tried again
        with pytest.raises(StoreError, match=re.escape(server.url)):
            opened(server)
        server.start()
        assert [event.id for event in memory.events("ada")] == ["first"]
        for _ in range(2):
            memory.record("ada", Statement("no jokes", id="second"))
        assert [event.id for event in memory.events("ada")] == ["first", "second"]


@pytest.mark.parametrize(("failures", "reads"), [(1, True), (9, False)])
def test_an_index_that_another_client_is_just_making_is_asked_for_again(monkeypatch, failures, reads) -> None:
    monkeypatch.setattr(connection, "PAUSES", (0.0, 0.0))
    server = connection.Connection(None, "http://host")
    errors = [InternalError("Error creating hnsw segment reader: Nothing found on disk")] * failures

    def read() -> str:
        if errors:
            raise errors.pop()
        return "rows"

    if reads:
        assert server.call("read", read) == "rows"
    else:
        with pytest.raises(StoreError, match="Nothing found on disk"):
            server.call("read", read)
        assert len(errors) == 6  # three tries


@pytest.mark.parametrize(("failures", "reads"), [(1, True), (9, False)])
def test_rows_whose_vectors_are_not_there_yet_are_asked_for_again(monkeypatch, failures, reads) -> None:
    monkeypatch.setattr(connection, "PAUSES", (0.0, 0.0))
    server = connection.Connection(None, "http://host")
    halves = [{"ids": ["a", "b"], "embeddings": [[1.0]]}] * failures
    whole = {"ids": ["a", "b"], "embeddings": [[1.0], [2.0]]}

    class Collection:
        def get(self, **options: object) -> object:
            return halves.pop() if halves else whole

    if reads:
        assert server.get(Collection(), ids=["a", "b"]) == whole
    else:
        with pytest.raises(StoreError, match="2 rows came with 1 embeddings"):
            server.get(Collection(), ids=["a", "b"])


ARRIVES = """
import pickle, sys
sys.path.insert(0, sys.argv[1])
from pad_memory import Statement
one, two = pickle.load(open(sys.argv[2], "rb"))
assert one is two
print(one.condition("ada").explain())
one.record("ada", Statement("mention there"))
one.close()
"""


@pytest.mark.slow
def test_a_pickled_memory_is_opened_again_in_another_process(server: Server, tmp_path: Path) -> None:
    with PreferenceMemory(url=server.url, embedder=WordEmbedder()) as memory:
        memory.record("ada", Statement("mention here"))
        assert pickle.loads(pickle.dumps(memory)) is memory
        path = tmp_path / "memory.pickle"
        path.write_bytes(pickle.dumps([memory, memory]))
        told = memory.condition("ada").explain()
        run = subprocess.run(
            [sys.executable, "-c", ARRIVES, str(TESTS), str(path)], capture_output=True, text=True, timeout=120
        )
        assert run.stdout.strip() == told.strip(), run.stderr
        assert len(memory.events("ada")) == 2


@pytest.mark.slow
def test_of_a_private_call_and_of_a_pause_no_row_is_written(server: Server) -> None:
    def rows() -> int:
        client = chromadb.HttpClient(port=int(server.url.rpartition(":")[2]))
        return sum(collection.count() for collection in client.list_collections())

    pair = tiny_pair()

    def hashed() -> PreferenceMemory:
        return PreferenceMemory(url=server.url, embedder=HashEmbedder(), values=Values(classifier=False))

    with hashed() as memory, hashed() as other:
        memory.record("ada", Statement("be concise and brief"))
        settings = ChatSettings(memory=memory, max_tokens=4)
        with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
            chat = Chat(engine, settings=settings)
            question = [{"role": "user", "content": "a private question"}]
            before = rows()
            for private in (True, "steered"):
                chat.submit(question, CallOptions(user_id="ada", private=private)).result()
            assert rows() == before
            other.pause("ada")
            before = rows()
            with pytest.raises(PausedError):
                memory.record("ada", Statement("use emojis"))
            chat.submit(question, CallOptions(user_id="ada")).result()
            assert rows() == before
            assert len(memory.responses) == 0
