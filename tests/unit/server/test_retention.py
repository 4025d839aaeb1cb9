"""How long ids of answers are known: in the process alone, or as long as the operator said."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from pad_langchain.server.metrics import Metrics
from pad_langchain.server.retention import Retention
from pad_memory import PreferenceMemory
from pad_memory.errors import StoreError
from served_app import Served, serving, tiny_chat
from waiting import auntil, until

ADA = "tenant:acme:ada"
QUESTION = {"model": "pad-demo", "messages": [{"role": "user", "content": "what is an element?"}]}


async def asked(client: httpx.AsyncClient, **more: Any) -> str:
    answer = await client.post("/v1/chat/completions", json={**QUESTION, **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


async def judged(client: httpx.AsyncClient, response_id: str) -> int:
    answer = await client.post("/v1/feedback", json={"kind": "thumb", "response_id": response_id, "up": True})
    return answer.status_code


def kept(served: Served, user: str = ADA) -> list[str]:
    return [answer["id"] for answer in served.memory.export(user).get("answers", [])]


async def restarted(served: Served) -> None:
    """Do what the end of a process does to what it had in memory."""
    await auntil(lambda: not served.app.state.service._retention._answers)
    served.memory.responses.clear()


async def test_an_id_survives_a_restart_where_the_operator_says_so(tmp_path: Path) -> None:
    with serving(tmp_path, tiny_chat(), answer_retention_s=3600, memory=str(tmp_path)) as served:
        async with served.client("ada") as ada, served.client("bob") as bob:
            whole = await asked(ada)
            private = await asked(ada, pad={"private": True})
            streamed = await ada.post("/v1/chat/completions", json={**QUESTION, "stream": True})
            assert streamed.text.endswith("data: [DONE]\n\n")
            await auntil(lambda: len(kept(served)) == 2)
            await restarted(served)
            assert await judged(bob, whole) == 404
            assert await judged(ada, private) == 404
            assert await judged(ada, whole) == 201
            (event,) = served.memory.events(ADA)
            assert event.prompt == "what is an element?"
            answers = (await ada.get("/v1/me")).json()["answers"]
            assert (answers[0]["id"], answers[0]["response"]) == (whole, event.response)


async def test_both_answers_of_a_comparison_are_kept(tmp_path: Path) -> None:
    with serving(tmp_path, tiny_chat(), answer_retention_s=3600, memory=str(tmp_path)) as served:
        async with served.client("ada") as ada:
            found = (await ada.post("/v1/comparisons", json={"messages": QUESTION["messages"]})).json()
            ids = {found["first"]["id"], found["second"]["id"]}
            await auntil(lambda: ids <= set(kept(served)))


@pytest.mark.parametrize("path", ["/v1/me", "/admin/users/ada"])
async def test_who_is_erased_has_no_answers_left(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, tiny_chat(), answer_retention_s=3600, memory=str(tmp_path)) as served:
        async with served.client("ada") as ada, served.client("admin" if "admin" in path else "ada") as who:
            answer = await asked(ada)
            await auntil(lambda: kept(served) == [answer])
            assert (await who.delete(path)).status_code == 200
            assert kept(served) == []
            assert await judged(ada, answer) == 404


async def test_without_the_setting_nothing_is_written(tmp_path: Path) -> None:
    with serving(tmp_path, tiny_chat()) as served:
        async with served.client("ada") as ada:
            answer = await asked(ada)
            await restarted(served)
            assert kept(served) == []
            assert await judged(ada, answer) == 404
        folder = served.memory._ledger._open._connection.path
        assert folder is not None
        assert not list(folder.glob("answers*"))


# ---- the thread


@pytest.fixture
def memory() -> Any:
    chat = tiny_chat()
    yield chat.memory
    chat.engine.close()
    chat.memory.close()


def running(memory: PreferenceMemory, seconds: float | None) -> Callable[[], None]:
    retention = Retention(memory, seconds, Metrics())
    memory.retention = retention  # type: ignore[attr-defined]  # what is attached is held weakly
    return retention.close


def test_what_has_ended_is_erased_without_a_request(memory: PreferenceMemory) -> None:
    close = running(memory, 0.2)
    memory.answered("ada", "r1", "q", "a")
    until(lambda: "answers" in memory.export("ada"))
    path = memory._ledger._open._connection.path
    assert path is not None
    until(lambda: b"r1" not in (path / "answers.sqlite3").read_bytes())
    close()


def test_what_was_kept_before_is_erased_where_nothing_is_kept_any_more(memory: PreferenceMemory) -> None:
    memory.answered("ada", "r1", "q", "a")
    memory.keep_answers([("ada", "r1")], timedelta(seconds=0.01))
    time.sleep(0.02)
    close = running(memory, None)
    path = memory._ledger._open._connection.path
    assert path is not None
    until(lambda: b"r1" not in (path / "answers.sqlite3").read_bytes())
    close()


def test_what_waits_is_written_at_the_end(memory: PreferenceMemory) -> None:
    close = running(memory, 3600)
    for number in range(50):
        memory.answered("ada", f"r{number}", "q", "a")
    close()
    assert len(memory.export("ada")["answers"]) == 50


def test_what_could_not_be_written_is_tried_again(
    memory: PreferenceMemory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pad_langchain.server.retention._AGAIN", 0.01)
    answers = memory._ledger.answers
    write, tries = answers.keep, []

    def failing(rows: Any) -> None:
        tries.append(len(rows))
        if len(tries) < 3:
            raise StoreError("of ada, in /secret/place")
        write(rows)

    monkeypatch.setattr(answers, "keep", failing)
    with caplog.at_level(logging.WARNING):
        close = running(memory, 3600)
        memory.answered("ada", "r1", "q", "a")
        until(lambda: "answers" in memory.export("ada"))
        close()
    assert tries == [1, 1, 1]
    assert "could not keep them" in caplog.text
    assert "ada" not in caplog.text
