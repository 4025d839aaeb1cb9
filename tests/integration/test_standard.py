"""LangChain's own standard tests for chat models, as far as they go without tools."""

from __future__ import annotations

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.unit_tests import ChatModelUnitTests

from pad_langchain import ChatPAD
from pad_langchain.testing import HashEmbedder, tiny_pair


@pytest.fixture(scope="module")
def pair_folders(tmp_path_factory):
    return tiny_pair().save(tmp_path_factory.mktemp("pair"))


class TestChatPADUnit(ChatModelUnitTests):
    has_tool_calling = False
    has_structured_output = False

    @pytest.fixture(autouse=True)
    def _pair(self, pair_folders):
        base, persrm = pair_folders
        self.params = {"model": str(base), "reward_model": str(persrm), "embedder": HashEmbedder()}

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatPAD

    @property
    def chat_model_params(self) -> dict:
        return self.params
