"""The demo pair in one batch of guided and plain requests: token for token what our engine decodes."""

from __future__ import annotations

from typing import Any

import pytest

from in_vllm import Served


@pytest.fixture(scope="module")
def served(expected: dict[str, Any]) -> Served:
    return Served(expected["demo"], max_num_seqs=32)


def test_guided_and_plain_requests_in_one_batch(served: Served) -> None:
    cases = served.told["mixed"]
    assert {bool(case["xargs"]) for case in cases} == {True, False}
    assert served.differing(cases) == []


def test_guidance_changed_answers_at_all(served: Served) -> None:
    cases = served.told["mixed"]
    plain = {tuple(case["prompt"]): case["tokens"] for case in cases if not case["xargs"]}
    guided = [case for case in cases if case["xargs"]]
    assert sum(case["tokens"] != plain[tuple(case["prompt"])] for case in guided) > len(guided) / 2


def test_grammars_mask_before_the_candidates_are_taken(served: Served) -> None:
    assert served.differing(served.told["grammar"]) == []


def test_neutral_guidance_is_plain_to_the_bit(served: Served) -> None:
    plain = [case for case in served.told["mixed"] if not case["xargs"]]
    rank = len(next(case["xargs"]["pad_gate"] for case in served.told["mixed"] if case["xargs"]))
    zero = [case | {"xargs": {"pad_gate": [0.0] * rank}} for case in plain]
    unguided = [case | {"xargs": {"pad_gate": [1.0] * rank, "pad_beta": 0}} for case in plain]
    assert served.differing([*plain, *zero, *unguided]) == []
    (base,), (beside,) = (
        self_logprobs(served, [plain[0]]),
        self_logprobs(served, [plain[0], *(case for case in served.told["mixed"] if case["xargs"])])[:1],
    )
    assert base == pytest.approx(beside, abs=1e-4), "another batch sums in another order; guidance adds nothing"


def self_logprobs(served: Served, cases: list[dict[str, Any]]) -> list[list[float]]:
    """The log-probabilities of each answer's tokens."""
    prompts = [{"prompt_token_ids": case["prompt"]} for case in cases]
    answers = served.llm.generate(prompts, [served.params(case, logprobs=0) for case in cases], use_tqdm=False)
    return [[next(iter(each.values())).logprob for each in one.outputs[0].logprobs] for one in answers]


def test_two_samples_of_a_guided_request_are_drawn_and_repeatable(served: Served) -> None:
    cases = [case for case in served.told["mixed"] if case["xargs"]][:4]
    first, again = (served.ask(cases, n=2, temperature=1.0, seed=5) for _ in range(2))
    assert first == again
    assert all(len(samples) == 2 for samples in first)
    assert any(one != two for one, two in first)


def test_tokens_are_drawn_from_the_candidates_only(served: Served) -> None:
    case = next(case for case in served.told["mixed"] if case["xargs"])
    one = case | {"xargs": case["xargs"] | {"pad_top_k": 1}}
    (drawn,), (base,) = served.ask([one], n=2, temperature=2.0, seed=1), served.ask([one])
    assert drawn == base * 2
