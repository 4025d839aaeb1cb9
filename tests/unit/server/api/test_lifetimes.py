"""Over HTTP: private answers, a pause, a time zone, wishes with a time, and consent to what is sensitive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pad_langchain.chat import Chat, ChatSettings
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory, Values
from served_app import serving, tiny_chat

WISH = "be concise and brief"


@pytest.fixture
async def ada(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    with serving(tmp_path, tiny_chat()) as served:
        async with served.client("ada") as client:
            yield client


async def tell(client: httpx.AsyncClient, text: str, **more: Any) -> httpx.Response:
    return await client.post("/v1/feedback", json={"kind": "statement", "text": text, **more})


async def ask(client: httpx.AsyncClient, **pad: Any) -> Any:
    body = {"model": "pad-demo", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2, "pad": pad}
    return (await client.post("/v1/chat/completions", json=body)).json()


async def test_a_private_answer_may_be_steered_and_is_not_kept(ada: httpx.AsyncClient) -> None:
    await tell(ada, WISH)
    found = await ask(ada, private="steered")
    assert [item["text"] for item in found["pad"]["condition"]] == [WISH]
    assert (found["pad"]["private"], found["pad"]["user"]) == ("steered", "ada")
    thumb = await ada.post("/v1/feedback", json={"kind": "thumb", "response_id": found["id"], "up": True})
    assert thumb.status_code == 404
    refused = await ask(ada, private="perhaps")
    assert refused["error"]["code"] == "invalid_value"


async def test_a_pause_and_a_time_zone_are_settings(ada: httpx.AsyncClient) -> None:
    assert (await ada.get("/v1/me/settings")).json() == {"object": "settings", "paused": False, "time_zone": "UTC"}
    changed = await ada.patch("/v1/me/settings", json={"paused": True, "time_zone": "Asia/Tokyo"})
    assert changed.json() == {"object": "settings", "paused": True, "time_zone": "Asia/Tokyo"}
    refused = await tell(ada, WISH)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "memory_paused")
    assert (await ada.patch("/v1/me/settings", json={"time_zone": "Mars"})).status_code == 400
    assert (await ada.patch("/v1/me/settings", json={"name": "ada"})).status_code == 400
    await ada.patch("/v1/me/settings", json={"paused": False})
    assert (await tell(ada, WISH)).status_code == 201


async def test_a_wish_with_a_time_is_told_with_it(ada: httpx.AsyncClient) -> None:
    learned = (await tell(ada, f"For the next two answers, {WISH}.")).json()["learned"]
    assert [(item["text"], item["answers_left"]) for item in learned] == [(WISH, 2)]
    await ask(ada)
    listed = (await ada.get("/v1/preferences")).json()
    assert [(item["text"], item["answers_left"]) for item in listed["data"]] == [(WISH, 1)]
    await ask(ada)
    assert (await ada.get("/v1/preferences")).json()["data"] == []
    (past,) = (await ada.get("/v1/preferences/history")).json()["data"]
    assert (past["text"], past["expired"]) == (WISH, True)
    over = (await tell(ada, "Until 3 March 2020, use emojis.")).json()
    assert (over["learned"], over["expired"]) == ([], ["use emojis"])
    await tell(ada, "From 1 January 2999 on, use emojis.")
    (later,) = (await ada.get("/v1/preferences")).json()["later"]
    assert (later["text"], later["why"]) == ("use emojis", None)


async def test_a_sensitive_wish_is_kept_after_consent(tmp_path: Path) -> None:
    pair, values = tiny_pair(), Values(classifier=False, sensitive="ask")
    memory = PreferenceMemory(embedder=HashEmbedder(), values=values)
    chat = Chat(TorchEngine(pair.model, pair.tokenizer, pair.guide()), settings=ChatSettings(memory=memory))
    with serving(tmp_path, chat) as served:
        async with served.client("ada") as client:
            wish = "I have asthma, so be calm."
            refused = await tell(client, wish)
            error = refused.json()["error"]
            assert (refused.status_code, error["code"], error["param"]) == (409, "consent_needed", "consented")
            assert "(health)" in error["message"]
            kept = await tell(client, wish, consented=True)
            assert kept.status_code == 201
            assert kept.json()["learned"][0]["sensitive"] == ["health"]
            gone = await client.delete("/v1/me/threads/monday")
            assert gone.json() == {"object": "thread.deleted", "id": "monday", "deleted": True, "rows": 0}
