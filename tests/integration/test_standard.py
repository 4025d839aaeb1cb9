"""LangChain's own standard tests for chat models: on the demo pair, and what is plumbing on random weights.

The random weights run twice: with a ChatML template whose calls stand in tags, and with a Llama-3-style one whose calls
are bare JSON. There the answers are noise that the grammar keeps in form, so what has to be understood is left out.
"""

from __future__ import annotations

import importlib.util

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests import ChatModelUnitTests

from fake_vllm import demo_vllm
from gguf_models import to_gguf
from pad_langchain import ChatPAD
from pad_langchain.testing import HashEmbedder, tiny_model, tiny_pair
from places import DEMO

DEMO_FILES = (DEMO / "base" / "model.safetensors", DEMO / "persrm" / "persrm_head.json")

# One call a turn, written as bare JSON with "parameters", tool results under a role of their own.
LLAMA_TEMPLATE = """\
{%- set system = messages[0].content if messages[0].role == 'system' else '' %}
{{- '<|im_start|>system\\n\\n' + system }}
{%- for tool in tools or [] %}{{ '\\n' + (tool | tojson) }}{% endfor %}{{ '<|im_end|>' }}
{%- for message in (messages[1:] if messages[0].role == 'system' else messages) %}
{%- if message.tool_calls %}
{%- if message.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{%- set function = message.tool_calls[0].function %}
{{- '<|im_start|>assistant\\n\\n{"name": "' + function.name + '", "parameters": ' }}
{{- (function.arguments | tojson) + '}' }}
{%- elif message.role == 'tool' %}{{ '<|im_start|>ipython\\n\\n' + (message.content | tojson) }}
{%- else %}{{ '<|im_start|>' + message.role + '\\n\\n' + message.content }}
{%- endif %}{{ '<|im_end|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n\\n' }}{% endif %}"""


@pytest.fixture(scope="module")
def pair_folders(tmp_path_factory):
    return tiny_pair().save(tmp_path_factory.mktemp("pair"))


class TestChatPADUnit(ChatModelUnitTests):
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

    supports_json_mode = True


class Integration(ChatModelIntegrationTests):
    supports_json_mode = True
    supports_anthropic_inputs = True

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatPAD


@pytest.mark.skipif(
    not all(file.is_file() for file in DEMO_FILES), reason="the demo pair is not made yet: make demo-model"
)
@pytest.mark.slow
class TestDemoPair(Integration):
    @property
    def chat_model_params(self) -> dict:
        return {}

    @property
    def model_override_value(self) -> str:
        return "pad-demo"


@pytest.fixture(scope="session")
def demo_gguf(tmp_path_factory):
    """The demo base as a GGUF file."""
    return str(to_gguf(DEMO / "base", tmp_path_factory.mktemp("gguf") / "demo.gguf", "f16"))


@pytest.mark.skipif(importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
class TestDemoPairOnLlamaCpp(TestDemoPair):
    @pytest.fixture(autouse=True)
    def _file(self, demo_gguf):
        self.file = demo_gguf

    @property
    def chat_model_params(self) -> dict:
        settings = {"threads": 1, "max_batch_tokens": 2048}
        return {
            "model": self.file,
            "reward_model": str(DEMO / "persrm"),
            "backend": "llama.cpp",
            "engine_settings": settings,
        }

    @property
    def model_override_value(self) -> str:
        return self.file


@pytest.fixture(scope="session")
def demo_server():
    """The demo pair on a server."""
    with demo_vllm() as server:
        yield server


class TestDemoPairOnAServer(TestDemoPair):
    @pytest.fixture(autouse=True)
    def _url(self, demo_server):
        self.url = demo_server.url

    @property
    def chat_model_params(self) -> dict:
        return {"url": self.url}


# What random weights cannot do: copy from a request, or decide to call.
NEED_ABILITY = {
    "test_tool_calling",
    "test_tool_calling_async",
    "test_agent_loop",
    "test_unicode_tool_call_integration",
}


@pytest.fixture(scope="module")
def plumbing_folders(tmp_path_factory):
    pair = tiny_pair()
    model = tiny_model(max_position_embeddings=4096)
    folders = {}
    for name, template in (("chatml", pair.tokenizer.chat_template), ("llama", LLAMA_TEMPLATE)):
        folders[name] = tmp_path_factory.mktemp(name)
        pair.tokenizer.chat_template = template
        model.save_pretrained(folders[name])
        pair.tokenizer.save_pretrained(folders[name])
    return folders


class Plumbing(Integration):
    template: str

    @pytest.fixture(autouse=True)
    def _folder(self, plumbing_folders, request):
        if request.function.__name__ in NEED_ABILITY:
            pytest.skip("random weights cannot copy from a request or decide to call")
        self.folder = str(plumbing_folders[self.template])

    @property
    def chat_model_params(self) -> dict:
        # Sampled hot, so that free strings come to an end by chance.
        return {"model": self.folder, "temperature": 1.5, "seed": 0, "max_tokens": 2500}

    @property
    def model_override_value(self) -> str:
        return self.folder


class TestPlumbingChatML(Plumbing):
    template = "chatml"


class TestPlumbingLlama(Plumbing):
    template = "llama"
