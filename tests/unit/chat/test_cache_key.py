"""LangChain's cache of answers: whatever changes an answer is in its key, and nothing that must not be kept."""

from __future__ import annotations

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import get_llm_cache, set_llm_cache

from pad_langchain import ChatPAD
from pad_langchain.chat import ChatSettings
from pad_langchain.langchain.reader import ChatReader
from pad_langchain.testing import HashEmbedder, tiny_model, tiny_pair
from pad_memory import PreferenceMemory, Statement, Values

QUESTION = "what is an element?"
WISH = "be concise and brief"


class Recording(InMemoryCache):
    """Keeps the keys it was asked for."""

    def __init__(self):
        super().__init__()
        self.keys = []

    def lookup(self, prompt, llm_string):
        self.keys.append(llm_string)
        return super().lookup(prompt, llm_string)

    async def alookup(self, prompt, llm_string):
        return self.lookup(prompt, llm_string)


@pytest.fixture(scope="module")
def kept():
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        memory.record("ada", Statement(WISH))
        memory.record("ada", Statement("in this conversation, use a formal tone", thread="monday"))
        yield memory


def key(settings, call=None):
    cache = Recording()
    ChatPAD(**settings, cache=cache).invoke(QUESTION, **(call or {}))
    assert len(cache.keys) == 1
    return cache.keys[0]


@pytest.fixture
def plain(folders, kept):
    return {"model": folders[0], "reward_model": None, "memory": kept, "user_id": "ada", "max_tokens": 2}


# Settings that make another answer, each beside those of `plain`.
OTHERS = {
    "engine_settings": {"max_batch": 3},
    "response_template": "qwen",
    "reward_model": "self",
    "wish_place": "user",
    "condition_base": False,
    "user_id": "bob",
    "thread_id": "monday",
    "embedder": HashEmbedder(8),
    "temperature": 0.5,
    "stop": ["."],
    "beta": 2.0,
    "top_k": 5,
    "candidates": "cut",
    "repetition_penalty": 1.2,
    "no_repeat_ngram": 3,
    "dtype": "float32",
    "defaults": ["use a formal tone"],
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_setting_is_in_the_key(plain, name):
    assert key({**plain, name: OTHERS[name]}) != key(plain) == key(plain)


def test_every_setting_with_a_value_is_in_the_key():
    shown = {name for name, field in ChatSettings.model_fields.items() if not field.exclude} - {"engine_settings"}
    assert shown <= ChatPAD()._identifying_params.keys()


@pytest.mark.parametrize(
    "name", ["user_id", "thread_id", "wish_place", "beta", "repetition_penalty", "no_repeat_ngram", "candidates"]
)
def test_what_a_call_says_is_in_the_key(plain, name):
    assert key(plain, {name: OTHERS[name]}) != key(plain)
    assert key(plain, {"preference": WISH}) != key(plain, {"preference": "be formal"})


def test_a_memory_is_told_from_another_by_what_it_makes_of_the_user(plain):
    with PreferenceMemory(embedder=HashEmbedder()) as same, PreferenceMemory(embedder=HashEmbedder()) as other:
        for memory in (same, other):
            memory.record("ada", Statement(WISH))
        other.record("ada", Statement("use a formal tone"))
        assert key({**plain, "memory": same}) == key(plain) != key({**plain, "memory": other})
    floor = Values(floor=(("be honest", 0.5),))
    with PreferenceMemory(embedder=HashEmbedder(), values=floor, tenant="default") as governed:
        governed.record("ada", Statement(WISH))
        assert key({**plain, "memory": governed}) != key(plain)
    with PreferenceMemory(embedder=HashEmbedder(), tenant="acme") as elsewhere:
        elsewhere.record("ada", Statement(WISH))
        assert key({**plain, "memory": elsewhere}) != key(plain)


def test_weights_that_were_trained_again_are_in_the_key(plain, tmp_path):
    folder, _ = tiny_pair().save(tmp_path)
    settings = {**plain, "model": str(folder)}
    before = key(settings)
    tiny_model(3).save_pretrained(folder)
    assert key(settings) != before != key(plain)


def test_the_key_keeps_no_secret(plain):
    settings = {**plain, "engine_settings": {"token": "hf_secret"}}
    found = key(settings)
    assert "hf_secret" not in found
    assert WISH not in found
    assert "hf_secret" not in str(ChatPAD(**settings)._identifying_params)


async def test_every_way_to_ask_finds_the_answer(plain):
    cache = Recording()
    before = get_llm_cache()
    set_llm_cache(cache)
    try:
        llm = ChatPAD(**plain)
        answers = [llm.invoke(QUESTION), await llm.ainvoke(QUESTION), *llm.batch([QUESTION])]
        answers += [*await llm.abatch([QUESTION]), ChatPAD(**plain).invoke(QUESTION)]
    finally:
        set_llm_cache(before)
    assert len(set(cache.keys)) == 1
    assert len({answer.response_metadata["pad"]["response_id"] for answer in answers}) == 1


def test_a_model_that_is_asked_within_a_call_has_its_own_key(folders):
    """The memory's reader asks a chat model of its own, while a call of another waits for the memory."""
    cache = Recording()
    reading = ChatPAD(model=folders[0], reward_model=None, max_tokens=400, cache=cache)
    with PreferenceMemory(embedder=HashEmbedder(), reader=ChatReader(reading)) as memory:
        memory.record("ada", Statement(WISH))
        ChatPAD(model=folders[0], reward_model=None, memory=memory, max_tokens=2, cache=cache).invoke(
            QUESTION, user_id="ada"
        )
    assert len(cache.keys) == len(set(cache.keys)) == 2
