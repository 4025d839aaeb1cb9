"""A user's taste from their choices to the request of their next answer, where its head is the one that steers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fakes import Recording
from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.chat.cache_key import read_key
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.persrm import PersRM
from pad_langchain.testing import TinyPair, tiny_pair
from pad_memory import Choice, PreferenceMemory, Values

QUESTION = [{"role": "user", "content": "what is an element?"}]
JSON = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object", "properties": {}}}}
CHOICES = 14


def pair_with(reach: float | None) -> TinyPair:
    pair = tiny_pair()
    pair.head.config = replace(pair.head.config, reach=reach)
    return pair


def persrm_of(pair: TinyPair) -> PersRM:
    return PersRM(pair.model, pair.tokenizer, head=pair.head, embedder=pair.embedder)


class Blind:
    """Judges no dimension of the catalogue, so that all of a choice is beyond it."""

    def __init__(self, persrm: PersRM) -> None:
        self.features_maker, self.features = persrm.features_maker, persrm.features

    def __call__(self, prompt: str, response: str, preferences: Sequence[str]) -> np.ndarray:
        return np.zeros(len(preferences))


@pytest.fixture(scope="module")
def chat() -> Iterator[Chat]:
    pair = pair_with(50.0)
    with (
        PreferenceMemory(embedder=pair.embedder, values=Values(classifier=False)) as memory,
        TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine,
    ):
        persrm = persrm_of(pair)
        memory.scorer = Blind(persrm)
        chat = Chat(Recording(engine), persrm, ChatSettings(max_tokens=12, memory=memory))
        for number in range(CHOICES):
            memory.record("ada", Choice(f"q{number}", f"tea tea tea tea {number}", f"zinc iron {number}"))
        yield chat


def asked(chat: Chat, messages: Any = QUESTION, **options: Any) -> tuple[Any, Any]:
    delta = chat.submit(messages, CallOptions(user_id="ada", **options)).result()
    return chat.engine.requests[-1], delta


def test_choices_steer_the_next_answer_and_pad_says_so(chat: Chat) -> None:
    taste = chat.memory.profile("ada").taste
    assert taste is not None
    assert taste.maker == chat.persrm.features_maker
    request, delta = asked(chat, beta=8.0)
    assert np.array_equal(request.taste.gate, taste.gate_R)
    assert delta.pad["taste"] == {"choices": CHOICES, "more_like": [text for _, text in taste.like]}
    assert delta.pad["condition"] == []
    assert delta.pad["mean_reward"] != 0.0
    plain = chat.submit(QUESTION, CallOptions(beta=8.0)).result()
    assert "taste" not in plain.pad
    assert plain.text != delta.text


@pytest.mark.parametrize(
    "options", [{"private": True}, {"preference": []}, {"preference": "be brief"}, {"response_format": JSON}], ids=str
)
def test_it_steers_only_what_the_memory_steers(chat: Chat, options: dict[str, Any]) -> None:
    request, delta = asked(chat, **options)
    assert request.taste is None
    assert "taste" not in delta.pad


def test_it_does_not_belong_into_a_letter(chat: Chat) -> None:
    letter = [{"role": "user", "content": "Write a letter to my landlord about the heating."}]
    assert asked(chat, letter)[0].taste is None


def test_another_head_and_no_head_answer_without_it(chat: Chat) -> None:
    other = pair_with(50.0)
    other.head.U_RD.data *= 2.0
    bare = pair_with(None)
    for pair in (other, bare):
        with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
            elsewhere = Chat(Recording(engine), persrm_of(pair), chat.settings)
            request, delta = asked(elsewhere)
            assert request.taste is None
            assert "taste" not in delta.pad
    with TorchEngine(bare.model, bare.tokenizer) as engine:
        assert asked(Chat(Recording(engine), None, chat.settings))[0].taste is None


def test_caches_know_answers_of_another_taste(chat: Chat, tmp_path: Any) -> None:
    base, _ = tiny_pair().save(tmp_path)
    keys = {
        read_key(str(base), chat.settings, QUESTION, CallOptions(user_id=user, thread_id=None))
        for user in ("ada", "bob")
    }
    assert len(keys) == 2
