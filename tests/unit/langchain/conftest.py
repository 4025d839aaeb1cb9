"""A chat model on the tiny pair, and what it has to answer."""

from __future__ import annotations

from typing import Any

import pytest

from fakes import QUESTION, WISHES
from pad_langchain import ChatPAD
from pad_langchain.testing import HashEmbedder
from pad_memory import PreferenceMemory


@pytest.fixture(scope="session")
def settings(folders: tuple[str, str]) -> dict[str, Any]:
    base, persrm = folders
    return {"model": base, "reward_model": persrm, "embedder": HashEmbedder(), "max_tokens": 12, "beta": 2.0}


@pytest.fixture
def llm(settings: dict[str, Any], wished: PreferenceMemory) -> ChatPAD:
    return ChatPAD(**settings, memory=wished)


@pytest.fixture(scope="session")
def expected(settings: dict[str, Any], wished: PreferenceMemory) -> dict[str | None, str]:
    """The text each user must get, by the plainest way to ask: the conditions as explicit preferences."""
    llm = ChatPAD(**settings)
    texts: dict[str | None, str] = {None: llm.invoke(QUESTION).text}
    for user in WISHES:
        condition = [(item.text, item.weight) for item in wished.condition(user, query=QUESTION)]
        assert condition
        texts[user] = llm.invoke(QUESTION, preference=condition).text
    assert len(set(texts.values())) == 3, "the tiny pair has to answer its users differently"
    return texts
