"""Clients that leave before they have their answer, and more of them than there is room for."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from pad_langchain.testing import paused
from served_app import Served, serving, tiny_chat
from waiting import auntil

PATH = "/v1/chat/completions"
ASKED = {"model": "pad-demo", "messages": [{"role": "user", "content": "what is an element?"}]}
FORM = {"type": "json_object"}
LONG = {
    PATH: {**ASKED, "max_tokens": 400, "response_format": FORM},
    "/v1/responses": {"model": "pad-demo", "input": "hi", "max_output_tokens": 400, "text": {"format": FORM}},
}


class Leaving:
    """A client of plain ASGI that asks, and leaves when it is told to."""

    def __init__(self, served: Served, path: str = PATH, **fields: Any) -> None:
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        body = json.dumps({**LONG[path], **fields}).encode()
        self._body = [{"type": "http.request", "body": body, "more_body": False}]
        headers = {"host": "localhost", "content-type": "application/json", "content-length": str(len(body))}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "client": ("127.0.0.1", 1),
            "server": ("localhost", 80),
            "headers": [
                (name.lower().encode(), value.encode()) for name, value in {**headers, **served.headers("ada")}.items()
            ],
        }
        self.call = asyncio.ensure_future(served.app(scope, self._receive, self._send))

    async def _receive(self) -> dict[str, Any]:
        if self._body:
            return self._body.pop()
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        if not self.gone.is_set():
            self.sent.append(message)


@pytest.mark.parametrize("path", LONG)
@pytest.mark.parametrize("streamed", [False, True])
async def test_who_leaves_frees_the_row(served: Served, path: str, streamed: bool) -> None:
    client = Leaving(served, path, stream=streamed)
    await auntil(lambda: served.chat.engine.running == 1 and (client.sent or not streamed))
    client.gone.set()
    await asyncio.wait_for(client.call, 60)
    await auntil(lambda: served.chat.engine.running == 0)
    assert served.app.state.service.requests == 0
    assert bool(client.sent) == streamed


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_leaves_the_queue_is_not_answered(served: Served, streamed: bool) -> None:
    with paused(served.chat.engine):
        client = Leaving(served, stream=streamed)
        await auntil(lambda: served.chat.engine.waiting == 1)
        client.gone.set()
        await asyncio.wait_for(client.call, 60)
        assert served.app.state.service.requests == 0
        assert client.sent == []
    await auntil(lambda: served.chat.engine.waiting == served.chat.engine.running == 0)


async def test_more_requests_than_there_is_room_for_are_told_to_come_again(tmp_path: Path) -> None:
    with serving(tmp_path, tiny_chat(max_batch=1, max_queue=1)) as served:
        async with served.client("ada") as client:
            with paused(served.chat.engine):
                clients = [Leaving(served), Leaving(served)]
                await auntil(lambda: served.app.state.service.requests == 2)
                answer = await client.post(PATH, json=ASKED)
                assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
                assert answer.headers["retry-after"] == "1"
                for each in clients:
                    each.gone.set()
                    await asyncio.wait_for(each.call, 60)
            await auntil(lambda: served.chat.engine.waiting == 0)
            assert (await client.post(PATH, json={**ASKED, "max_tokens": 1})).status_code == 200
