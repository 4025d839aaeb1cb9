"""Feedback by id after a server was killed, and by whoever shares its memory."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from pad_memory import PreferenceMemory, Thumb
from pad_memory.errors import UnknownResponseError
from served_process import Running, serve
from servers import Server
from waiting import until

pytestmark = pytest.mark.slow

QUESTION = [{"role": "user", "content": "What is a lion?"}]


def judged(server: Running, response_id: str, who: str = "ada") -> int:
    said = {"kind": "thumb", "response_id": response_id, "up": True}
    return server.http(who).post("/v1/feedback", json=said).status_code


def kept(memory: Path) -> list[str]:
    file = memory / "answers.sqlite3"
    if not file.exists():
        return []
    with closing(sqlite3.connect(file)) as database:
        return [id for (id,) in database.execute("SELECT id FROM answers")]


def test_an_id_is_known_after_kill_9_where_the_operator_says_so(tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    options = ("--memory", str(memory), "--answer-retention", "3600")
    with serve(tmp_path, *options) as server:
        answer = server.sdk().chat.completions.create(model="pad-demo", messages=QUESTION, max_tokens=8)
        until(lambda: kept(memory) == [answer.id])
        server.process.kill()
        server.process.wait()
    with serve(tmp_path, *options) as server:
        assert judged(server, answer.id, "bob") == 404
        assert judged(server, answer.id) == 201
        (event,) = (row["event"] for row in server.http().get("/v1/me").json()["events"])
        assert event["response"] == answer.choices[0].message.content
        server.http().delete("/v1/me").raise_for_status()
        assert kept(memory) == []


def test_whoever_shares_the_memory_knows_the_ids(tmp_path: Path) -> None:
    chroma = Server(tmp_path / "chroma")
    try:
        with serve(tmp_path, "--memory", chroma.url, "--answer-retention", "3600") as server:
            answer = server.sdk().chat.completions.create(model="pad-demo", messages=QUESTION, max_tokens=8)
            with PreferenceMemory(url=chroma.url) as other:
                until(lambda: "answers" in other.export("ada"))
                with pytest.raises(UnknownResponseError):
                    other.record("bob", Thumb(response_id=answer.id, up=True))
                other.record("ada", Thumb(response_id=answer.id, up=True))
                (event,) = other.events("ada")
            assert event.response == answer.choices[0].message.content
    finally:
        chroma.stop()
