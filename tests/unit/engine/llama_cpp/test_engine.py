"""The engine on llama.cpp beyond its contract: exactness, what rows share, and what it refuses."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from llama_parts import llama_engine, needs_llama_cpp, tiny_base
from naive_reference import with_repeats
from pad_langchain.engine.llama_cpp import LlamaBase, LlamaCppEngine
from pad_langchain.engine.llama_cpp.binding import Context
from pad_langchain.engine.llama_cpp.kept import common as shared
from pad_langchain.engine.llama_cpp.sequences import Sequences
from pad_langchain.engine.types import Request, WeightedPreference
from pad_langchain.errors import ContextLengthError, EngineClosedError, IncompatibleModelError, InvalidRequestError
from pad_langchain.models.backbone import Backbone
from pad_langchain.models.prompts import SELF_TEMPLATE, Prompts, with_preference
from pad_langchain.persrm.guides import HeadGuide, ModelGuide, SelfGuide
from pad_langchain.persrm.head import HeadConfig, VectorHead
from pad_langchain.testing import paused, tiny_model, tiny_pair
from waiting import until

needs_llama_cpp()

PAIR = tiny_pair()
WISH = [WeightedPreference("be concise")]


@pytest.fixture(scope="module")
def llama() -> Iterator[LlamaCppEngine]:
    with llama_engine(PAIR) as opened:
        yield opened


@pytest.fixture(scope="module")
def itself() -> Iterator[LlamaCppEngine]:
    """An engine whose base guides itself."""
    base = tiny_base(PAIR)
    with LlamaCppEngine(base, PAIR.tokenizer, SelfGuide(base, Prompts(PAIR.tokenizer))) as opened:
        yield opened


def ask(user: str = "explain entropy", **kwargs: Any) -> Request:
    return Request(messages=[{"role": "user", "content": user}], **{"max_tokens": 24, **kwargs})


def tokens(engine: LlamaCppEngine, request: Request) -> tuple[int, ...]:
    return engine.submit(request).result(60).token_ids


class Naive:
    """METHOD.md's section on guided decoding, as it is written, on llama.cpp's own logits and hidden states.

    A context of its own, one sequence at a time, the whole text anew for each token.
    """

    def __init__(self, base: LlamaBase) -> None:
        self.context = Context(base.model, base.settings, 1, 512, 1)
        self.rows_VD = base.file.output_rows(np.arange(base.vocab_size))

    def run(self, ids: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        self.context.cut(0)
        if len(ids) > 1:
            self.context.read(ids[:-1], range(len(ids) - 1), [0] * (len(ids) - 1))
        logits, hidden = self.context.decode([ids[-1]], [len(ids) - 1], [0])
        return logits[0].astype(np.float64), hidden[0].astype(np.float64)

    def write(self, prompt: Sequence[int], request: Request, rewards: Any, ends: frozenset[int]) -> tuple[int, ...]:
        """Greedy tokens. `rewards` gives q − reference of the candidates, each up to a constant: a function of
        (candidates, hidden state, tokens so far) → (q [K], reference [K])."""
        written: list[int] = []
        while len(written) < request.max_tokens:
            z, hidden = self.run([*prompt, *written])
            z = np.array(with_repeats(z.tolist(), written, request.repetition_penalty, request.no_repeat_ngram))
            candidates = np.argsort(-z, kind="stable")[: min(request.top_k, int(np.isfinite(z).sum()))]
            cut = (
                z[candidates] >= z.max() + math.log(request.alpha) if request.alpha else np.full(len(candidates), True)
            )
            candidates = candidates[cut]
            q, reference = rewards(candidates, hidden, written)
            r = (q - np.logaddexp.reduce(q)) - (reference - np.logaddexp.reduce(reference))
            written.append(int(candidates[(z[candidates] + request.beta * r).argmax()]))
            if written[-1] in ends:
                break
        return tuple(written)


STEERING = [(0.5, 10, 0.0), (1.5, 5, 0.02), (3.0, 50, 0.001), (1.0, 1, 0.0)]
QUESTIONS = ["explain entropy", "why is the sky blue?", "how do you make tea? " * 4]
WISHES = [[("be concise", 1.0)], [("be formal", -0.7), ("use a list", 1.4)]]


COSTS = [(1.0, 0), (1.4, 0), (1.0, 2), (1.2, 3)]


def requests() -> list[Request]:
    asked = [(user, wishes, steering) for user in QUESTIONS for wishes in WISHES for steering in STEERING]
    return [
        ask(
            user,
            preferences=[WeightedPreference(*one) for one in wishes],
            beta=beta,
            top_k=k,
            alpha=alpha,
            repetition_penalty=penalty,
            no_repeat_ngram=ngram,
        )
        for (user, wishes, (beta, k, alpha)), (penalty, ngram) in zip(
            asked, itertools.cycle((*COSTS, COSTS[0])), strict=False
        )
    ]


def test_a_head_steers_as_the_method_says_alone_and_in_company(llama: LlamaCppEngine) -> None:
    naive, head = Naive(tiny_base(PAIR)), PAIR.head
    U, V = (matrix.detach().double().numpy() for matrix in (head.U_RD, head.V_DR))
    expected = []
    for request in requests():
        vectors = torch.from_numpy(PAIR.embedder.embed([wish.text for wish in request.preferences]))
        with torch.inference_mode():
            gate = head.gate(vectors, [wish.weight for wish in request.preferences]).double().numpy()

        def rewards(candidates: np.ndarray, hidden: np.ndarray, _: Any, gate: np.ndarray = gate) -> Any:
            rows = naive.rows_VD[candidates].astype(np.float64)
            return rows @ (hidden + V @ ((U @ hidden) * gate)), rows @ hidden

        prompt = llama.prompts.render(request.messages)
        expected.append(naive.write(prompt, request, rewards, llama.end_tokens))
    assert [tokens(llama, request) for request in requests()] == expected
    with paused(llama):
        streams = [llama.submit(request) for request in requests()]
    assert [stream.result(60).token_ids for stream in streams] == expected
    assert len(set(expected)) > len(expected) / 2


def test_the_base_steers_itself_as_the_method_says(itself: LlamaCppEngine) -> None:
    naive = Naive(tiny_base(PAIR))
    made = [
        ask(user, preferences=WISH, beta=beta, top_k=k, alpha=alpha)
        for user in QUESTIONS
        for beta, k, alpha in STEERING
    ]
    expected = []
    for request in made:
        told = itself.prompts.render(with_preference(request.messages, WISH[0].text, SELF_TEMPLATE))

        def rewards(candidates: np.ndarray, hidden: np.ndarray, written: list[int], told: list[int] = told) -> Any:
            rows = naive.rows_VD[candidates].astype(np.float64)
            return rows @ naive.run([*told, *written])[1], rows @ hidden

        expected.append(naive.write(itself.prompts.render(request.messages), request, rewards, itself.end_tokens))
    with paused(itself):
        streams = [itself.submit(request) for request in made]
    assert [stream.result(60).token_ids for stream in streams] == expected
    assert [tokens(itself, request) for request in made] == expected


def test_the_base_told_a_wish_is_contrasted_with_the_base_told_its_opposite(itself: LlamaCppEngine) -> None:
    """Two prompts, one after the other, token for token; alone and in company."""
    naive, made, expected = Naive(tiny_base(PAIR)), [], []
    for user in QUESTIONS:
        for wishes in WISHES:
            for beta, k, alpha in STEERING:
                told, opposed = (
                    itself.prompts.render([{"role": "user", "content": f"{user} ({wish}.)"}])
                    for wish in ("be brief", "be thorough")
                )
                strength = sum(abs(weight) for _, weight in wishes) / len(wishes)
                given = [WeightedPreference(*wish) for wish in wishes]
                request = ask(user, preferences=given, beta=beta, top_k=k, alpha=alpha)
                made.append(replace(request, prompt_ids=told, contrast_ids=opposed))

                def rewards(
                    candidates: np.ndarray,
                    hidden: np.ndarray,
                    written: list[int],
                    opposed: list[int] = opposed,
                    strength: float = strength,
                ) -> Any:
                    rows = naive.rows_VD[candidates].astype(np.float64)
                    away = rows @ naive.run([*opposed, *written])[1]
                    ratio = rows @ hidden - np.logaddexp.reduce(rows @ hidden) - away + np.logaddexp.reduce(away)
                    return strength * ratio, np.zeros(len(candidates))

                expected.append(naive.write(told, made[-1], rewards, itself.end_tokens))
    with paused(itself):
        streams = [itself.submit(request) for request in made]
    assert [stream.result(60).token_ids for stream in streams] == expected
    assert [tokens(itself, request) for request in made] == expected
    assert len(set(expected)) > len(expected) / 2


def test_both_prompts_of_a_contrast_run_their_common_beginning_once(itself: LlamaCppEngine) -> None:
    """At once where they come together, and the kept one in the next question."""
    long = "please explain why the sky is so very blue today and how do you make a cup of tea for a friend of mine"
    wishes = ("be brief", "be thorough", "use a list", "write in prose")
    prompts = [itself.prompts.render([{"role": "user", "content": f"{long} ({wish}.)"}]) for wish in wishes]
    requests = [
        ask(preferences=WISH, prompt_ids=told, contrast_ids=opposed, max_tokens=3)
        for told, opposed in (prompts[:2], prompts[2:])
    ]
    ran = []
    itself.forget_prefixes()
    for request in requests:
        before = itself.stats.prefilled_tokens
        tokens(itself, request)
        tokens(itself, Request(prompt_ids=[9], max_tokens=1))  # until then its rows may still hold what they have run
        ran.append(itself.stats.prefilled_tokens - before - 1)
    common = min(shared(np.array(prompts[0]), np.array(other)) for other in prompts[1:])
    assert common > 40
    assert ran[0] <= sum(map(len, prompts[:2])) - common
    assert ran[1] <= sum(map(len, prompts[2:])) - 2 * common


def test_guided_rows_of_one_and_of_several_wishes_decode_together(itself: LlamaCppEngine) -> None:
    several = [WeightedPreference("be formal", 1.5), WeightedPreference("use a list", -0.5)]
    made = [
        ask(),
        ask(preferences=WISH),
        ask("and you?", preferences=several),
        ask("why?", preferences=several, combine="max"),
    ]
    alone = [tokens(itself, request) for request in made]
    with paused(itself):
        streams = [itself.submit(request) for request in made]
    assert [stream.result(60).token_ids for stream in streams] == alone
    assert len(set(alone)) == len(alone)


def test_lazy_guidance_writes_the_same(llama: LlamaCppEngine) -> None:
    for clip in (0.05, 0.5):
        eager, lazy = (llama.submit(ask(preferences=WISH, clip=clip, lazy=lazy)).result(60) for lazy in (False, True))
        assert lazy.token_ids == eager.token_ids
        assert eager.skipped == 0 < lazy.skipped


def test_the_best_of_several_has_the_highest_reward(llama: LlamaCppEngine) -> None:
    request = ask(preferences=WISH, temperature=1.0, seed=5, best_of=4)
    best = llama.submit(request).result(60)
    assert best.token_ids == tokens(llama, request)
    first = llama.submit(ask(preferences=WISH, temperature=1.0, seed=5)).result(60)
    assert sum(event.reward for event in best.events) >= sum(event.reward for event in first.events)


def test_a_grammar_masks_before_the_candidates(llama: LlamaCppEngine) -> None:
    schema = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
        "additionalProperties": False,
    }
    grammar = llama.grammars.json_schema(schema)
    made = [ask(preferences=wish, grammar=grammar, temperature=1.0, seed=2, max_tokens=60) for wish in ([], WISH)]
    with paused(llama):
        streams = [llama.submit(one) for one in (*made, ask())]
    for stream in streams[:2]:
        assert stream.result(60).text.startswith('{"n": ')


# What rows share


def test_rows_that_come_together_run_their_common_beginning_once() -> None:
    long = "please explain why the sky is so very blue today and how do you make tea"
    with llama_engine(PAIR, prefix_tokens=0) as engine:
        alone = tokens(engine, ask(long))
        size = engine.count_tokens(ask(long))
        before = engine.stats
        with paused(engine):
            streams = [engine.submit(ask(long)) for _ in range(5)]
        assert [stream.result(60).token_ids for stream in streams] == [alone] * 5
        assert engine.stats.prefilled_tokens - before.prefilled_tokens == size + 4  # their last tokens
        assert engine.stats.reused_tokens - before.reused_tokens == 4 * (size - 1)
        before = engine.stats
        with paused(engine):
            streams = [engine.submit(ask(long, salt=str(n))) for n in range(3)]
        assert [stream.result(60).token_ids for stream in streams] == [alone] * 3
        assert engine.stats.reused_tokens == before.reused_tokens


def test_rows_that_come_together_hold_a_kept_beginning_once(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "please explain why the sky is so very blue today and how do you make tea"
    with llama_engine(PAIR) as engine:
        alone = tokens(engine, ask(long))
        tokens(engine, Request(prompt_ids=[9], max_tokens=1))  # until then its row may still hold what it has run
        context, loaded = engine._sequences.context, []
        load = context.load
        monkeypatch.setattr(context, "load", lambda state, number: loaded.append(number) or load(state, number))
        with paused(engine):
            streams = [engine.submit(ask(long)) for _ in range(4)]
        assert [stream.result(60).token_ids for stream in streams] == [alone] * 4
        assert len(loaded) == 1


def test_sequences_with_rooms_of_their_own_write_the_same_and_still_share_beginnings(llama: LlamaCppEngine) -> None:
    long = "please explain why the sky is so very blue today and how do you make tea"
    requests = [ask(long, preferences=WISH), ask(long), ask("tell me about tea", preferences=WISH), ask("tea")]
    alone = [tokens(llama, request) for request in requests]
    base = tiny_base(PAIR, unified_kv=False)
    with LlamaCppEngine(base, PAIR.tokenizer, PAIR.guide(), max_batch=4, max_batch_tokens=400) as engine:
        size = engine.count_tokens(ask(long))
        with paused(engine):
            streams = [engine.submit(request) for request in requests]
        assert [stream.result(60).token_ids for stream in streams] == alone
        assert engine.stats.reused_tokens >= size - 1
        with paused(engine):  # what left gives its room to who comes, in another order
            streams = [engine.submit(request) for request in reversed(requests)]
        assert [stream.result(60).token_ids for stream in streams] == alone[::-1]
        assert engine.submit(ask(long, max_tokens=1000)).result(60).completion_tokens <= 100 - size
        with pytest.raises(ContextLengthError, match="context is 100"):
            engine.submit(Request(prompt_ids=[9] * 100))


def test_a_base_that_guides_itself_has_two_rooms_a_row(itself: LlamaCppEngine) -> None:
    base = tiny_base(PAIR, unified_kv=False)
    with LlamaCppEngine(base, PAIR.tokenizer, SelfGuide(base, Prompts(PAIR.tokenizer)), max_batch=2) as engine:
        request = ask(preferences=WISH)
        with paused(engine):
            streams = [engine.submit(request) for _ in range(2)]
        assert [stream.result(60).token_ids for stream in streams] == [tokens(itself, request)] * 2


def test_more_rooms_than_llama_cpp_holds_apart_are_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"unified_kv=False 8 sequences .* of 7 tokens in all"):
        LlamaCppEngine(tiny_base(PAIR, unified_kv=False), PAIR.tokenizer, max_batch=8, max_batch_tokens=7)


def test_the_next_turn_runs_only_what_is_new() -> None:
    with llama_engine(PAIR) as engine:
        first = engine.submit(ask("tell me about tea")).result(60)
        tokens(engine, Request(prompt_ids=[9], max_tokens=1))  # until then its row may still hold what it has run
        before = engine.stats.reused_tokens
        known = [*engine.prompts.render(ask("tell me about tea").messages), *first.token_ids[:-1]]
        tokens(engine, Request(prompt_ids=[*known, 9, 10, 11], max_tokens=3))
        assert engine.stats.reused_tokens - before == len(known)


def test_a_long_prompt_does_not_hold_up_who_writes(llama: LlamaCppEngine) -> None:
    """It is run in parts, and in between the others write."""
    with llama_engine(PAIR, prefix_tokens=0) as own:
        writer = own.submit(ask(max_tokens=60, temperature=1.5, seed=1))
        reader = iter(writer)
        next(reader)
        arrived = len(writer.events)
        long = own.submit(Request(prompt_ids=[9 + n % 300 for n in range(450)], max_tokens=1))
        long.result(60)
        assert len(writer.events) - arrived >= 450 // 64
        assert writer.result(60).token_ids == tokens(llama, ask(max_tokens=60, temperature=1.5, seed=1))


def test_a_step_that_fails_for_one_row_spares_the_others(
    llama: LlamaCppEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [tokens(llama, ask(user)) for user in QUESTIONS]
    run = Sequences.run

    def broken(self: Sequences, groups: Any) -> Any:
        if any(one.salt == "bad" and len(one.tokens) > 60 for group in groups for one in group):
            raise RuntimeError("broken")
        return run(self, groups)

    monkeypatch.setattr(Sequences, "run", broken)
    with paused(llama):
        streams = [llama.submit(ask(user)) for user in QUESTIONS]
        bad = llama.submit(Request(prompt_ids=list(range(9, 60)), max_tokens=40, salt="bad"))
    assert [stream.result(60).token_ids for stream in streams] == expected
    with pytest.raises(RuntimeError, match="broken"):
        bad.result(60)
    monkeypatch.undo()
    assert tokens(llama, ask(QUESTIONS[0])) == expected[0]


def test_kept_sequences_are_given_up_and_all_numbers_come_back(llama: LlamaCppEngine) -> None:
    for _ in range(3):
        streams = [llama.submit(ask(f"number {n}", max_tokens=3)) for n in range(40)]
        for n, stream in enumerate(streams):
            if n % 3:
                stream.result(60)
            else:
                stream.cancel()
    everything = list(range(4 * llama.settings.max_batch))
    until(lambda: sorted(llama._sequences._free) == everything)


def test_a_closed_files_rows_can_be_read_again() -> None:
    file = tiny_base(PAIR).file
    before = file.output_rows(np.array([3, 5]))
    file.close()
    file.close()
    assert (file.output_rows(np.array([3, 5])) == before).all()


# What it refuses


def test_a_guide_with_a_model_of_its_own_is_refused() -> None:
    guide = ModelGuide(Backbone(tiny_model(1)), Prompts(PAIR.tokenizer))
    with pytest.raises(IncompatibleModelError, match=r"kind 'text' .* backend='torch'"):
        LlamaCppEngine(tiny_base(PAIR), PAIR.tokenizer, guide)


def test_a_head_for_another_base_is_refused() -> None:
    for config in (HeadConfig(48, 400, embedder="hash-16"), HeadConfig(32, 500, embedder="hash-16")):
        with pytest.raises(IncompatibleModelError, match=r"the base has \(32, 400\)"):
            LlamaCppEngine(tiny_base(PAIR), PAIR.tokenizer, HeadGuide(VectorHead(config)))


def test_more_rows_than_the_context_has_sequences_are_refused() -> None:
    base = tiny_base(PAIR)
    with LlamaCppEngine(base, PAIR.tokenizer, SelfGuide(base, Prompts(PAIR.tokenizer)), max_batch=1) as engine:
        wishes = [WeightedPreference(f"wish {n}") for n in range(4)]
        assert tokens(engine, ask(preferences=wishes[:3]))
        with pytest.raises(InvalidRequestError, match="needs 5 rows"):
            engine.submit(ask(preferences=wishes))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.slow
def test_a_forked_child_is_told_and_the_parent_goes_on(llama: LlamaCppEngine) -> None:
    expected = tokens(llama, ask())
    child = os.fork()
    if not child:
        told = []
        for what in (lambda: llama.submit(ask()), lambda: llama.base.hidden(torch.tensor([[5]]))):
            try:
                what()
            except EngineClosedError as error:
                told.append("before the process forked" in str(error))
        os._exit(0 if told == [True, True] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert tokens(llama, ask()) == expected
