"""An LLM for LlamaIndex on a tiny pair with a long context."""

from __future__ import annotations

from typing import Any

import pytest

from llama_index_parts import pair_settings
from pad_langchain import PADLLM
from pad_langchain.chat.engines import shared_pair
from pad_memory import PreferenceMemory


@pytest.fixture(scope="session")
def padllm_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return pair_settings(tmp_path_factory.mktemp("pair"))


@pytest.fixture
def padllm(padllm_settings: dict[str, Any], wished: PreferenceMemory) -> PADLLM:
    return PADLLM(**padllm_settings, memory=wished)


@pytest.fixture
def caller(padllm: PADLLM) -> PADLLM:
    """One that writes long enough for a call of a tool."""
    return padllm.model_copy(update={"max_tokens": 400, "temperature": 1.0, "seed": 1})


@pytest.fixture(scope="session")
def shared_engine(padllm_settings: dict[str, Any]) -> Any:
    """The engine below every `padllm`."""
    settings = {name: padllm_settings[name] for name in ("embedder", "dtype")}
    return shared_pair(padllm_settings["model"], padllm_settings["reward_model"], **settings).engine
