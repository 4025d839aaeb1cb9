"""What the settings of a server make of its chat."""

from __future__ import annotations

from typing import Any

import pytest

from pad_langchain.chat import Chat, ChatSettings
from pad_langchain.server.service import load_chat
from pad_langchain.server.settings import ServerSettings


def test_the_chat_is_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ChatSettings]] = []

    def made(model: str, settings: ChatSettings) -> Any:
        asked.append((model, settings))

    monkeypatch.setattr(Chat, "of", made)
    load_chat(
        ServerSettings(
            "pad-demo",
            reward_model="self",
            defaults=["be brief", ("be formal", 0.5)],
            engine_settings={"max_batch": 2, "backend": "torch"},
        )
    )
    [(model, settings)] = asked
    assert (model, settings.reward_model, settings.memory) == ("pad-demo", "self", None)
    assert settings.defaults == (("be brief", 1.0), ("be formal", 0.5))
    assert (settings.backend, settings.engine_settings) == ("torch", {"max_batch": 2})
