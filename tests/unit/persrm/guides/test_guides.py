"""What fits and what does not, prompts with a preference, the base guiding itself, and rows that come and go."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from pad_langchain.engine.torch.engine import TorchEngine
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import IncompatibleModelError, InvalidRequestError, ModelLoadError
from pad_langchain.models.adapter import Adapter
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import SELF_TEMPLATE, Prompts, with_preference
from pad_langchain.models.rows import Rows
from pad_langchain.persrm.build import load_engine, load_pair
from pad_langchain.persrm.guides import ByteLevelGuide, HeadGuide, ModelGuide, SelfGuide
from pad_langchain.persrm.head import VectorHead
from pad_langchain.testing import HashEmbedder, TinyPair, tiny_head, tiny_model, tiny_tokenizer

SHAPES = {"A": (2, 32), "B": (32, 2)}
MESSAGES = [{"role": "user", "content": "explain entropy"}]


def test_the_preference_goes_into_the_last_user_turn() -> None:
    conversation = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "explain {x}"},
        {"role": "tool", "content": "42"},
    ]
    told = with_preference(conversation, "be {kind}")
    assert told[2]["content"] == (
        "[Guidelines] Your task is to generate response by considering the following principle. "
        "[Principles] be {kind} [Instruction] explain {x}"
    )
    assert [told[index] for index in (0, 1, 3)] == [conversation[index] for index in (0, 1, 3)]
    assert conversation[2]["content"] == "explain {x}"
    with pytest.raises(InvalidRequestError, match="last user message"):
        with_preference([{"role": "system", "content": "x"}], "be kind")


def test_rows_join_step_and_leave_as_if_alone(pair: TinyPair) -> None:
    """Hidden states of ragged, merged, thinned rows equal those of each row run whole."""
    base = Backbone(pair.model)
    generator = torch.Generator().manual_seed(0)

    def tokens(count: int) -> list[int]:
        return torch.randint(0, 400, (count,), generator=generator).tolist()

    def check(rows: Rows, sequences: list[list[int]]) -> None:
        assert rows.lengths == [len(sequence) for sequence in sequences]
        for hidden_D, sequence in zip(rows.hidden_BD, sequences, strict=True):
            alone = base.hidden(torch.tensor([sequence]))[0, -1]
            assert torch.allclose(hidden_D, alone, atol=2e-5)

    def step(rows: Rows, sequences: list[list[int]]) -> None:
        new = tokens(len(sequences))
        rows.step(torch.tensor(new))
        for sequence, token in zip(sequences, new, strict=True):
            sequence.append(token)

    with torch.inference_mode():
        sequences = [tokens(3), tokens(11), tokens(7)]
        rows = Rows(base, sequences)
        check(rows, sequences)
        for _ in range(80):  # beyond the headroom: buffers grow
            step(rows, sequences)
        check(rows, sequences)
        longer = [tokens(150), tokens(2)]
        rows.merge(Rows(base, longer))
        sequences += longer
        step(rows, sequences)
        check(rows, sequences)
        rows.keep([4, 0])
        sequences = [sequences[4], sequences[0]]
        assert rows.cache.width == max(map(len, sequences))  # the long rows' columns are gone
        step(rows, sequences)
        check(rows, sequences)


def test_a_head_for_another_base_is_refused(pair: TinyPair) -> None:
    other = tiny_model(1, hidden_size=48)
    with pytest.raises(IncompatibleModelError, match=r"\(32, 400\).*\(48, 400\)"):
        TorchEngine(other, pair.tokenizer, pair.guide())


def test_gates_come_from_texts_or_from_their_embeddings(pair: TinyPair) -> None:
    guide, texts = pair.guide(), ["be kind", "be brief"]
    gates_PR = guide.gates(texts)
    assert torch.equal(gates_PR, guide.gates(pair.embedder.embed(texts)))
    assert torch.equal(gates_PR, pair.head.gates(torch.from_numpy(pair.embedder.embed(texts))))
    with pytest.raises(InvalidRequestError, match=r"have to be \[P, 16\], but are \[16\]"):
        guide.gates(pair.embedder.embed(texts)[0])
    with pytest.raises(InvalidRequestError, match="no embedder"):
        HeadGuide(pair.head).gates(texts)


def test_a_preference_is_read_once_and_again_after_the_head_was_bound(
    pair: TinyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide, read = HeadGuide(copy.deepcopy(pair.head), pair.embedder), list[int]()
    real = VectorHead.gates

    def counted(self: VectorHead, embeddings_PE: torch.Tensor, **how: bool) -> torch.Tensor:
        read.append(len(embeddings_PE))
        return real(self, embeddings_PE, **how)

    monkeypatch.setattr(VectorHead, "gates", counted)
    wishes = [WeightedPreference("be kind", 0.5), WeightedPreference("be brief", -2.0)]
    for combine in ("sum", "max", "sum"):
        plan = guide.plan(Request(MESSAGES, preferences=wishes, combine=combine))
    assert read == [1, 1]
    vectors_PE = torch.from_numpy(guide.embed([wish.text for wish in wishes]))
    with torch.inference_mode():
        together_R = pair.head.gate(vectors_PE, [wish.weight for wish in wishes])
    assert torch.allclose(plan.rows[0], together_R, atol=1e-5)
    assert pickle.loads(pickle.dumps(guide)).certainty(wishes) == guide.certainty(wishes)
    guide.bind(Backbone(pair.model), Prompts(pair.tokenizer))
    read.clear()
    guide.plan(Request(MESSAGES, preferences=wishes))
    assert read == [1, 1]
    guide.head.config = replace(guide.head.config, strengths=[2.0] * guide.head.config.prototypes)
    stronger = guide.plan(Request(MESSAGES, preferences=wishes))
    assert torch.allclose(stronger.rows[0], 2 * plan.rows[0], atol=1e-5)


def test_guides_name_their_kind(pair: TinyPair) -> None:
    """What an engine tells it can run; a PersRM compared as bytes is a text PersRM still."""
    model, prompts = Backbone(tiny_model(3)), Prompts(pair.tokenizer)
    lora = {f"model.layers.0.self_attn.q_proj.lora_{side}.weight": torch.ones(shape) for side, shape in SHAPES.items()}
    adapter = Adapter(model.model, lora, {"peft_type": "LORA", "r": 2})
    assert pair.guide().kind == "head"
    assert ModelGuide(model, prompts).kind == "text"
    assert ByteLevelGuide(model, prompts).kind == "text"
    assert ModelGuide(model, prompts, adapter=adapter).kind == "adapter"
    assert SelfGuide(model, prompts).kind == "self"
    with load_engine(pair.model, "self", tokenizer=pair.tokenizer) as engine:
        assert engine.guide is not None
        assert engine.guide.kind == "self"


def test_a_guide_shares_the_tokens_of_its_own_vocabulary(pair: TinyPair) -> None:
    base, prompts, others = Backbone(pair.model), Prompts(pair.tokenizer), Prompts(tiny_tokenizer(390))
    assert ModelGuide(Backbone(tiny_model(3)), Prompts(tiny_tokenizer())).shares_tokens(base, prompts)
    assert not ModelGuide(Backbone(tiny_model(3)), others).shares_tokens(base, prompts)
    assert ModelGuide(base, others).shares_tokens(base, prompts)  # it rides in the base's forward


def test_another_embedder_is_refused(pair: TinyPair) -> None:
    with pytest.raises(IncompatibleModelError, match=r"'hash-16'.*'hash-8'"):
        HeadGuide(pair.head, HashEmbedder(8))


def test_a_preference_without_a_vector_needs_an_embedder(pair: TinyPair) -> None:
    with TorchEngine(pair.model, pair.tokenizer, HeadGuide(pair.head)) as engine:
        with pytest.raises(InvalidRequestError, match=r"embedder="):
            engine.submit(Request(messages=MESSAGES, preferences=[WeightedPreference("be kind")]))
        vector = pair.embedder.embed(["be kind"])[0]
        told = Request(messages=MESSAGES, preferences=[WeightedPreference("be kind", 1.0, vector)], max_tokens=8)
        by_vector = engine.submit(told).result(60)
    with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
        told = Request(messages=MESSAGES, preferences=[WeightedPreference("be kind")], max_tokens=8)
        assert engine.submit(told).result(60).token_ids == by_vector.token_ids


def test_a_text_persrm_with_another_vocabulary_is_refused(pair: TinyPair) -> None:
    other = tiny_tokenizer(390)
    guide = ModelGuide(Backbone(tiny_model(1)), Prompts(other))
    with pytest.raises(IncompatibleModelError, match="vocabulary is not the base's"):
        TorchEngine(pair.model, pair.tokenizer, guide)
    short = ModelGuide(Backbone(tiny_model(1, vocab_size=300)), Prompts(pair.tokenizer))
    with pytest.raises(IncompatibleModelError, match="300 logits"):
        TorchEngine(pair.model, pair.tokenizer, short)


def test_self_guidance_is_told_against_not_told(pair: TinyPair) -> None:
    """ "self": r is the base's log-ratio with the preference in its prompt, on the same continuation."""
    with load_engine(pair.model, "self", tokenizer=pair.tokenizer) as engine:
        request = Request(messages=MESSAGES, preferences=[WeightedPreference("be kind")], top_k=400, max_tokens=6)
        done = engine.submit(request).result(60)
        prompt = engine.prompts.render(MESSAGES)
        told = engine.prompts.render(with_preference(MESSAGES, "be kind", SELF_TEMPLATE))
    for event in done.events:
        before = list(done.token_ids[: event.index])
        logprobs = [
            pair.model(torch.tensor([ids + before])).logits[0, -1].log_softmax(-1)[event.token_id].item()
            for ids in (told, prompt)
        ]
        assert event.reward == pytest.approx(logprobs[0] - logprobs[1], abs=1e-4)


