"""An app on a tiny pair of random weights, with keys for its users; nothing listens."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal
from fastapi import FastAPI

from pad_langchain.chat import Chat, ChatSettings
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.server import ServerSettings, build_app
from pad_langchain.server.keys import Keys
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory
from pad_memory.values import Values

USERS = {"ada": "acme", "bob": "acme", "eve": "other"}  # user → tenant


def tiny_chat(*, memory: bool = True, **engine: Any) -> Chat:
    """A guided chat of random weights that writes 16 tokens at most, with a memory of its own."""
    pair = tiny_pair()
    kept = PreferenceMemory(embedder=HashEmbedder(), values=Values(classifier=False)) if memory else None
    settings = ChatSettings(memory=kept, max_tokens=16)
    return Chat(TorchEngine(pair.model, pair.tokenizer, pair.guide(), **engine), settings=settings)


def make_keys(file: Path) -> dict[str, str]:
    """Make keys for all users, for the app "app" of the tenant acme, and for its administrator "admin"."""
    keys = Keys(file)
    made = {user: keys.create("user", tenant=tenant, user=user)[1] for user, tenant in USERS.items()}
    return {**made, "app": keys.create("app", tenant="acme")[1], "admin": keys.create("admin", tenant="acme")[1]}


@dataclass
class Served:
    """A running app, and what is behind it."""

    app: FastAPI
    keys: dict[str, str] = field(default_factory=dict)  # of each user, of "app" and of "admin"

    @property
    def chat(self) -> Chat:
        chat: Chat = self.app.state.service.chat
        return chat

    @property
    def memory(self) -> PreferenceMemory:
        memory: PreferenceMemory = self.app.state.service.memory
        return memory

    def headers(self, who: str = "ada") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[who]}"}

    def client(self, who: str | None = "ada") -> httpx.AsyncClient:
        """A client with the key of a user, of "app" or of "admin"; None has none."""
        headers = {} if who is None else self.headers(who)
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost", headers=headers)


@contextlib.contextmanager
def serving(folder: Path, chat: Chat, *, app: FastAPI | None = None, **settings: Any) -> Iterator[Served]:
    """Run an app, whose models have loaded, until the end of the block.

    Args:
        folder: for its keys.
        chat: answers.
        app: instead of one that is made for the chat and the settings.
    """
    said = ServerSettings("pad-demo", keys=str(folder / "keys.json"), **settings)
    served = Served(app or build_app(said, lambda settings: chat), make_keys(said.keys_file))
    lifespan = served.app.router.lifespan_context(served.app)
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(lifespan):
        yield served
