"""A base that guides itself: what its two rows are told, where, and when there is but one."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch

from pad_langchain.chat import CallOptions, Chat, ChatSettings
from pad_langchain.chat.contrast import contrast, reader_of
from pad_langchain.chat.engines import shared_pair, unload
from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.persrm.build import load_engine
from pad_langchain.testing import HashEmbedder, tiny_pair
from pad_memory import PreferenceMemory, Statement
from pad_memory.catalogue import CATALOGUE, Dimension, Pole
from pad_memory.errors import EmbedderError
from pad_memory.language import Reader

QUESTION = [{"role": "user", "content": "what is an element?"}]
BRIEF, DETAILED = "be concise and brief", "be detailed and thorough"
FORMAL, CASUAL = "use a formal and polite tone", "use a casual and friendly tone"
FUJI = "mention Mount Fuji"  # no dimension's
PAIR = tiny_pair()


class Recording(TorchEngine):
    """An engine that keeps the requests it is given."""

    requests: list[Request]

    def submit(self, request: Request):  # type: ignore[no-untyped-def]
        self.requests = [*getattr(self, "requests", []), request]
        return super().submit(request)


@pytest.fixture(scope="module")
def engine() -> Iterator[Recording]:
    loaded = load_engine(PAIR.model, "self", tokenizer=PAIR.tokenizer)
    with loaded, Recording(loaded.base, PAIR.tokenizer, loaded.guide) as opened:
        yield opened


@pytest.fixture(scope="module")
def prompting() -> Iterator[TorchEngine]:
    """The same base without a guide."""
    with TorchEngine(PAIR.model, PAIR.tokenizer) as opened:
        yield opened


def asked(engine: Recording, preference: object, messages: Sequence[dict[str, object]] = QUESTION, **options: object):  # type: ignore[no-untyped-def]
    """The request that the engine got for a call."""
    chat = Chat(engine, settings=ChatSettings(max_tokens=1, embedder=HashEmbedder()))
    chat.submit(messages, CallOptions(preference=preference, **options)).result()  # type: ignore[arg-type]
    return engine.requests[-1]


def turns(engine: TorchEngine, ids: Sequence[int]) -> list[tuple[str, str]]:
    """Role and text of each turn of a prompt."""
    text = engine.tokenizer.decode(ids)
    return re.findall(r"<\|im_start\|>(\w+)\n(.*?)(?:<\|im_end\|>|$)", text, re.DOTALL)[:-1]


def prefers(*wishes: str) -> str:
    return f"({' '.join(f'{wish[0].upper()}{wish[1:]}.' for wish in wishes)})"


# What is told


@pytest.mark.parametrize(
    ("preference", "told", "opposed"),
    [
        ("be brief", prefers("be brief"), prefers(DETAILED)),
        ([(BRIEF, 0.5), (FORMAL, 2.0)], prefers(BRIEF, FORMAL), prefers(DETAILED, CASUAL)),
        ([(BRIEF, -1.0)], prefers(DETAILED), prefers(BRIEF)),
        ([(BRIEF, 1.0), (FORMAL, -0.2)], prefers(BRIEF, CASUAL), prefers(DETAILED, FORMAL)),
        ([(BRIEF, 1.0), (FORMAL, 0.0)], prefers(BRIEF), prefers(DETAILED)),
        (FUJI, prefers(FUJI), ""),
        ([(FUJI, -1.0)], f"(Not wanted: {FUJI}.)", prefers(FUJI)),
        ([(FUJI, 1.0), (BRIEF, 1.0)], prefers(FUJI, BRIEF), prefers(DETAILED)),
    ],
)
def test_both_rows_are_told_at_the_end_of_the_users_turn(
    engine: Recording, preference: object, told: str, opposed: str
) -> None:
    request = asked(engine, preference)
    for ids, words in ((request.prompt_ids, told), (request.contrast_ids, opposed)):
        assert turns(engine, ids) == [("user", " ".join(filter(None, ("what is an element?", words))))]
    assert request.messages == QUESTION
    assert (request.beta, request.alpha) == (0.5, 0.001)


@pytest.mark.parametrize("place", ["system", "user", "both"])
def test_both_are_told_at_the_same_place(engine: Recording, place: str) -> None:
    messages = [{"role": "system", "content": "Be kind."}, *QUESTION]
    request = asked(engine, BRIEF, messages, wish_place=place)
    told, opposed = (turns(engine, ids) for ids in (request.prompt_ids, request.contrast_ids))
    words = {"system": f"The user prefers: {BRIEF}.", "user": prefers(BRIEF)}
    opposite = {"system": f"The user prefers: {DETAILED}.", "user": prefers(DETAILED)}
    assert [(role, text.replace(opposite[role], words[role])) for role, text in opposed] == told
    assert [words[role] in text for role, text in told] == [place != "user", place != "system"]


def test_a_wish_in_no_dimension_is_contrasted_with_the_prompt_without_it(engine: Recording) -> None:
    assert list(asked(engine, FUJI).contrast_ids) == list(asked(engine, []).prompt_ids)


def test_the_wishes_of_a_memory_are_contrasted_by_its_own_catalogue(engine: Recording) -> None:
    speed = Dimension("speed", (Pole("fast", "speak fast", ()), Pole("slow", "speak slowly", ())))
    with PreferenceMemory(embedder=HashEmbedder(), catalogue=(*CATALOGUE, speed)) as memory:
        memory.record("ada", Statement("speak fast"))
        settings = ChatSettings(max_tokens=1, memory=memory, user_id="ada")
        Chat(engine, settings=settings).submit(QUESTION).result()
    assert turns(engine, engine.requests[-1].prompt_ids)[-1][1].endswith(prefers("speak fast"))
    assert turns(engine, engine.requests[-1].contrast_ids)[-1][1].endswith(prefers("speak slowly"))


def test_without_an_embedder_the_catalogues_wordings_have_opposites(caplog: pytest.LogCaptureFixture) -> None:
    class Missing:
        name, calls = "missing", 0

        def embed(self, texts: Sequence[str]) -> np.ndarray:
            self.calls += 1
            raise EmbedderError("not installed")

    missing = Missing()
    reader = reader_of(None, missing)
    for _ in range(2):
        assert contrast([WeightedPreference(FUJI), WeightedPreference("be brief")], reader) == (
            [(FUJI, 1.0), ("be brief", 1.0)],
            [(DETAILED, 1.0)],
        )
    assert missing.calls == 1
    assert caplog.text.count("have no opposite here: not installed") == 1
    assert reader_of(None, missing) is reader


# When there is one row


def test_without_a_wish_nothing_is_added(engine: Recording, prompting: TorchEngine) -> None:
    before = engine.stats.prefilled_tokens
    engine.forget_prefixes()
    request = asked(engine, [])
    assert request.contrast_ids is None
    assert engine.stats.prefilled_tokens - before == len(request.prompt_ids)
    settings = ChatSettings(max_tokens=20)
    texts = [Chat(one, settings=settings).submit(QUESTION).result().text for one in (engine, prompting)]
    assert texts[0] == texts[1]


def test_beta_zero_is_the_base_told_the_same(engine: Recording, prompting: TorchEngine) -> None:
    settings = ChatSettings(max_tokens=20, wish_place="user")

    def answer(one: TorchEngine, **options: object) -> str:
        said = CallOptions(preference=BRIEF, **options)  # type: ignore[arg-type]
        return Chat(one, settings=settings).submit(QUESTION, said).result().text

    assert answer(engine, beta=0.0) == answer(prompting)
    assert answer(engine, beta=4.0) != answer(prompting)


def test_a_base_that_is_not_told_is_steered_by_a_row_that_is(engine: Recording) -> None:
    request = asked(engine, BRIEF, condition_base=False)
    assert request.contrast_ids is None
    assert turns(engine, request.prompt_ids) == [("user", "what is an element?")]
    assert [one.text for one in request.preferences] == [BRIEF]


def test_the_other_pole_is_what_is_written_away_from(engine: Recording) -> None:
    """The reward of every candidate is what the two prompts say it is."""
    request = asked(engine, BRIEF, top_logprobs=10, top_k=50)
    (event,) = engine.submit(request).result(60).events
    with torch.inference_mode():
        rows = [
            PAIR.model(torch.tensor([list(ids)])).logits[0, -1].log_softmax(-1)
            for ids in (request.prompt_ids, request.contrast_ids)
        ]
    gaps = [float(rows[0][one.token_id] - rows[1][one.token_id]) - one.reward for one in event.candidates]
    assert gaps == pytest.approx([gaps[0]] * len(gaps), abs=1e-4)  # rewards are normalised over the candidates


def test_json_is_written_among_legal_tokens(engine: Recording) -> None:
    schema = {"title": "N", "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "N", "schema": schema}}
    settings = ChatSettings(max_tokens=80, temperature=1.0, seed=1, embedder=HashEmbedder())
    turn = Chat(engine, settings=settings).submit(QUESTION, CallOptions(preference=BRIEF, response_format=form))
    assert isinstance(json.loads(turn.result().text)["n"], int)
    assert engine.requests[-1].contrast_ids is not None


# Which bases guide themselves


def test_a_base_without_a_persrm_guides_itself_and_the_log_says_what_it_costs(
    folders: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pad_langchain")
    for _ in range(2):
        pair = shared_pair(folders[0], max_batch=3)
    assert pair.engine.guide is not None
    assert pair.engine.guide.kind == "self"
    assert caplog.text.count("about half the speed. With reward_model=None") == 1
    assert pair is shared_pair(folders[0], "self", max_batch=3)
    assert shared_pair(folders[0], None, max_batch=3).engine.guide is None
    unload(folders[0])


@pytest.mark.parametrize(("reward_model", "judges"), [("auto", False), ("self", True)])
def test_only_where_it_is_named_the_base_judges_for_a_memory(
    folders: tuple[str, str], reward_model: str, judges: bool
) -> None:
    with PreferenceMemory(embedder=HashEmbedder()) as memory:
        chat = Chat.of(folders[0], ChatSettings(reward_model=reward_model, memory=memory))
        assert chat.persrm is not None
        assert memory.scorer is (chat.persrm if judges else None)
    unload(folders[0])


def test_readers_are_shared_by_name() -> None:
    assert isinstance(reader_of(None, HashEmbedder()), Reader)
    assert reader_of(None, HashEmbedder()) is reader_of(None, HashEmbedder())