def test_loading_from_folders(pair: TinyPair, tmp_path: Path) -> None:
    base, persrm = pair.save(tmp_path)
    request = Request(messages=MESSAGES, preferences=[WeightedPreference("be kind")], max_tokens=12)
    with TorchEngine(pair.model, pair.tokenizer, pair.guide()) as engine:
        expected = engine.submit(request).result(60)
    loaded = load_pair(str(base), persrm, device="cpu", embedder=pair.embedder)
    with loaded.engine as engine:
        assert engine.submit(request).result(60).token_ids == expected.token_ids
        assert loaded.persrm is not None
        assert loaded.persrm.kind == "head"


@pytest.mark.parametrize(
    ("kwargs", "error", "message"),
    [
        ({"model": "/nowhere/at/all"}, ModelLoadError, r"'/nowhere/at/all' does not load"),
        ({"model": "{base}", "reward_model": "/nowhere/at/all"}, ModelLoadError, "neither a folder nor a hub id"),
        ({"model": "{base}", "reward_model": "{base}"}, ModelLoadError, "No PersRM in"),
        ({"model": "{base}", "reward_model": 7}, InvalidRequestError, "but is 7"),
        ({"model": "{base}", "device": "abacus"}, InvalidRequestError, "but is 'abacus'"),
        ({"model": "{base}", "dtype": "int8"}, InvalidRequestError, "but is 'int8'"),
    ],
)
def test_what_cannot_be_loaded(
    pair: TinyPair, tmp_path: Path, kwargs: dict[str, object], error: type[Exception], message: str
) -> None:
    base, _ = pair.save(tmp_path)
    filled = {key: str(base) if value == "{base}" else value for key, value in kwargs.items()}
    with pytest.raises(error, match=message):
        load_engine(**filled)  # type: ignore[arg-type]


def test_a_loaded_model_needs_its_tokenizer(pair: TinyPair) -> None:
    with pytest.raises(InvalidRequestError, match="tokenizer="):
        load_engine(pair.model)


def test_a_head_is_deterministic_and_not_neutral(pair: TinyPair) -> None:
    again = tiny_head(pair.model, 0)
    assert torch.equal(again.V_DR, pair.head.V_DR)
    assert pair.head.V_DR.abs().max() > 0
